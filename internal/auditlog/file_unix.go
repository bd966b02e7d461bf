// SPDX-License-Identifier: Apache-2.0

//go:build unix

package auditlog

import (
	"errors"
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

// tryLock locks the log, or returns errLocked if another open file holds it locked.
func tryLock(f *os.File) error {
	err := flock(f, syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return errLocked
	}
	return err
}

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
