// SPDX-License-Identifier: Apache-2.0

//go:build linux

package docs_test

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

// What the prepared pages find: a key with a certificate of the lab or of the CA, the
// key's name in notation, and trust in both.
const (
	trust = `
cat >trustpolicy.json <<'END'
{"version": "1.0", "trustPolicies": [{"name": "release", "registryScopes": ["*"],
  "signatureVerification": {"level": "strict"}, "trustStores": ["ca:release"], "trustedIdentities": ["x509.subject: C=US, ST=WA, O=Example"]}]}
END
notation policy import trustpolicy.json
`
	aKey = `
notation-pkcs11 generate-key 'pkcs11:token=Release;object=signing' --type ec:p256
notation-pkcs11 self-sign 'pkcs11:token=Release;object=signing' --subject 'CN=Lab,O=Example,ST=WA,C=US' --days 2 --import --output-file lab.pem
notation certificate add --type ca --store release lab.pem root.pem
notation key add release --plugin pkcs11 --id 'pkcs11:token=Release;object=signing'
`
	anArchive = `
for version in 1.2.3 1.2.4; do tar -C "$BUILDS/$version" -czf "notation-pkcs11_${version}_linux_amd64.tar.gz" notation-pkcs11; done
notation plugin uninstall --yes pkcs11
`
)

// prepared are the pages whose commands need something that the page doesn't make, and
// what makes it.
var prepared = map[string]string{
	"commands.md":       "",
	"locked-pin.md":     aKey,
	"certificates.md":   trust + aKey,
	"multi-platform.md": trust + aKey,
	"install.md":        aKey + anArchive,
}

// The commands of the pages work for somebody who has what the page says that you need:
// the token Release with its PIN, its module, notation with the plugin, a CA that answers
// a CSR, and an image of two platforms in a registry.
func TestCommandsOfPreparedPagesWork(t *testing.T) {
	testenv.Long(t, "runs the commands of each page")
	tools, builds := t.TempDir(), t.TempDir()
	build(t, tools, "../testenv/tools/crane", "github.com/google/go-containerregistry/cmd/crane")
	for _, version := range []string{"1.2.3", "1.2.4"} {
		dir := filepath.Join(builds, version)
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		build(t, dir, "..", "./cmd/notation-pkcs11", "-ldflags", "-X main.version="+version)
	}
	for path, before := range prepared {
		t.Run(path, func(t *testing.T) {
			notation := testenv.Start(t, testenv.NewNotation)
			plugin := filepath.Join(builds, "1.2.3")
			installed, err := notation.Run(t.Context(), nil, "plugin", "install", "--file", filepath.Join(plugin, "notation-pkcs11"))
			if err != nil || installed.ExitCode != 0 {
				t.Fatalf("install the plugin: %v\n%s", err, installed.Stderr)
			}
			hsm := testenv.Start(t, testenv.NewSoftHSM)
			token, err := hsm.AddToken("Release")
			if err != nil {
				t.Fatal(err)
			}
			image, index := pushPlatforms(t)
			env := append(notation.Env(), token.Env()...)
			env = append(env, "PATH="+strings.Join([]string{tools, filepath.Dir(notation.Command), plugin, os.Getenv("PATH")}, ":"),
				"NOTATION_PKCS11_MODULE="+hsm.Module, "NOTATION_PKCS11_PIN="+token.PIN, "IMAGE="+image, "INDEX="+index, "BUILDS="+builds)
			dir := t.TempDir()
			answerRequests(t, dir)
			text := strings.ReplaceAll(page(t, path), "/usr/lib/softhsm/libsofthsm2.so", hsm.Module)
			text = importing.ReplaceAllString(text, "until [ -e $2 ]; do sleep 0.05; done; $1$2")
			runSteps(t, dir, env, before, text)
		})
	}
}

// importing is the command that needs the CA's answer.
var importing = regexp.MustCompile(`(notation-pkcs11 import-cert '[^']*' )(\S+\.pem)(?m)$`)

// pushPlatforms returns the references of an image of one platform, and of one of two.
func pushPlatforms(t *testing.T) (image, index string) {
	t.Helper()
	registry := testenv.Start(t, testenv.NewTagSchemaRegistry)
	one, err := registry.PushImage(t.Context(), "app", "one")
	if err != nil {
		t.Fatal(err)
	}
	two, err := registry.PushImage(t.Context(), "app", "two")
	if err != nil {
		t.Fatal(err)
	}
	both, err := registry.PushIndex(t.Context(), "app", "v1", one, two)
	if err != nil {
		t.Fatal(err)
	}
	repository := registry.Host + "/app@"
	return repository + one.Digest.String(), repository + both.Digest.String()
}

// answerRequests is the certification authority of a directory, until the test ends: it
// has its root in root.pem, and answers NAME.csr with NAME.pem.
func answerRequests(t *testing.T, dir string) {
	t.Helper()
	pki, err := testenv.NewPKI()
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, filepath.Join(dir, "root.pem"), pki.Root)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	t.Cleanup(func() { stop(); <-done })
	go func() {
		defer close(done)
		for ; ctx.Err() == nil; time.Sleep(20 * time.Millisecond) {
			requests, err := filepath.Glob(filepath.Join(dir, "*.csr"))
			if err != nil {
				t.Error(err)
				return
			}
			for _, request := range requests {
				answer(t, pki, request)
			}
		}
	}()
}

// answer issues a certificate for a request that is whole, and has no answer yet.
func answer(t *testing.T, pki *testenv.PKI, request string) {
	reply := strings.TrimSuffix(request, ".csr") + ".pem"
	if _, err := os.Stat(reply); err == nil {
		return
	}
	content, err := os.ReadFile(request)
	if err != nil {
		t.Error(err)
		return
	}
	block, _ := pem.Decode(content)
	if block == nil {
		return // it is being written
	}
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		t.Error(err)
		return
	}
	chain, err := pki.Issue(csr)
	if err != nil {
		t.Error(err)
		return
	}
	writePEM(t, reply, chain...)
}

// writePEM writes a file of certificates that is there whole or not at all.
func writePEM(t *testing.T, path string, certificates ...*x509.Certificate) {
	part := path + ".part"
	if err := os.WriteFile(part, testenv.EncodePEM(certificates...), 0o600); err != nil {
		t.Error(err)
		return
	}
	if err := os.Rename(part, path); err != nil {
		t.Error(err)
	}
}
