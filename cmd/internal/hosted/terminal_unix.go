// SPDX-License-Identifier: Apache-2.0

//go:build unix

package hosted

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// terminal is the controlling terminal of this process.
type terminal struct{ *os.File }

// openTerminal fails where there is none, or where this process is in the
// background: it would be stopped when it reads.
func openTerminal() (terminal, error) {
	f, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return terminal{}, err
	}
	foreground, err := unix.IoctlGetInt(int(f.Fd()), unix.TIOCGPGRP)
	if err == nil && foreground != unix.Getpgrp() {
		err = errors.New("in the background")
	}
	if err != nil {
		f.Close()
		return terminal{}, err
	}
	return terminal{f}, nil
}

func (t terminal) inputFd() int { return int(t.Fd()) }
