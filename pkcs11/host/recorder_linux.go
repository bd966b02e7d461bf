// SPDX-License-Identifier: Apache-2.0

package host

import (
	"os"

	"golang.org/x/sys/unix"
)

// recorderFile makes a file in memory.
func recorderFile() (f *os.File, remove func(), err error) {
	fd, err := unix.MemfdCreate("calls", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, nil, os.NewSyscallError("memfd_create", err)
	}
	return os.NewFile(uintptr(fd), "calls"), func() {}, nil
}
