// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/faults"
)

// proxied is a user without a module set, for whom p11-kit has one module that
// misbehaves, and one with a token.
type proxied struct {
	executable string
	home       string
	env        []string
	user       *syscall.SysProcAttr
	silent     string // path of the one that misbehaves
	good       string // path of the other
}

// p11-kit takes no registrations from root's home, so root plays another user.
func newProxied(t *testing.T, rule string) *proxied {
	t.Helper()
	hsm := testenv.Start(t, testenv.NewSoftHSM)
	if _, err := hsm.AddStandardToken(); err != nil {
		t.Fatal(err)
	}
	home, err := os.MkdirTemp("", "proxied-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(home) })
	m, err := faults.New(home, hsm.Module, rule)
	if err != nil {
		t.Fatal(err)
	}
	p := &proxied{executable: filepath.Join(home, "notation-pkcs11"), home: home, silent: m.Path, good: hsm.Module}
	built, err := os.ReadFile(buildPlugin(t))
	if err != nil {
		t.Fatal(err)
	}
	modules := filepath.Join(home, ".config", "pkcs11", "modules")
	if err := os.MkdirAll(modules, 0o700); err != nil {
		t.Fatal(err)
	}
	for path, content := range map[string][]byte{
		p.executable:                              built,
		filepath.Join(modules, "silent.module"):   []byte("module: " + m.Path + "\n"),
		filepath.Join(modules, "softhsm2.module"): []byte("module: " + hsm.Module + "\n"),
	} {
		if err := os.WriteFile(path, content, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	p.env = append(append(os.Environ(), hsm.Env()...), m.Env()...)
	p.env = append(p.env, "HOME="+home, "NOTATION_PKCS11_MODULE=", "NOTATION_PKCS11_PIN="+testenv.UserPIN, "XDG_RUNTIME_DIR="+home)
	if os.Getuid() == 0 {
		const other = 64539
		p.user = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: other, Gid: other}}
		_, conf, _ := strings.Cut(hsm.Env()[0], "=")
		for _, tree := range []string{home, filepath.Dir(conf)} {
			err := filepath.WalkDir(tree, func(path string, _ fs.DirEntry, err error) error {
				if err != nil {
					return err
				}
				return os.Chown(path, other, other)
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	return p
}

// run runs a command line, with a request on its standard input, and returns the
// exit status and all that it says.
func (p *proxied) run(t *testing.T, stdin string, args ...string) (int, string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), p.executable, args...)
	cmd.Dir, cmd.Env, cmd.SysProcAttr, cmd.Stdin = p.home, p.env, p.user, strings.NewReader(stdin)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Run(); cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), output.String()
}

// One module that doesn't answer keeps p11-kit's proxy from answering. It is
// named, and the one that has the token.
func TestModuleThatSilencesTheProxyIsNamed(t *testing.T) {
	p := newProxied(t, "C_Initialize hang")
	request := `{"contractVersion":"1.0","keyId":"pkcs11:token=testenv;object=EC-256","keySpec":"EC-256","hashAlgorithm":"SHA-256","payload":"aGVsbG8=","pluginConfig":{"timeout":"20s"}}`
	for _, test := range []struct {
		stdin string
		args  []string
	}{
		{"", []string{"keys", "pkcs11:token=testenv", "--timeout", "20s"}},
		{"", []string{"check", "pkcs11:token=testenv;object=EC-256", "--timeout", "20s"}},
		{request, []string{"generate-signature"}},
	} {
		t.Run(test.args[0], func(t *testing.T) {
			t.Parallel() // each waits for its deadline
			code, output := p.run(t, test.stdin, test.args...)
			if code != exitFailed {
				t.Errorf("exit status %d", code)
			}
			for _, want := range []string{"did not answer in time", "no module is set, so p11-kit's proxy is used, which loads ",
				p.silent + " doesn't answer", p.good + " has the token pkcs11:token=testenv", "Set the token's own module: module-path in the URI"} {
				if !strings.Contains(output, want) {
					t.Errorf("doesn't say %q: %s", want, output)
				}
			}
		})
	}
}

// One that crashes takes the proxy with it.
func TestModuleThatCrashesTheProxyIsNamed(t *testing.T) {
	p := newProxied(t, "C_Initialize crash")
	code, output := p.run(t, "", "keys", "pkcs11:token=testenv")
	if code != exitFailed || !strings.Contains(output, p.silent+" crashes") || !strings.Contains(output, p.good+" has the token") {
		t.Errorf("exit status %d: %s", code, output)
	}
}

// Where all is well it is only said what is used.
func TestProxyIsSaidToBeUsed(t *testing.T) {
	p := newProxied(t, "C_Initialize noise")
	code, output := p.run(t, "", "tokens")
	if code != 0 || !strings.Contains(output, "note: no module is set, so p11-kit's proxy is used, which loads ") {
		t.Errorf("tokens: exit status %d: %s", code, output)
	}
	code, output = p.run(t, "", "keys", "pkcs11:token=absent")
	if code != exitFailed || !strings.Contains(output, "no module is set") || strings.Contains(output, "one by one") {
		t.Errorf("keys: exit status %d: %s", code, output)
	}
}
