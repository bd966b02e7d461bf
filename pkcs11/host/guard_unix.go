// SPDX-License-Identifier: Apache-2.0

//go:build unix

package host

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// guard keeps the PIN in this process and those that it names. The memory is in
// no core dump. Files that were left open to this process, such as a socket of
// whoever started it, don't go on to its children. On Linux the process was closed
// to others before (early_linux.c).
//
// What can't be had is done without: a system may forbid it, or have no /proc.
func guard() {
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
	files, err := os.ReadDir("/dev/fd")
	if err != nil {
		return
	}
	for _, file := range files {
		if fd, err := strconv.Atoi(file.Name()); err == nil && fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
}

// HoldCores keeps this process from dumping core until it is undone, for one that
// becomes another program, whose limits are its caller's: Main would lower them for
// good.
func HoldCores() (undo func()) {
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &before); err != nil {
		return func() {}
	}
	held := before
	held.Cur = 0
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &held)
	return func() { _ = unix.Setrlimit(unix.RLIMIT_CORE, &before) }
}
