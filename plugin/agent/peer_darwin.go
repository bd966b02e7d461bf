// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// maxPath bounds the path of a socket, in bytes (sys/un.h: 104 with a zero at the end).
const maxPath = 103

// peerOf returns who is at the other end: of a server who listened first.
func peerOf(conn *net.UnixConn) (Peer, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return Peer{UID: -1}, err
	}
	var credentials *unix.Xucred
	var pid int
	if control := raw.Control(func(fd uintptr) {
		if credentials, err = unix.GetsockoptXucred(int(fd), unix.SOL_LOCAL, unix.LOCAL_PEERCRED); err == nil {
			pid, _ = unix.GetsockoptInt(int(fd), unix.SOL_LOCAL, unix.LOCAL_PEERPID)
		}
	}); control != nil {
		err = control
	}
	if err != nil {
		return Peer{UID: -1}, os.NewSyscallError("getsockopt", err)
	}
	return Peer{UID: int(credentials.Uid), PID: pid}, nil
}

// lookUp finds no executable there without a library for it.
func (*Peer) lookUp() {}
