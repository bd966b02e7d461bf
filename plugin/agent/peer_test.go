// SPDX-License-Identifier: Apache-2.0

//go:build linux

package agent

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	contract "github.com/notaryproject/notation-plugin-framework-go/plugin"
)

// stranger is the user of processes that are not the tests'.
const stranger = 54321

// This test binary is also a process of another user.
func TestMain(m *testing.M) {
	roles := map[string]func(string){"impostor": beImpostor, "caller": beCaller, "activated": beActivated}
	if len(os.Args) == 3 && roles[os.Args[1]] != nil {
		roles[os.Args[1]](os.Args[2])
	}
	os.Exit(m.Run())
}

// beImpostor listens as an agent would, and says how much it hears from a client.
func beImpostor(path string) {
	l, err := net.Listen("unix", path)
	if err == nil {
		err = os.Chmod(path, 0o666)
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("listens")
	conn, err := l.Accept()
	if err != nil {
		os.Exit(1)
	}
	heard, _ := io.ReadAll(conn)
	fmt.Println(len(heard), "bytes")
	os.Exit(0)
}

// beCaller asks an agent as a client would that checks nothing.
func beCaller(path string) {
	conn, err := net.Dial("unix", path)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	// It fails where the agent has ended the connection by then.
	_ = writeJSON(conn, frameRequest, request{Version: protocolVersion, Operation: opDescribe, Key: mustURI("pkcs11:token=T")})
	conn.SetReadDeadline(time.Now().Add(time.Minute))
	heard, _ := io.ReadAll(conn)
	fmt.Println(len(heard), "bytes")
	os.Exit(0)
}

// asStranger makes a command of this binary that runs as another user.
func asStranger(t *testing.T, role, path string) *exec.Cmd {
	t.Helper()
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(filepath.Dir(path), role) // where that user can read it
	if err := os.WriteFile(copied, self, 0o755); err != nil {
		t.Fatal(err)
	}
	id := fmt.Sprint(stranger)
	command := []string{"setpriv", "--reuid", id, "--regid", id, "--clear-groups", copied, role, path}
	if os.Getuid() != 0 {
		command = append([]string{"sudo", "-n"}, command...)
	}
	return exec.Command(command[0], command[1:]...)
}

// openDir makes a directory that every user can use.
func openDir(t *testing.T) string {
	t.Helper()
	dir := closedDir(t)
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	return dir
}

// A plugin sends nothing to an agent of another user.
func TestAgentOfAnotherUser(t *testing.T) {
	path := filepath.Join(openDir(t), "socket")
	impostor := asStranger(t, "impostor", path)
	out, err := impostor.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := impostor.Start(); err != nil {
		t.Fatalf("%v, for which this must be root, or sudo must work without a password", err)
	}
	defer impostor.Wait()
	ready := make([]byte, len("listens\n"))
	if _, err := io.ReadFull(out, ready); err != nil {
		t.Fatalf("%v: %s", err, ready)
	}
	err = sign(t.Context(), t, path)
	var told *contract.Error
	if !errors.As(err, &told) || told.ErrCode != contract.ErrorCodeAccessDenied || !strings.HasPrefix(told.Message, "nothing was sent") || !strings.Contains(told.Message, fmt.Sprintf("belongs to user %d, and an agent must be your own. Start", stranger)) {
		t.Errorf("error %v", err)
	}
	if heard, err := io.ReadAll(out); err != nil || string(heard) != "0 bytes\n" {
		t.Errorf("it heard %q, %v", heard, err)
	}
}

// An agent answers nothing to a process of another user, even one that could reach
// the socket.
func TestClientOfAnotherUser(t *testing.T) {
	socket := serve(t, newSoftVault(t))
	if err := os.Chmod(filepath.Dir(socket), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(socket, 0o777); err != nil {
		t.Fatal(err)
	}
	output, err := asStranger(t, "caller", socket).CombinedOutput()
	if err != nil || string(output) != "0 bytes\n" {
		t.Errorf("it heard %s, %v", output, err)
	}
	if err := os.Chmod(filepath.Dir(socket), 0o700); err != nil { // as the agent's end expects it
		t.Fatal(err)
	}
	if err := sign(t.Context(), t, socket); err != nil {
		t.Error(err)
	}
}

// The peer in the log is the process that asked, or its parent where that doesn't
// show its executable.
func TestPeerIsLookedUp(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := Peer{PID: os.Getpid()}
	if p.lookUp(); p.Executable != self {
		t.Errorf("executable %q, want %q", p.Executable, self)
	}
	if parent := parentOf(os.Getpid()); parent != os.Getppid() {
		t.Errorf("parent %d, want %d", parent, os.Getppid())
	}
	if parent := parentOf(1 << 30); parent != 0 {
		t.Errorf("the parent of nobody is %d", parent)
	}
}
