// SPDX-License-Identifier: Apache-2.0

//go:build unix

package auditlog

import (
	"fmt"
	"os"
	"syscall"
)

// noFollow has a symbolic link refused that was put there meanwhile.
const noFollow = syscall.O_NOFOLLOW

// checkGroup refuses what the users of a group can write to: a log is no evidence
// against them then.
func checkGroup(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	const writableByGroup = 0o020
	if info.Mode()&writableByGroup != 0 {
		return fmt.Errorf("its group can write to it; run: chmod g-w %q", f.Name())
	}
	return nil
}

// lock waits until no other open file holds the log locked.
func lock(f *os.File) error { return flock(f, syscall.LOCK_EX) }

// unlock can't fail for a lock that is held.
func unlock(f *os.File) { _ = flock(f, syscall.LOCK_UN) }

func flock(f *os.File, how int) error {
	for {
		err := syscall.Flock(int(f.Fd()), how)
		if err != syscall.EINTR {
			return os.NewSyscallError("flock", err)
		}
	}
}

// syncDirectory has the entries of a directory on disk.
func syncDirectory(path string) error {
	directory, err := os.Open(path)
	if err != nil {
		return err
	}
	defer directory.Close()
	return directory.Sync()
}
