// SPDX-License-Identifier: Apache-2.0

package hosted

import "golang.org/x/sys/unix"

// The ioctls that read and write a terminal's modes.
const (
	readTermios  = unix.TCGETS
	writeTermios = unix.TCSETS
)
