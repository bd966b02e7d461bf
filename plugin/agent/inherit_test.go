// SPDX-License-Identifier: Apache-2.0

//go:build linux

package agent

import (
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// beActivated takes over the socket of a service manager, and says which.
func beActivated(string) {
	// It is this process that is meant, as a service manager has it between fork and exec.
	if os.Getenv("LISTEN_PID") == "self" {
		os.Setenv("LISTEN_PID", strconv.Itoa(os.Getpid()))
	}
	s, err := Inherit()
	switch {
	case err != nil:
		fmt.Println("error:", err)
	case s == nil:
		fmt.Println("none")
	default:
		_, left := os.LookupEnv("LISTEN_FDS")
		fmt.Println("socket", s.Path, left)
		s.Close()
	}
	os.Exit(0)
}

// The socket of a service manager is taken if nobody else can reach it, and it is
// never removed.
func TestSocketOfAServiceManager(t *testing.T) {
	dir := closedDir(t)
	path := filepath.Join(dir, "socket")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	socket, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	tcp, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	tcpSocket, err := tcp.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer tcpSocket.Close()
	file, err := os.Create(filepath.Join(dir, "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, row := range []struct {
		name       string
		file       *os.File
		mode       fs.FileMode
		count, pid string
		says       string
	}{
		{"of its own", socket, 0o600, "1", "self", "socket " + path + " false"},
		{"open to others", socket, 0o666, "1", "self", "SocketMode=0600"},
		{"open to the group", socket, 0o660, "1", "self", "SocketMode=0600"},
		{"another process's", socket, 0o600, "1", "1", "none"},
		{"none", socket, 0o600, "", "self", "none"},
		{"two", socket, 0o600, "2", "self", "takes one"},
		{"of TCP", tcpSocket, 0o600, "1", "self", "not a UNIX socket"},
		{"a file", file, 0o600, "1", "self", "not a listening socket"},
	} {
		if err := os.Chmod(path, row.mode); err != nil {
			t.Fatal(err)
		}
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(self, "activated", "")
		cmd.Env = []string{"LISTEN_PID=" + row.pid, "LISTEN_FDS=" + row.count}
		cmd.ExtraFiles = []*os.File{row.file}
		output, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(output), row.says) {
			t.Errorf("%s: %s, %v, want %q", row.name, output, err, row.says)
		}
		if _, err := os.Lstat(path); err != nil {
			t.Fatalf("%s: the socket was removed: %v", row.name, err)
		}
	}
	if os.Getuid() != 0 {
		return
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(path, stranger, -1); err != nil {
		t.Fatal(err)
	}
	if err := checkInherited(path); err == nil || !strings.Contains(err.Error(), "belongs to user") {
		t.Errorf("another user's: error %v", err)
	}
}
