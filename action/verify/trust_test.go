// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"encoding/json"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/notaryproject/notation-go/dir"
	"github.com/notaryproject/notation-go/verifier/trustpolicy"
	"oras.land/oras-go/v2/registry"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/pki"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/signed"
)

func TestTrustFromCertificatesNeedsNoFile(t *testing.T) {
	root, other := pki.New(t, "root", nil, pki.AsAuthority), pki.New(t, "other", nil, pki.AsAuthority)
	dir := t.TempDir()
	paths := testenv.PutFile(t, filepath.Join(dir, "root.pem"), pki.PemOf(root)) + "\n\n  " +
		testenv.PutFile(t, filepath.Join(dir, "other.der"), string(other.Cert.Raw)) + "\n"
	for name, value := range map[string]string{"PEM": pki.PemOf(root, other), "paths": paths} {
		trust, err := LoadTrust(TrustOptions{Certificates: value, Identities: []string{"x509.subject: C=DE, ST=Berlin, O=acme"}, Level: "permissive"})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		s, err := trust.statementFor(registry.Reference{Registry: "registry.example", Repository: "any/thing"})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if s.level != trustpolicy.LevelPermissive || s.scope != "*" || len(trust.Warnings) != 0 {
			t.Errorf("%s: level %s, scope %s, warnings %q", name, s.level.Name, s.scope, trust.Warnings)
		}
		if certs := trust.stores["ca:trusted_certificates"].certs; len(certs) != 2 {
			t.Errorf("%s: %d certificates are trusted, want 2", name, len(certs))
		}
	}
}

func TestTrustFromCertificatesIsStrictAndWarnsOfEverySigner(t *testing.T) {
	trust, err := LoadTrust(TrustOptions{Certificates: pki.PemOf(pki.New(t, "root", nil, pki.AsAuthority))})
	if err != nil {
		t.Fatal(err)
	}
	statement := trust.policy.TrustPolicies[0]
	if statement.SignatureVerification.VerificationLevel != "strict" || !slices.Equal(statement.TrustedIdentities, []string{"*"}) {
		t.Errorf("statement %+v", statement)
	}
	if len(trust.Warnings) != 1 || !strings.Contains(trust.Warnings[0], "trusted_identities") {
		t.Errorf("warnings %q", trust.Warnings)
	}
}

func TestTrustPolicyFromFileAndInline(t *testing.T) {
	root := pki.New(t, "root", nil, pki.AsAuthority)
	store := t.TempDir()
	testenv.PutFile(t, filepath.Join(store, "x509", "ca", "acme", "root.pem"), pki.PemOf(root))
	policy := signed.PolicyJSON(t, signed.Statement(nil))
	for name, options := range map[string]TrustOptions{
		"inline":        {Policy: "\n" + policy, Store: store},
		"path":          {Policy: testenv.PutFile(t, filepath.Join(t.TempDir(), "policy.json"), policy), Store: store},
		"notation's":    {NotationDir: notationDir(t, policy, root)},
		"store of both": {Policy: policy, NotationDir: notationDir(t, "{}", root)},
	} {
		trust, err := LoadTrust(options)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if s := trust.stores["ca:acme"]; len(s.certs) != 1 || s.err != nil || len(trust.Warnings) != 0 {
			t.Errorf("%s: store has %d certificates, error %v, warnings %q", name, len(s.certs), s.err, trust.Warnings)
		}
	}
}

// notationDir makes a configuration directory of notation's.
func notationDir(t *testing.T, policy string, root *pki.Certificate) string {
	t.Helper()
	dir := t.TempDir()
	testenv.PutFile(t, filepath.Join(dir, "trustpolicy.json"), policy)
	testenv.PutFile(t, filepath.Join(dir, "truststore", "x509", "ca", "acme", "root.pem"), pki.PemOf(root))
	return dir
}

