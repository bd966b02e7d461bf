// SPDX-License-Identifier: Apache-2.0

package auditlog

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// noFollow is none on Windows, where making a link takes a privilege.
const noFollow = 0

// checkGroup has nothing to look at: mode bits say nothing on Windows.
func checkGroup(*os.File) error { return nil }

// A lock there is of bytes, and keeps other processes from reading them, so it is
// of one that no log has.
const lockedByte = 1 << 30

// tryLock locks the log, or returns errLocked if another process holds it locked.
func tryLock(f *os.File) error {
	err := windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &windows.Overlapped{OffsetHigh: lockedByte})
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return errLocked
	}
	return err
}

// unlock can't fail for a lock that is held.
func unlock(f *os.File) {
	_ = windows.UnlockFileEx(windows.Handle(f.Fd()), 0, 1, 0, &windows.Overlapped{OffsetHigh: lockedByte})
}

// syncDirectory has nothing to do: directories can't be synced there.
func syncDirectory(string) error { return nil }
