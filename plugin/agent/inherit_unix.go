// SPDX-License-Identifier: Apache-2.0

//go:build linux || darwin

package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// firstInherited is the first file that a service manager hands on: sd_listen_fds(3).
const firstInherited = 3

// Inherit returns the socket that a service manager such as systemd has made and
// handed on, and nil where it hasn't. The socket's file must belong to the user and
// be closed to others. It is never removed.
func Inherit() (*Socket, error) {
	pid, count := os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS")
	for _, name := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		os.Unsetenv(name) // it isn't for the children
	}
	if count == "" || pid != strconv.Itoa(os.Getpid()) {
		return nil, nil
	}
	if count != "1" {
		return nil, fmt.Errorf("the service manager passes %s sockets, and the agent takes one", strconv.Quote(count))
	}
	f := os.NewFile(firstInherited, "inherited socket")
	defer f.Close() // the listener has its own
	if listening, err := unix.GetsockoptInt(firstInherited, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err != nil || listening == 0 {
		return nil, errors.New("the file that the service manager passes is not a listening socket (ListenStream= of a systemd socket unit)")
	}
	listener, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("the socket that the service manager passes can't be used: %w", err)
	}
	l, ok := listener.(*net.UnixListener)
	if !ok {
		listener.Close()
		return nil, errors.New("the socket that the service manager passes is not a UNIX socket (ListenStream= with a path)")
	}
	l.SetUnlinkOnClose(false)
	path := l.Addr().String()
	if err := checkInherited(path); err != nil {
		l.Close()
		return nil, err
	}
	return &Socket{UnixListener: l, Path: path}, nil
}

func checkInherited(path string) error {
	if !filepath.IsAbs(path) {
		return errors.New("the socket that the service manager passes has no absolute path")
	}
	info, err := os.Lstat(path)
	if err != nil {
		return fmt.Errorf("the socket that the service manager passes: %w", err)
	}
	if info.Mode()&fs.ModeSocket == 0 {
		return fmt.Errorf("the service manager passes a socket with the path %q, and there is no socket at this path", path)
	}
	if owner := int(info.Sys().(*syscall.Stat_t).Uid); owner != os.Geteuid() {
		return fmt.Errorf("the socket %q belongs to user %d, and the agent is user %d's (SocketUser= of the unit)", path, owner, os.Geteuid())
	}
	if info.Mode()&ofOthers != 0 {
		return fmt.Errorf("the socket %q is open to other users; set SocketMode=0600 in the unit", path)
	}
	return nil
}
