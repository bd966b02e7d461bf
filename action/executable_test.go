// SPDX-License-Identifier: Apache-2.0

package action

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/notation-pkcs11/notation-pkcs11/testenv/download"
)

// step is the first step of action.yml on a runner where a server on loopback is
// github.com to curl, and go builds something. Each program writes down the
// environment that it is given.
type step struct {
	binary  string
	os      string // RUNNER_OS; empty: Linux
	pinned  string // executable.sha256
	asset   string // what there is to download; empty: nothing
	withGo  bool
	problem string // what the step says when it fails, or warns of

	dir    string   // of the action; empty: a temporary one
	realGo bool     // and C compiler
	env    []string // besides what the runner sets
	seen   string   // set by run: the environments of all programs
}

func put(t *testing.T, path, content string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
}

// run returns the path of the executable, and the step's log.
func (s *step) run(t *testing.T) (path, log string, err error) {
	t.Helper()
	if s.dir == "" {
		s.dir = t.TempDir()
	}
	dir, runner := s.dir, t.TempDir()
	tools, environments := filepath.Join(runner, "tools"), filepath.Join(runner, "environments")
	names := []string{"bash", "env", "cat", "chmod", "cut", "grep", "sha256sum", "mktemp", "mkdir", "rm", "dirname", "basename", "curl"}
	if s.realGo {
		names = append(names, "go", "gcc", "as", "ld", "git")
	}
	address, certificate := serveRelease(t, s.asset)
	put(t, filepath.Join(runner, "github.pem"), certificate, 0o600)
	for _, name := range names {
		real, err := exec.LookPath(name)
		if err != nil {
			t.Fatal(err)
		}
		args := ""
		if name == "curl" {
			args = fmt.Sprintf("--connect-to github.com:443:%s --cacert %s", address, filepath.Join(runner, "github.pem"))
		}
		record := fmt.Sprintf("{ echo program=%s; /usr/bin/env; } >>%s\n", name, environments)
		if name == "bash" || name == "env" { // by which the step gets rid of the rest
			record = ""
		}
		put(t, filepath.Join(tools, name), fmt.Sprintf("#!/bin/bash\n%sexec %s \"$@\" %s\n", record, real, args), 0o700)
	}
	if s.withGo {
		put(t, filepath.Join(tools, "go"), "#!/bin/sh\nwhile [ \"$1\" != -o ]; do shift; done\necho built >\"$2\"\n", 0o700)
	}
	put(t, filepath.Join(dir, "action/executable.sha256"), s.pinned, 0o600)
	script, err := filepath.Abs("executable.sh")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(script); err != nil { // so that go test has no result for another one
		t.Fatal(err)
	}
	if s.os == "" {
		s.os = "Linux"
	}
	cmd := exec.Command("bash", script)
	cmd.Dir = dir
	cmd.Env = append([]string{
		"PATH=" + tools, "ACTION_PATH=" + dir, "RUNNER_TEMP=" + runner, "GITHUB_OUTPUT=" + filepath.Join(runner, "output"),
		"RUNNER_OS=" + s.os, "RUNNER_ARCH=X64", "BINARY=" + s.binary,
	}, s.env...)
	out, err := cmd.CombinedOutput()
	outputs, _ := os.ReadFile(filepath.Join(runner, "output")) // what is not there is empty
	seen, _ := os.ReadFile(environments)
	s.seen = string(seen)
	return strings.TrimPrefix(strings.TrimSpace(string(outputs)), "path="), string(out), err
}

// serveRelease serves the asset of a release as github.com does. It returns the
// server's address and its certificate.
func serveRelease(t *testing.T, asset string) (address, certificate string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "github.com"}, DNSNames: []string{"github.com"}, BasicConstraintsValid: true, IsCA: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		const path = "/notation-pkcs11/notation-pkcs11/releases/download/v1.2.3/notation-pkcs11-action_1.2.3_linux_amd64"
		if asset == "" || r.URL.Path != path {
			http.NotFound(w, r)
			return
		}
		io.WriteString(w, asset)
	}))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.Listener.Addr().String(), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func TestExecutableOfTheStep(t *testing.T) {
	own := filepath.Join(t.TempDir(), "own binary")
	if err := os.WriteFile(own, []byte("own"), 0o700); err != nil {
		t.Fatal(err)
	}
	const asset = "  notation-pkcs11-action_1.2.3_linux_amd64\n"
	pinned := download.SHA256([]byte("released")) + asset
	for _, test := range []struct {
		name string
		step step
		want string // content of the executable; empty: the step fails
	}{
		{"binary", step{binary: own, pinned: pinned, asset: "released", withGo: true}, "own"},
		{"binary that is none", step{binary: "/dev/null", problem: "::error title=notation-pkcs11-action::binary: /dev/null"}, ""},
		{"binary of two lines", step{binary: "a\npath=b", withGo: true, problem: "one line"}, ""},
		{"release", step{pinned: pinned, asset: "released"}, "released"},
		{"release that was changed", step{pinned: pinned, asset: "evil", withGo: true, problem: "not what this action was released with"}, ""},
		{"release that is away", step{pinned: pinned, withGo: true, problem: "::warning title=notation-pkcs11-action::notation-pkcs11-action_1.2.3_linux_amd64 of the release v1.2.3 couldn't be downloaded"}, "built"},
		{"release for others", step{os: "Windows", pinned: pinned, asset: "released", withGo: true}, "built"},
		{"unknown platform", step{os: "Plan9", pinned: pinned, asset: "released", withGo: true}, "built"},
		{"no release", step{asset: "released", withGo: true}, "built"},
		{"neither release nor Go", step{problem: "no Go to build it with"}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			path, log, err := test.step.run(t)
			content, readErr := os.ReadFile(path)
			if path != "" && readErr != nil {
				t.Fatal(readErr)
			}
			got := strings.TrimSpace(string(content))
			if got != test.want || (err == nil) != (test.want != "") {
				t.Errorf("executable %q, %v\n%s", got, err, log)
			}
			if !strings.Contains(log, test.step.problem) {
				t.Errorf("the step does not say %q:\n%s", test.step.problem, log)
			}
		})
	}
}

