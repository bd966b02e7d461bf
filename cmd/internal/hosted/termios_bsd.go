// SPDX-License-Identifier: Apache-2.0

//go:build unix && !linux

package hosted

import "golang.org/x/sys/unix"

// The ioctls that read and write a terminal's modes.
const (
	readTermios  = unix.TIOCGETA
	writeTermios = unix.TIOCSETA
)

// discardInput throws away what was typed and not read.
func (t terminal) discardInput() error {
	const input = 1 // FREAD of sys/fcntl.h
	return unix.IoctlSetPointerInt(t.inputFd(), unix.TIOCFLUSH, input)
}