func TestTrustRefusesInputs(t *testing.T) {
	root := pki.New(t, "root", nil, pki.AsAuthority)
	leaf := pki.New(t, "leaf", root, pki.AsSigner)
	policy := signed.PolicyJSON(t, signed.Statement(nil))
	key := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("secret")}))
	link := filepath.Join(t.TempDir(), "trustpolicy.json")
	if err := os.Symlink(testenv.PutFile(t, filepath.Join(t.TempDir(), "policy.json"), policy), link); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		options TrustOptions
		want    string
	}{
		{"nothing", TrustOptions{NotationDir: t.TempDir()}, "nothing to verify against"},
		{"policy that is no file", TrustOptions{Policy: "no/such.json"}, "neither JSON nor a file"},
		{"policy that is a directory", TrustOptions{Policy: t.TempDir()}, "not a regular file"},
		{"notation's policy a symbolic link", TrustOptions{NotationDir: filepath.Dir(link)}, "not a regular file"},
		{"broken JSON", TrustOptions{Policy: "{\n\n\"version\" 1}"}, "line 3"},
		{"JSON and more", TrustOptions{Policy: policy + "{}"}, "after top-level value"},
		{"invalid policy", TrustOptions{Policy: `{"version":"1.0","trustPolicies":[]}`}, "zero trust policy statements"},
		{"no store", TrustOptions{Policy: policy, Store: t.TempDir()}, "no directory x509"},
		{"certificates and policy", TrustOptions{Certificates: pki.PemOf(root), Policy: policy}, "trusted_certificates and trust_policy or trust_store are both set"},
		{"identities alone", TrustOptions{Identities: []string{"*"}, NotationDir: t.TempDir()}, "need trusted_certificates, which is not set"},
		{"level alone", TrustOptions{Level: "audit", Policy: policy}, "need trusted_certificates, which is not set"},
		{"level unknown", TrustOptions{Certificates: pki.PemOf(root), Level: "lax"}, "invalid signature verification level"},
		{"identity of no form", TrustOptions{Certificates: pki.PemOf(root), Identities: []string{"acme"}}, "begins with x509.subject:"},
		{"certificate of a leaf", TrustOptions{Certificates: pki.PemOf(leaf)}, "not a CA certificate"},
		{"private key", TrustOptions{Certificates: pki.PemOf(root) + key}, "PRIVATE KEY"},
		{"damaged PEM", TrustOptions{Certificates: strings.Replace(pki.PemOf(root), "\nM", "\n!", 1) + pki.PemOf(root)}, "2 blocks of PEM, of which 1"},
		{"file that is not there", TrustOptions{Certificates: "no/such.pem"}, "neither PEM nor paths"},
		{"file without a certificate", TrustOptions{Certificates: testenv.PutFile(t, filepath.Join(t.TempDir(), "a.pem"), "hello")}, "neither a PEM nor a DER"},
		{"timestamp root of a leaf", TrustOptions{Certificates: pki.PemOf(root), TimestampRoot: pki.PemOf(leaf)}, "timestamp_root_cert"},
		{"timestamp root of an intermediate", TrustOptions{Certificates: pki.PemOf(root), TimestampRoot: pki.PemOf(pki.New(t, "between", root, pki.AsAuthority))}, "not a root certificate"},
	} {
		_, err := LoadTrust(c.options)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one that says %q", c.name, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error has what was in the file: %v", c.name, err)
		}
	}
}

