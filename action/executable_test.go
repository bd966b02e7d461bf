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
// github.com to curl, and go builds something.
type step struct {
	binary  string
	os      string // RUNNER_OS; empty: Linux
	pinned  string // executable.sha256
	asset   string // what there is to download; empty: nothing
	withGo  bool
	problem string // what the step says when it fails, or warns of
}

// run returns what the path of the executable points to, and the step's log.
func (s step) run(t *testing.T) (executable, log string, err error) {
	t.Helper()
	dir := t.TempDir()
	tools := filepath.Join(dir, "tools")
	put := func(name, content string, mode os.FileMode) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"bash", "cat", "chmod", "cut", "grep", "sha256sum", "mktemp", "dirname", "basename", "curl"} {
		real, err := exec.LookPath(name)
		if err != nil {
			t.Fatal(err)
		}
		put("tools/"+name, "#!/bin/sh\nexec "+real+" \"$@\"\n", 0o700)
	}
	if s.withGo {
		put("tools/go", "#!/bin/sh\nwhile [ \"$1\" != -o ]; do shift; done\necho built >\"$2\"\n", 0o700)
	}
	address, certificate := serveRelease(t, s.asset)
	put("github.pem", certificate, 0o600)
	put(".curlrc", fmt.Sprintf("connect-to = \"github.com:443:%s\"\ncacert = %q\n", address, filepath.Join(dir, "github.pem")), 0o600)
	put("action/executable.sha256", s.pinned, 0o600)
	script, err := filepath.Abs("executable.sh")
	if err != nil {
		t.Fatal(err)
	}
	if s.os == "" {
		s.os = "Linux"
	}
	cmd := exec.Command("bash", script)
	cmd.Dir = dir
	cmd.Env = []string{
		"PATH=" + tools, "CURL_HOME=" + dir, "ACTION_PATH=" + dir, "RUNNER_TEMP=" + dir, "GITHUB_OUTPUT=" + filepath.Join(dir, "output"),
		"RUNNER_OS=" + s.os, "RUNNER_ARCH=X64", "BINARY=" + s.binary,
	}
	out, err := cmd.CombinedOutput()
	outputs, _ := os.ReadFile(filepath.Join(dir, "output")) // what is not there is empty
	path, found := strings.CutPrefix(strings.TrimSpace(string(outputs)), "path=")
	if !found {
		return "", string(out), err
	}
	content, readErr := os.ReadFile(path)
	if readErr != nil {
		t.Fatal(readErr)
	}
	return strings.TrimSpace(string(content)), string(out), err
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
		{"release that is away", step{pinned: pinned, withGo: true, problem: "::warning title=notation-pkcs11-action::notation-pkcs11-action_1.2.3_linux_amd64 of the release v1.2.3 can't be had"}, "built"},
		{"release for others", step{os: "Windows", pinned: pinned, asset: "released", withGo: true}, "built"},
		{"unknown platform", step{os: "Plan9", pinned: pinned, asset: "released", withGo: true}, "built"},
		{"no release", step{asset: "released", withGo: true}, "built"},
		{"neither release nor Go", step{problem: "no Go to build it with"}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, log, err := test.step.run(t)
			if got != test.want || (err == nil) != (test.want != "") {
				t.Errorf("executable %q, %v\n%s", got, err, log)
			}
			if !strings.Contains(log, test.step.problem) {
				t.Errorf("the step does not say %q:\n%s", test.step.problem, log)
			}
		})
	}
}
