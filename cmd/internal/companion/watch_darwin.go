// SPDX-License-Identifier: Apache-2.0

package companion

import (
	"os"

	"golang.org/x/sys/unix"
)

// self returns no file: there a process is watched by its number.
func self() *os.File { return nil }

// AwaitParent returns when the parent, or the command that it became, has ended.
func (c *Companion) AwaitParent() {
	queue, err := unix.Kqueue()
	if err != nil {
		return
	}
	defer unix.Close(queue)
	var event unix.Kevent_t
	unix.SetKevent(&event, c.parent, unix.EVFILT_PROC, unix.EV_ADD|unix.EV_ONESHOT)
	event.Fflags = unix.NOTE_EXIT
	for {
		// A parent that ended before is an error, of the change.
		n, err := unix.Kevent(queue, []unix.Kevent_t{event}, make([]unix.Kevent_t, 1), nil)
		if err != unix.EINTR && (err != nil || n > 0) {
			return
		}
	}
}
