// SPDX-License-Identifier: Apache-2.0

//go:build unix

package program

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
)

// inGroup has a program killed together with its children. In a process group of its own
// it could not read from a terminal, as one does that asks for a passphrase.
func inGroup(cmd *exec.Cmd) {
	if terminal, err := os.Open("/dev/tty"); err == nil {
		terminal.Close()
		return
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error {
		err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		if errors.Is(err, syscall.ESRCH) {
			return os.ErrProcessDone
		}
		return err
	}
}
