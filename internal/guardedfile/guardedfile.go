// SPDX-License-Identifier: Apache-2.0

// Package guardedfile reads files of a bounded size, and private ones only where
// others can't read them, too.
package guardedfile

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

// ReadPrivate reads a file that not every user of this machine can read: because of
// its own mode, or because a directory that it stands in lets nobody else through.
// In volumes of Kubernetes files often have the mode 644, which can't be changed there.
func ReadPrivate(path string, limit int64) ([]byte, error) {
	// What is looked at must be what is read; and opening a pipe could block for
	// ever.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	const readableByOthers = 0o004
	if runtime.GOOS != "windows" && info.Mode().Perm()&readableByOthers != 0 {
		if behind, err := isBehindDoor(path, info); err != nil {
			return nil, err
		} else if !behind {
			return nil, fmt.Errorf("every user of this machine can read the private key; type: chmod 600 '%s'", strings.ReplaceAll(path, "'", `'\''`))
		}
	}
	content, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(content)) > limit {
		err = fmt.Errorf("%s is larger than %d bytes", path, limit)
	}
	return content, err
}

// isBehindDoor reports whether a directory on the way to an open file, links
// followed, lets other users not through.
func isBehindDoor(path string, open os.FileInfo) (bool, error) {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return false, err
	}
	if real, err = filepath.Abs(real); err != nil {
		return false, err
	}
	if there, err := os.Stat(real); err != nil || !os.SameFile(there, open) {
		return false, err // it was replaced, so where it stands is not known
	}
	const passableByOthers = 0o001
	for dir := filepath.Dir(real); ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil {
			return false, err
		}
		if info.Mode().Perm()&passableByOthers == 0 {
			return true, nil
		}
		if dir == filepath.Dir(dir) {
			return false, nil
		}
	}
}

// Read reads a file of a bounded size.
func Read(path string, limit int64) ([]byte, error) {
	if err := checkRegular(path); err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(content)) > limit {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, limit)
	}
	return content, nil
}

// checkRegular refuses what is no file: a pipe could block for ever.
func checkRegular(path string) error {
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", path)
	}
	return err
}