func TestTrustWarnsOfMisspeltKeysAndMissingStores(t *testing.T) {
	policy := strings.Replace(signed.PolicyJSON(t, signed.Statement(nil)), `"level"`, `"verifyTimestamps":"always","level"`, 1)
	trust, err := LoadTrust(TrustOptions{Policy: policy, NotationDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	all := strings.Join(trust.Warnings, "\n")
	for _, want := range []string{`unknown field "verifyTimestamps"`, "trust store ca:acme", filepath.Join("truststore", "x509", "ca", "acme")} {
		if !strings.Contains(all, want) {
			t.Errorf("warnings %q don't say %q", trust.Warnings, want)
		}
	}
}

func TestHopelessStatementIsFoundBeforeTheFirstRequest(t *testing.T) {
	root := pki.New(t, "root", nil, pki.AsAuthority)
	ref := registry.Reference{Registry: "registry.example", Repository: "acme/app"}
	for _, c := range []struct {
		name   string
		change func(*trustpolicy.TrustPolicy)
		want   string // of the error; empty: none
	}{
		{"good store", nil, ""},
		{"missing store", func(s *trustpolicy.TrustPolicy) { s.TrustStores = []string{"ca:nowhere"} }, "ca:nowhere"},
		{"missing store beside a good one", func(s *trustpolicy.TrustPolicy) { s.TrustStores = []string{"ca:acme", "ca:nowhere"} }, "ca:nowhere"},
		{"missing store of the other type", func(s *trustpolicy.TrustPolicy) { s.TrustStores = []string{"ca:acme", "signingAuthority:nowhere"} }, ""},
		{"missing store, authenticity logged", func(s *trustpolicy.TrustPolicy) {
			s.TrustStores, s.SignatureVerification.VerificationLevel = []string{"ca:nowhere"}, "audit"
		}, ""},
		{"missing store of another repository", func(s *trustpolicy.TrustPolicy) {
			s.TrustStores, s.RegistryScopes = []string{"ca:nowhere"}, []string{"registry.example/other"}
		}, ""},
		{"store for timestamps alone", func(s *trustpolicy.TrustPolicy) { s.TrustStores = []string{"tsa:acme"} }, "no trust store of type ca"},
		{"skip", func(s *trustpolicy.TrustPolicy) {
			s.SignatureVerification.VerificationLevel, s.TrustStores, s.TrustedIdentities = "skip", nil, nil
		}, ""},
	} {
		trust, err := LoadTrust(TrustOptions{NotationDir: notationDir(t, signed.PolicyJSON(t, signed.Statement(c.change)), root)})
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		err = trust.Check(ref)
		if (err != nil) != (c.want != "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.name, err, c.want)
		}
	}
}

func TestUncoveredRepositoryIsExplainedScopeByScope(t *testing.T) {
	for scope, want := range map[string]string{
		"registry.example/Acme/App":        "", // not well-formed, the policy is refused
		"Registry.example/acme/app":        "upper and lower case",
		"registry.example:5000/acme/app":   "another port",
		"other.example/acme/app":           "on another registry",
		"registry.example/acme":            "above it",
		"registry.example/acme/app/nested": "below it",
		"registry.example/acme/tool":       "another repository of this registry",
		"other.example/tool":               "another registry and repository",
	} {
		policy := signed.PolicyJSON(t, signed.Statement(func(s *trustpolicy.TrustPolicy) { s.RegistryScopes = []string{scope} }))
		trust, err := LoadTrust(TrustOptions{Policy: policy, NotationDir: t.TempDir()})
		if (err != nil) != (want == "") {
			t.Errorf("%s: %v", scope, err)
		}
		if err != nil {
			continue
		}
		_, err = trust.statementFor(registry.Reference{Registry: "registry.example", Repository: "acme/app"})
		var uncovered *uncoveredError
		if !errors.As(err, &uncovered) || len(uncovered.scopes) != 1 || !strings.Contains(uncovered.scopes[0].Reason, want) {
			t.Errorf("%s: error %v, want a scope that %s", scope, err, want)
		}
	}
}

func TestStatementSaysWhyItApplies(t *testing.T) {
	trust, err := LoadTrust(TrustOptions{NotationDir: t.TempDir(), Policy: signed.PolicyJSON(t,
		signed.Statement(func(s *trustpolicy.TrustPolicy) {
			s.Name, s.RegistryScopes = "app", []string{"registry.example/acme/app"}
		}),
		signed.Statement(func(s *trustpolicy.TrustPolicy) { s.Name = "others" }),
	)})
	if err != nil {
		t.Fatal(err)
	}
	for repository, want := range map[string][2]string{
		"acme/app":  {"app", "name the repository"},
		"acme/tool": {"others", "covers all others"},
	} {
		s, err := trust.statementFor(registry.Reference{Registry: "registry.example", Repository: repository})
		if err != nil {
			t.Errorf("%s: %v", repository, err)
		} else if s.policy.Name != want[0] || !strings.Contains(s.reason, want[1]) {
			t.Errorf("%s: statement %q because %s", repository, s.policy.Name, s.reason)
		}
	}
}

func TestTimestampRootKeepsSignaturesOfExpiredCertificates(t *testing.T) {
	w := newVerifyWorld(t)
	wasValid := time.Now().Add(-15 * time.Hour)
	tsa := pki.NewTimestampAuthority(t, "stamps", wasValid)
	expired := pki.New(t, "expired", w.Intermediate, pki.AsExpired)
	w.Sign(expired, w.Image("stamped"), signed.How{At: wasValid, Stamp: &tsa})
	w.Sign(expired, w.Image("not-stamped"), signed.How{At: wasValid})
	w.Sign(w.Good, w.Image("needs-none"), signed.How{})
	for root, want := range map[string]string{
		"":                           "needs-none",
		pki.PemOf(tsa.Signer.Issuer): "needs-none stamped",
	} {
		trust, err := LoadTrust(TrustOptions{Certificates: pki.PemOf(w.Root), TimestampRoot: root})
		if err != nil {
			t.Fatal(err)
		}
		v, err := New(trust, w.clients, Options{MaxSignatures: 100, Concurrency: 1})
		if err != nil {
			t.Fatal(err)
		}
		var passed []string
		for _, tag := range []string{"needs-none", "not-stamped", "stamped"} {
			if _, err := v.Verify(t.Context(), w.target(tag)); err == nil {
				passed = append(passed, tag)
			}
		}
		if got := strings.Join(passed, " "); got != want {
			t.Errorf("timestamp root set: %t; verified: %s, want %s", root != "", got, want)
		}
	}
}

// FuzzTrustPolicy holds that a policy is accepted if and only if notation accepts
// it, as the same policy, but for what follows its JSON, which is refused here.
// Then the same statement applies to an artifact, and no store is outside of the
// trust store's directory.
func FuzzTrustPolicy(f *testing.F) {
	good := signed.PolicyJSON(f, signed.Statement(func(*trustpolicy.TrustPolicy) {}))
	for _, seed := range []string{
		good, good + "{}", "", "null", "{}", "[]", `{"version":"1.0","trustPolicies":[]}`, `{"version":"2.0"}`, good[:len(good)/2],
		strings.ReplaceAll(good, "strict", "audit"), strings.ReplaceAll(good, "ca:", "ca:../"), strings.ReplaceAll(good, `"version"`, `"Version"`),
		`{"version":"1.0","trustPolicies":[{"name":"a","registryScopes":["*"],"signatureVerification":{"level":"skip"}}]}`,
		`{"version":"1.0","trustPolicies":[{"name":"a","registryScopes":["registry.example/acme/app"],"signatureVerification":{"level":"strict","override":{"revocation":"log"},"verifyTimestamp":"afterCertExpiry"},"trustStores":["ca:x","tsa:y"],"trustedIdentities":["x509.subject: C=DE, ST=Berlin, O=acme"]},
		  {"name":"b","registryScopes":["*"],"signatureVerification":{"level":"permissive"},"trustStores":["signingAuthority:x"],"trustedIdentities":["*"],"unknown":1}]}`,
	} {
		f.Add([]byte(seed), "registry.example/acme/app:v1")
	}
	before := dir.UserConfigDir
	f.Cleanup(func() { dir.UserConfigDir = before })
	dir.UserConfigDir = f.TempDir() // notation's own code reads it there
	file := filepath.Join(dir.UserConfigDir, dir.PathTrustPolicy)
	f.Fuzz(func(t *testing.T, content []byte, reference string) {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		policy, warnings, err := parsePolicy(content)
		want, wrong := trustpolicy.LoadDocument()
		if wrong == nil {
			wrong = want.Validate()
		}
		if err != nil {
			if wrong == nil && json.Valid(content) {
				t.Errorf("notation accepts %s, error %v", content, err)
			}
			return
		}
		if wrong != nil || !reflect.DeepEqual(policy, want) {
			t.Fatalf("%s is read as %+v; notation reads %+v, %v", content, policy, want, wrong)
		}
		if len(warnings) > 1 {
			t.Errorf("warnings %q", warnings)
		}
		for _, statement := range policy.TrustPolicies {
			for _, store := range statement.TrustStores {
				if kind, name, found := strings.Cut(store, ":"); !found || !filepath.IsLocal(name) || filepath.Base(name) != name || filepath.Base(kind) != kind {
					t.Errorf("a store %q", store)
				}
			}
		}
		ref, err := registry.ParseReference(reference)
		if err != nil {
			return
		}
		got, err := (&Trust{policy: policy}).statementFor(ref)
		applicable, none := want.GetApplicableTrustPolicy(ref.Registry + "/" + ref.Repository + "@sha256:" + strings.Repeat("0", 64))
		if (err == nil) != (none == nil) || err == nil && !reflect.DeepEqual(got.policy, applicable) {
			t.Errorf("%+v applies to %s, %v; for notation %+v, %v", got, ref, err, applicable, none)
		}
	})
}
