// SPDX-License-Identifier: Apache-2.0

package host

import (
	"os/exec"

	"golang.org/x/sys/unix"
)

// awaitEnd waits for the child's end and leaves it unreaped, so that its number
// stays taken, which is its group's, too.
func awaitEnd(child *exec.Cmd) {
	for unix.Waitid(unix.P_PID, child.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
	}
}
