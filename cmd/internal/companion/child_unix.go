// SPDX-License-Identifier: Apache-2.0

//go:build linux || darwin

package companion

import (
	"errors"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// What the companion inherits after stdin, stdout and stderr. On Linux a file that
// stands for the parent may follow.
const (
	childIn = 3 + iota
	childOut
	childParent
)

// Companion is this process, as its parent started it.
type Companion struct {
	in, out *os.File
	parent  int
}

// Inherited returns the companion that this process is. It is an error where its
// parent didn't start it so. The files that the parent had open otherwise must have
// been closed before (CloseOthers).
func Inherited() (*Companion, error) {
	for _, fd := range []int{childIn, childOut} {
		var stat unix.Stat_t
		if err := unix.Fstat(fd, &stat); err != nil {
			return nil, err
		}
		if uint32(stat.Mode)&unix.S_IFMT != unix.S_IFIFO {
			return nil, errors.New("not what a parent would have handed on")
		}
	}
	return &Companion{os.NewFile(childIn, "answers"), os.NewFile(childOut, "questions"), os.Getppid()}, nil
}

// CloseOthers closes the files that the caller of the parent had left open, such as
// pipes that somebody waits for the end of. Call it first in main: those that the
// program opens itself are closed in its children anyway, by which they are known.
func CloseOthers() {
	files, err := os.ReadDir("/dev/fd")
	if err != nil {
		return
	}
	for _, file := range files {
		fd, err := strconv.Atoi(file.Name())
		if err != nil || fd < childIn {
			continue
		}
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err != nil || flags&unix.FD_CLOEXEC != 0 {
			continue
		}
		if fd <= childParent {
			unix.CloseOnExec(fd)
			continue
		}
		unix.Close(fd)
	}
}

// Ask asks the parent, and returns its answer or its refusal.
func (c *Companion) Ask(question []byte) (answer, refusal []byte, err error) {
	if err := write(c.out, frameAsk, question); err != nil {
		return nil, nil, err
	}
	t, body, err := read(c.in)
	switch {
	case err != nil:
		return nil, nil, err
	case t == frameAnswer:
		return body, nil, nil
	case t == frameRefusal:
		return nil, body, nil
	}
	return nil, nil, errors.New("the parent said what is not of the protocol")
}

// Ready tells the parent, which becomes the command then.
func (c *Companion) Ready(document []byte) error {
	return errors.Join(write(c.out, frameReady, document), c.out.Close(), c.in.Close())
}

// Fail tells the parent why the companion is not ready.
func (c *Companion) Fail(document []byte) error { return write(c.out, frameFailed, document) }
