// SPDX-License-Identifier: Apache-2.0

package docs_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/notaryproject/notation-go/verifier/trustpolicy"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/pki"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/signed"
)

// What fails to verify is looked up by what notation prints, and notation prints the
// reason with -v alone, as the page says.
func TestNotationPrintsTheSymptomsOfVerification(t *testing.T) {
	_, table, _ := strings.Cut(page(t, "troubleshooting.md"), "\n### Verification\n")
	w := signed.NewWorld(t)
	other, expired := pki.New(t, "other root", nil, pki.AsAuthority), pki.New(t, "expired", w.Root, pki.AsExpired)
	for name, c := range map[string]struct {
		by     *pki.Certificate // nil: the artifact isn't signed
		policy func(*trustpolicy.TrustPolicy)
		prints string // without -v
		reason string // with -v alone
	}{
		"not signed":     {nil, nil, "no signature is associated with", ""},
		"another scope":  {w.Good, func(p *trustpolicy.TrustPolicy) { p.RegistryScopes = []string{"registry.example/app"} }, "has no applicable trust policy statement", ""},
		"no trust store": {w.Good, func(p *trustpolicy.TrustPolicy) { p.TrustStores = []string{"ca:absent"} }, "does not exist", ""},
		"another signer": {
			w.Good, func(p *trustpolicy.TrustPolicy) { p.TrustedIdentities = []string{"x509.subject: C=US, ST=WA, O=Other"} },
			"signature verification failed for all the signatures", "signing certificate from the digital signature does not match the X.509 trusted identities",
		},
		"another root": {
			pki.New(t, "stranger", other, pki.AsSigner), nil,
			"signature verification failed for all the signatures", "the signature's certificate chain does not contain any trusted certificate",
		},
		"an expired certificate": {expired, nil, "signature verification failed for all the signatures", "authenticTimestamp"},
	} {
		t.Run(name, func(t *testing.T) {
			notation := testenv.Start(t, testenv.NewNotation)
			if err := os.MkdirAll(notation.ConfigDir(), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.CopyFS(filepath.Join(notation.ConfigDir(), "truststore"), os.DirFS(w.Store)); err != nil {
				t.Fatal(err)
			}
			policy := signed.PolicyJSON(t, signed.Statement(c.policy))
			if err := os.WriteFile(filepath.Join(notation.ConfigDir(), "trustpolicy.json"), []byte(policy), 0o600); err != nil {
				t.Fatal(err)
			}
			image := w.Image(strings.ReplaceAll(name, " ", "-"))
			if c.by != nil {
				how := signed.How{}
				if c.by == expired {
					how.At = expired.Cert.NotBefore.Add(time.Second)
				}
				w.Sign(c.by, image, how)
			}
			reference := w.Scope() + "@" + image.Digest.String()
			quiet := verifyFails(t, notation, reference)
			if !strings.Contains(quiet, c.prints) || c.reason != "" && strings.Contains(quiet, c.reason) {
				t.Errorf("notation verify prints:\n%s", quiet)
			}
			if loud := verifyFails(t, notation, "--verbose", reference); !strings.Contains(loud, c.reason) {
				t.Errorf("notation verify --verbose prints:\n%s", loud)
			}
			for _, phrase := range []string{c.prints, c.reason} {
				if !strings.Contains(table, phrase) {
					t.Errorf("the page doesn't have %q", phrase)
				}
			}
		})
	}
}

// verifyFails runs "notation verify", which must fail, and returns what it prints.
func verifyFails(t *testing.T, notation *testenv.Notation, args ...string) string {
	t.Helper()
	result, err := notation.Run(t.Context(), nil, append([]string{"verify"}, args...)...)
	if err != nil || result.ExitCode == 0 {
		t.Fatalf("notation verify: %v, exit code %d", err, result.ExitCode)
	}
	return result.Stdout + result.Stderr
}
