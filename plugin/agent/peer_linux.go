// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// maxPath bounds the path of a socket, in bytes (unix(7): 108 with a zero at the end).
const maxPath = 107

// peerOf returns who is at the other end: of a server who listened first.
func peerOf(conn *net.UnixConn) (Peer, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return Peer{UID: -1}, err
	}
	var credentials *unix.Ucred
	if control := raw.Control(func(fd uintptr) {
		credentials, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); control != nil {
		err = control
	}
	if err != nil {
		return Peer{UID: -1}, os.NewSyscallError("getsockopt", err)
	}
	return Peer{UID: int(credentials.Uid), PID: int(credentials.Pid)}, nil
}

// lookUp finds the executable.
func (p *Peer) lookUp() {
	for pid := p.PID; pid > 1 && p.Executable == ""; pid = parentOf(pid) {
		p.Executable, _ = os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
		if pid != p.PID {
			return // it or its parent
		}
	}
}

// parentOf returns the parent of a process; 0 where it isn't known.
func parentOf(pid int) int {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	end := bytes.LastIndexByte(stat, ')') // after the name, which may hold anything
	if err != nil || end < 0 {
		return 0
	}
	fields := bytes.Fields(stat[end+1:])
	if len(fields) < 2 {
		return 0
	}
	parent, _ := strconv.Atoi(string(fields[1]))
	return parent
}
