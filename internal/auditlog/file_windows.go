// SPDX-License-Identifier: Apache-2.0

package auditlog

import (
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

// lock waits until no other process holds the log locked.
func lock(f *os.File) error {
	return windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK, 0, 1, 0, &windows.Overlapped{OffsetHigh: lockedByte})
}

// unlock can't fail for a lock that is held.
func unlock(f *os.File) {
	_ = windows.UnlockFileEx(windows.Handle(f.Fd()), 0, 1, 0, &windows.Overlapped{OffsetHigh: lockedByte})
}

// syncDirectory has nothing to do: directories can't be synced there.
func syncDirectory(string) error { return nil }
