// SPDX-License-Identifier: Apache-2.0

package hosted

import "golang.org/x/sys/unix"

// The ioctls that read and write a terminal's modes.
const (
	readTermios  = unix.TCGETS
	writeTermios = unix.TCSETS
)

// discardInput throws away what was typed and not read.
func (t terminal) discardInput() error {
	return unix.IoctlSetInt(t.inputFd(), unix.TCFLSH, unix.TCIFLUSH)
}
