// SPDX-License-Identifier: Apache-2.0

//go:build snapshot

package packaging

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

// Notation installs the archive as it is, and signatures of the released
// executable verify with notation and with ratify, which is another program
// on another configuration.
func TestReleasedPluginSigns(t *testing.T) {
	notation := testenv.Start(t, testenv.NewNotation)
	hsm := testenv.Start(t, testenv.NewSoftHSM)
	token, err := hsm.AddStandardToken()
	if err != nil {
		t.Fatal(err)
	}
	pki, err := testenv.NewPKI()
	if err != nil {
		t.Fatal(err)
	}
	if err := notation.Trust(pki.Root); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) string {
		t.Helper()
		result, err := notation.Run(t.Context(), append(hsm.Env(), "NOTATION_PKCS11_PIN="+token.PIN), args...)
		if err != nil {
			t.Fatal(err)
		}
		if result.ExitCode != 0 {
			t.Fatalf("notation %s: exit status %d\n%s%s", strings.Join(args, " "), result.ExitCode, result.Stdout, result.Stderr)
		}
		return result.Stdout
	}
	run("plugin", "install", "--file", asset(t, "notation-pkcs11", "linux_amd64.tar.gz"))
	if list := run("plugin", "list"); !strings.Contains(list, version(t)) {
		t.Errorf("not version %s:\n%s", version(t), list)
	}

	registry := testenv.Start(t, testenv.NewRegistry)
	ratify := newRatify(t, testenv.EncodePEM(pki.Root))
	stranger, err := testenv.NewPKI()
	if err != nil {
		t.Fatal(err)
	}
	strangers := newRatify(t, testenv.EncodePEM(stranger.Root))
	for _, key := range token.Keys {
		if _, err := pki.Certify(key); err != nil {
			t.Fatal(err)
		}
		for _, format := range []string{"cose", "jws"} {
			t.Run(key.Type.Name+" "+format, func(t *testing.T) {
				repository := strings.ToLower(key.Type.Name) + "-" + format
				image, err := registry.PushImage(t.Context(), repository, "v1")
				if err != nil {
					t.Fatal(err)
				}
				reference := registry.Host + "/" + repository + "@" + image.Digest.String()
				run("sign", "--plugin", "pkcs11", "--id", key.URI(), "--plugin-config", "module="+hsm.Module,
					"--signature-format", format, "--force-referrers-tag=false", reference)
				run("verify", reference)
				if report := ratify.verify(t, reference); !report.IsSuccess {
					t.Errorf("ratify does not verify it: %s", report.text)
				}
				if report := strangers.verify(t, reference); report.IsSuccess {
					t.Errorf("ratify verifies it with a root that it doesn't come from: %s", report.text)
				}
			})
		}
	}
}

// ratify is the ratify command with one trusted root.
type ratify struct{ command, home, config string }

func newRatify(t *testing.T, root []byte) ratify {
	t.Helper()
	command := output(t, "go", "tool", "-modfile=../testenv/tools/ratify/go.mod", "-n", "ratify")
	r := ratify{command: strings.TrimSpace(command), home: t.TempDir()}
	rootFile := filepath.Join(r.home, "root.crt")
	r.config = filepath.Join(r.home, "config.json")
	config, err := json.Marshal(map[string]any{
		"executor": map[string]any{},
		"store": map[string]any{
			"version": "1.0.0",
			"plugins": []any{map[string]any{"name": "oras", "useHttp": true}},
		},
		"policy": map[string]any{
			"version": "1.0.0",
			"plugin": map[string]any{
				"name":                         "configPolicy",
				"artifactVerificationPolicies": map[string]string{"application/vnd.cncf.notary.signature": "all"},
			},
		},
		"verifier": map[string]any{
			"version": "1.0.0",
			"plugins": []any{map[string]any{
				"name":              "notation",
				"artifactTypes":     "application/vnd.cncf.notary.signature",
				"verificationCerts": []string{rootFile},
				"trustPolicyDoc": map[string]any{
					"version": "1.0",
					"trustPolicies": []any{map[string]any{
						"name":                  "default",
						"registryScopes":        []string{"*"},
						"signatureVerification": map[string]string{"level": "strict"},
						"trustStores":           []string{"ca:certs"},
						"trustedIdentities":     []string{"*"},
					}},
				},
			}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	for path, content := range map[string][]byte{rootFile: root, r.config: config} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// ratifyReport is what the command prints. Its exit status says nothing: it is 0
// for a signature that doesn't verify, too.
type ratifyReport struct {
	IsSuccess bool
	text      string
}

func (r ratify) verify(t *testing.T, reference string) ratifyReport {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), r.command, "verify", "--config", r.config, "--subject", reference)
	cmd.Env = []string{"HOME=" + r.home, "RATIFY_CONFIG=" + r.home}
	output, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("ratify: %v\n%s", err, output)
	}
	report := ratifyReport{text: string(output)}
	if start := strings.Index(report.text, "\n{\n"); start >= 0 {
		err = json.NewDecoder(strings.NewReader(report.text[start:])).Decode(&report)
	}
	if err != nil {
		t.Fatalf("ratify's report: %v\n%s", err, output)
	}
	return report
}
