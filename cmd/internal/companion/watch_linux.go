// SPDX-License-Identifier: Apache-2.0

package companion

import (
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// self returns a file that stands for this process, for a child to watch; nil on
// kernels before 5.3.
func self() *os.File {
	fd, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		return nil
	}
	return os.NewFile(uintptr(fd), "parent")
}

// AwaitParent returns when the parent, or the command that it became, has ended. A
// signal at the parent's death would come when its thread ends that started the
// child, which may be at exec.
func (c *Companion) AwaitParent() {
	if link, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", childParent)); err != nil || !strings.Contains(link, "pidfd") {
		c.pollParent() // what is there is none of the parent's
		return
	}
	for {
		files := []unix.PollFd{{Fd: childParent, Events: unix.POLLIN}}
		_, err := unix.Poll(files, -1)
		switch {
		case err == unix.EINTR:
		case err != nil || files[0].Revents&unix.POLLNVAL != 0:
			c.pollParent()
			return
		case files[0].Revents != 0:
			return
		}
	}
}

// pollParent is for kernels without pidfds: who has lost its parent gets another
// one.
func (c *Companion) pollParent() {
	for os.Getppid() == c.parent {
		time.Sleep(time.Second / 4)
	}
}
