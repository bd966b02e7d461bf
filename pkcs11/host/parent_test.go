// SPDX-License-Identifier: Apache-2.0

//go:build linux

package host_test

import (
	"bufio"
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
	"github.com/notation-pkcs11/notation-pkcs11/pkcs11/host"
)

// beParent opens a key, says so, and keeps it until stdin ends. What it does
// with it is its second argument.
func beParent(args []string) {
	c := config(args[0])
	if args[1] == "ask" {
		c.PIN = func(ctx context.Context, _ pkcs11.TokenInfo) (pkcs11.PIN, error) {
			fmt.Println("asked")
			<-ctx.Done()
			return pkcs11.PIN{}, ctx.Err()
		}
	}
	c.MayGainPrivileges = args[1] == "gain"
	if args[1] == "unlocked" {
		c.Log = slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{Level: slog.LevelDebug}))
		if err := unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unix.Rlimit{}); err != nil {
			fmt.Println("error:", err)
			return
		}
	}
	c.SecretEnv = []string{"HOST_TEST_PIN"}
	host.EraseEnv(c.SecretEnv...)
	if args[1] == "limit" {
		if err := unix.Setrlimit(unix.RLIMIT_NPROC, &unix.Rlimit{Cur: 14, Max: 14}); err != nil {
			fmt.Println(err)
		}
	}
	k, err := host.Open(context.Background(), c)
	if pkcs11.IsKind(err, pkcs11.KindResources) {
		fmt.Println("resources:", err)
		return
	}
	if err != nil {
		fmt.Println("error:", err)
		return
	}
	fmt.Println("open")
	switch args[1] {
	case "sign":
		k.SignMessage(context.Background(), []byte("message"), crypto.SHA256)
	case "close":
		k.Close()
		fmt.Println("closed")
	}
	io.Copy(io.Discard, os.Stdin)
}

// parent is a process that has a module host.
type parent struct {
	*exec.Cmd
	said  *bufio.Reader
	stdin io.WriteCloser
}

// startParent starts one as the user uid, and kills it when the test ends.
func startParent(t *testing.T, uid int, module, does string, files ...*os.File) *parent {
	t.Helper()
	p := &parent{Cmd: exec.Command("/proc/self/exe", "parent", module, does)}
	p.ExtraFiles = files
	p.SysProcAttr = as(uid)
	out, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.said = bufio.NewReader(out)
	if p.stdin, err = p.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Process.Kill()
		p.Wait()
	})
	return p
}

// as makes a process one of another user.
func as(uid int) *syscall.SysProcAttr {
	if uid == os.Getuid() {
		return nil
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
}

// awaits reads what the parent says.
func (p *parent) awaits(t *testing.T, want string) {
	t.Helper()
	line, err := p.said.ReadString('\n')
	if err != nil || line != want+"\n" {
		t.Fatalf("the parent says %q, %v", line, err)
	}
}

// host is the number of the parent's only child.
func (p *parent) host(t *testing.T) int {
	t.Helper()
	var hosts []int
	wait(t, "the module host to be there", func() bool {
		hosts = childrenOf(t, p.Process.Pid)
		return len(hosts) > 0
	})
	if len(hosts) != 1 {
		t.Fatalf("children %v", hosts)
	}
	return hosts[0]
}

// callsToSign are the calls on the way to a signature, in the order in which they come.
var callsToSign = []string{
	"load", "C_GetFunctionList", "C_Initialize", "C_GetSlotList", "C_GetTokenInfo", "C_OpenSession", "C_Login",
	"C_FindObjectsInit", "C_FindObjects", "C_FindObjectsFinal", "C_GetAttributeValue", "C_GetMechanismList", "C_SignInit", "C_Sign",
}

// Wherever the module is, and whatever the host waits for: the pipe ends with
// the parent, even one that is killed, and so does the host.
func TestHostDiesWithItsParent(t *testing.T) {
	states := []struct{ rule, does, said string }{
		{"", "ask", "asked"},
		{"", "hold", "open"},
		{"C_Finalize hang", "close", "open"},
		{"C_Logout hang", "close", "open"},
	}
	for _, call := range callsToSign {
		states = append(states, struct{ rule, does, said string }{call + " hang", "sign", ""})
	}
	for _, state := range states {
		t.Run(strings.TrimSpace(state.does+" "+state.rule), func(t *testing.T) {
			f := newFixture(t, state.rule)
			p := startParent(t, os.Getuid(), f.Path, state.does)
			pid := p.host(t)
			if state.said != "" {
				p.awaits(t, state.said)
			}
			if call, hangs := strings.CutSuffix(state.rule, " hang"); hangs {
				wait(t, "the module to hang", func() bool { return f.Calls(call) > 0 })
			}
			killed := time.Now()
			if err := p.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			wait(t, "the module host to end", func() bool { return isGone(pid) })
			t.Logf("it ended after %v", time.Since(killed).Round(time.Millisecond))
		})
	}
}

// isGone reports whether a process has ended. Its new parent may not have reaped
// it.
func isGone(pid int) bool {
	state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) || strings.Contains(string(state), ") Z ")
}
