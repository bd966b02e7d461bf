// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/notation-pkcs11/notation-pkcs11/plugin"
	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

// checked runs the command check and returns its result. The environment is that of
// a user, and a path to strace.
func checked(t *testing.T, executable string, env []string, args ...string) checkResult {
	t.Helper()
	cmd := exec.Command(executable, append([]string{"check", "--output", "json"}, args...)...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}, env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.Run() // the result says what failed
	var result checkResult
	if err := json.Unmarshal(stdout.Bytes(), &result); err != nil {
		t.Fatalf("%v: %v\n%s%s", args, err, &stdout, &stderr)
	}
	return result
}

// overTCP relays a TPM's two sockets to two ports that follow each other, and
// returns the name by which a module finds them.
func overTCP(t *testing.T, env []string) string {
	t.Helper()
	i := slices.IndexFunc(env, func(variable string) bool { return strings.HasPrefix(variable, "TPM2_PKCS11_TCTI=swtpm:path=") })
	_, socket, _ := strings.Cut(env[i], "path=")
	for range 100 { // the second port may be taken
		first, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := first.Addr().(*net.TCPAddr).Port
		second, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", port+1))
		if err != nil {
			first.Close()
			continue
		}
		for listener, path := range map[net.Listener]string{first: socket, second: socket + ".ctrl"} {
			t.Cleanup(func() { listener.Close() })
			go relay(listener, path)
		}
		return fmt.Sprintf("swtpm:host=127.0.0.1,port=%d", port)
	}
	t.Fatal("no two ports that follow each other are free")
	return ""
}

// relay connects whoever connects to a listener with a socket, until the listener is
// closed.
func relay(listener net.Listener, path string) {
	for {
		client, err := listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("unix", path)
		if err != nil {
			client.Close()
			continue
		}
		for _, ends := range [][2]net.Conn{{client, server}, {server, client}} {
			go func() {
				io.Copy(ends[0], ends[1])
				ends[0].Close()
			}()
		}
	}
}

// What a module was seen opening is what it needs: it signs in the sandbox that was
// learned. In one that allows nothing it doesn't, so the sandbox is there.
func TestModulesSignInTheSandboxThatWasLearned(t *testing.T) {
	executable := buildPlugin(t)
	hsm := testenv.Start(t, testenv.NewSoftHSM)
	softhsm, err := hsm.AddToken("T")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := softhsm.Generate(testenv.EC256, "k"); err != nil {
		t.Fatal(err)
	}
	tpm, err := testenv.Start(t, testenv.NewTPM).AddToken("T")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tpm.Generate(testenv.EC256, "k"); err != nil {
		t.Fatal(err)
	}
	remote := testenv.Start(t, func() (*testenv.P11Kit, error) { return testenv.NewP11Kit(softhsm) }).Token()
	for _, test := range []struct {
		name  string
		token *testenv.Token
		env   []string
		needs string // what the setting must have
		alone bool   // it works in a sandbox that allows nothing: a UNIX socket is all that it needs
	}{
		{"SoftHSM", softhsm, nil, "write:/", false},
		{"p11-kit", remote, nil, "on", true},
		{"TPM", tpm, nil, "write:/", false},
		{"TPM over TCP", tpm, []string{"TPM2_PKCS11_TCTI=" + overTCP(t, tpm.Env())}, "connect:", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			pki, err := testenv.NewPKI()
			if err != nil {
				t.Fatal(err)
			}
			key := test.token.Key("k")
			chain, err := pki.Chain(key.Public)
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(t.TempDir(), "chain.pem")
			if err := os.WriteFile(file, testenv.EncodePEM(chain...), 0o600); err != nil {
				t.Fatal(err)
			}
			env := append(slices.Concat(test.token.Env(), test.env), "NOTATION_PKCS11_PIN="+test.token.PIN, "NOTATION_PKCS11_CERT_CHAIN="+file, "NOTATION_PKCS11_MODULE="+test.token.Store.Module)
			learned := checked(t, executable, env, key.URI(), "--learn-sandbox")
			if !learned.Usable || learned.Sandbox == "" || !slices.Contains(learned.KeyAdd, "sandbox="+learned.Sandbox) || !strings.Contains(learned.Sandbox, test.needs) {
				t.Fatalf("learned %+v", learned)
			}
			t.Log(learned.Sandbox)
			if boxed := checked(t, executable, env, key.URI(), "--sandbox", learned.Sandbox); !boxed.Usable {
				t.Errorf("in the sandbox %s: %+v", learned.Sandbox, boxed.Steps)
			}
			if closed := checked(t, executable, env, key.URI(), "--sandbox", "on"); closed.Usable != test.alone {
				t.Errorf("in a sandbox that allows nothing: usable %v", closed.Usable)
			}
		})
	}
	t.Run("OpenSC", func(t *testing.T) { // without a reader it can be loaded, no more
		modules, err := filepath.Glob("/usr/lib*/*/opensc-pkcs11.so")
		if err != nil || len(modules) == 0 {
			t.Fatalf("OpenSC's module is not there: %v", err)
		}
		env := []string{"NOTATION_PKCS11_MODULE=" + modules[0]}
		learned := checked(t, executable, env, "pkcs11:token=T;object=k", "--learn-sandbox")
		if !strings.Contains(learned.Sandbox, "opensc.conf") {
			t.Errorf("learned %+v", learned)
		}
		boxed := checked(t, executable, env, "pkcs11:token=T;object=k", "--sandbox", learned.Sandbox)
		if boxed.Steps[0].Outcome != plugin.OutcomeOK {
			t.Errorf("in the sandbox %s: %+v", learned.Sandbox, boxed.Steps)
		}
	})
}

// A kernel without landlock is said to be one, and the module is not loaded.
func TestKernelWithoutLandlockIsNamed(t *testing.T) {
	executable := buildPlugin(t)
	module := testenv.Start(t, testenv.NewSoftHSM).Module
	command := []string{"strace", "-f", "-o", filepath.Join(t.TempDir(), "trace"), "-e", "trace=landlock_create_ruleset", "-e", "inject=landlock_create_ruleset:error=EOPNOTSUPP",
		executable, "check", "pkcs11:token=T;object=k", "--module", module, "--sandbox", "on"}
	if os.Getuid() != 0 {
		command = append([]string{"sudo", "-n"}, command...)
	}
	output, err := exec.Command(command[0], command[1:]...).CombinedOutput()
	if err == nil || !strings.Contains(string(output), "this kernel has no landlock, which the sandbox needs") {
		t.Errorf("%v\n%s", err, output)
	}
}