// The runner's user has left files and settings behind by which Go, git and the C
// compiler run other code, or build another executable.
func TestExecutableIsBuiltFromTheActionAlone(t *testing.T) {
	root := t.TempDir()
	file := func(name string) string { return filepath.Join(root, name) }
	action := file("work/action")
	put(t, filepath.Join(action, "go.mod"), "module example.com/action\n\ngo 1.26.0\n\nrequire example.com/part v1.0.0\n\nreplace example.com/part => ./part\n", 0o600)
	put(t, filepath.Join(action, "cmd/notation-pkcs11-action/main.go"),
		"package main\n\n// #ifdef EVIL\n// #error evil\n// #endif\nimport \"C\"\nimport \"example.com/part\"\n\nfunc main() { println(part.Name) }\n", 0o600)
	put(t, filepath.Join(action, "part/go.mod"), "module example.com/part\n\ngo 1.26.0\n", 0o600)
	put(t, filepath.Join(action, "part/part.go"), "package part\n\nconst Name = \"good\"\n", 0o600)

	put(t, file("evil/go.mod"), "module example.com/part\n\ngo 1.26.0\n", 0o600)
	put(t, file("evil/part.go"), "package part\n\nconst Name = \"evil\"\n", 0o600)
	put(t, file("go.work"), "go 1.26.0\n\nuse ./work/action\n\nreplace example.com/part => ./evil\n", 0o600)
	left := file("it-ran")
	put(t, file("run-first"), "#!/bin/sh\necho \"$*\" >>"+left+"\nexec \"$@\"\n", 0o700)
	put(t, file("instead"), "#!/bin/sh\necho \"$*\" >>"+left+"\nexit 1\n", 0o700)
	put(t, file("home/.config/go/env"), "GOFLAGS=-toolexec="+file("run-first")+"\n", 0o600)
	put(t, file("home/.curlrc"), "output = "+left+"\n", 0o600)
	for _, args := range [][]string{{"init", "--quiet", root}, {"-C", root, "config", "core.fsmonitor", file("instead")}} {
		if out, err := exec.Command("git", args...).CombinedOutput(); err != nil {
			t.Fatalf("git %q: %v\n%s", args, err, out)
		}
	}

	const secret = "4711-0815"
	s := step{
		dir: action, realGo: true,
		pinned: download.SHA256([]byte("released")) + "  notation-pkcs11-action_1.2.3_linux_amd64\n", // curl starts, and gets nothing
		env: []string{
			"HOME=" + file("home"), "GOPROXY=off", "GOENV=" + file("home/.config/go/env"), "GOFLAGS=-toolexec=" + file("run-first"),
			"GOWORK=" + file("go.work"), "GOROOT=" + file("evil"), "CC=" + file("instead"), "CGO_CFLAGS=-DEVIL", "CGO_ENABLED=0",
			"GCC_EXEC_PREFIX=" + root, "BASH_FUNC_go%%=() { " + file("instead") + "; }", "BASH_FUNC_curl%%=() { " + file("instead") + "; }",
			"INPUT_PIN=" + secret, "INPUT_REGISTRY_PASSWORD=" + secret, "NOTATION_PKCS11_PIN=" + secret, "RELEASE_PIN=" + secret, "RELEASE-PIN=" + secret,
			"INPUT_PLUGIN_CONFIG=pin_source=env:RELEASE_PIN", "NOTATION_PKCS11_PIN_SOURCE=env:RELEASE-PIN",
			"ACTIONS_RUNTIME_TOKEN=" + secret, "ACTIONS_ID_TOKEN_REQUEST_TOKEN=" + secret, "GITHUB_TOKEN=" + secret,
		},
	}
	path, log, err := s.run(t)
	if err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	if out, err := exec.Command(path).CombinedOutput(); err != nil || string(out) != "good\n" {
		t.Errorf("the executable says %q, %v", out, err)
	}
	if ran, err := os.ReadFile(left); err == nil {
		t.Errorf("what was left behind ran:\n%s", ran)
	}
	for _, program := range []string{"curl", "go", "gcc"} {
		if !strings.Contains(s.seen, "program="+program+"\n") {
			t.Errorf("%s did not run", program)
		}
	}
	for line := range strings.Lines(s.seen) {
		name, _, _ := strings.Cut(line, "=")
		if strings.Contains(line, secret) || strings.HasPrefix(name, "INPUT_") || strings.HasPrefix(name, "NOTATION_PKCS11_") || strings.HasPrefix(name, "ACTIONS_") {
			t.Errorf("a program was given %s", name)
		}
	}
}
