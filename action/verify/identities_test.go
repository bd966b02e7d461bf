// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"path/filepath"
	"strings"
	"testing"

	"github.com/notaryproject/notation-go/verifier/trustpolicy"
	"oras.land/oras-go/v2/registry"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/pki"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/signed"
)

var app = registry.Reference{Registry: "registry.example", Repository: "app"}

func TestIdentitiesThatMatchNobody(t *testing.T) {
	root := pki.New(t, "root", nil, pki.AsAuthority)
	store := t.TempDir()
	testenv.PutFile(t, filepath.Join(store, "x509", "ca", "acme", "root.pem"), pki.PemOf(root))
	for _, identity := range []string{"X509.subject: C=US, ST=WA, O=Example", "x509.subject : C=US, ST=WA, O=Example", "x509.issuer: C=US, ST=WA, O=Example", "email:a@example.com", "C=US, ST=WA, O=Example"} {
		_, err := LoadTrust(TrustOptions{Certificates: pki.PemOf(root), Identities: []string{"x509.subject: C=US, ST=WA, O=Other", identity}})
		if err == nil || !strings.Contains(err.Error(), "begins with x509.subject:") || strings.Contains(err.Error(), "statement") || strings.Contains(err.Error(), "separator") {
			t.Errorf("%s: %v", identity, err)
		}
		if !strings.Contains(identity, ":") {
			continue // notation refuses such a policy itself
		}
		// notation takes such a policy. It is an error where it says nothing else.
		alone := signed.Statement(func(s *trustpolicy.TrustPolicy) { s.TrustedIdentities = []string{identity} })
		trust, err := LoadTrust(TrustOptions{Policy: signed.PolicyJSON(t, alone), Store: store})
		if err != nil {
			t.Fatal(err)
		}
		if err := trust.Check(app); err == nil || !strings.Contains(err.Error(), "begins with x509.subject:") {
			t.Errorf("%s alone: %v", identity, err)
		}
		among := signed.Statement(func(s *trustpolicy.TrustPolicy) {
			s.TrustedIdentities = []string{identity, "x509.subject: C=US, ST=WA, O=Other"}
		})
		trust, err = LoadTrust(TrustOptions{Policy: signed.PolicyJSON(t, among), Store: store})
		if err != nil || trust.Check(app) != nil || !strings.Contains(strings.Join(trust.Warnings, ""), "begins with x509.subject:") {
			t.Errorf("%s among others: %v, %v", identity, err, trust.Warnings)
		}
	}
}

func TestSubjectThatNoIdentityCanName(t *testing.T) {
	root := pki.New(t, "root", nil, pki.AsAuthority)
	subject := func(name pkix.Name) *x509.Certificate {
		return pki.New(t, "leaf", root, func(c *x509.Certificate) { pki.AsSigner(c); c.Subject = name }).Cert
	}
	good := pkix.Name{Country: []string{"US"}, Province: []string{"WA"}, Organization: []string{"Example"}}
	twice, email, placeless := good, good, good
	twice.OrganizationalUnit = []string{"a", "b"}
	email.ExtraNames = []pkix.AttributeTypeAndValue{{Type: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 1}, Value: "a@example.com"}}
	email.ExtraNames = append(email.ExtraNames, good.ToRDNSequence()[0][0])
	placeless.Province = nil
	named, err := LoadTrust(TrustOptions{Certificates: pki.PemOf(root), Identities: []string{"x509.subject: C=US, ST=WA, O=Example"}})
	if err != nil {
		t.Fatal(err)
	}
	everyone, err := LoadTrust(TrustOptions{Certificates: pki.PemOf(root)})
	if err != nil {
		t.Fatal(err)
	}
	if err := named.CheckSigner(app, subject(good)); err != nil {
		t.Error(err)
	}
	for name, bad := range map[string]pkix.Name{"two OU": twice, "emailAddress": email, "no ST": placeless} {
		leaf := subject(bad)
		if err := named.CheckSigner(app, leaf); err == nil || !strings.Contains(err.Error(), "no trusted identity can name") || strings.Contains(err.Error(), "statement") {
			t.Errorf("%s: %v", name, err)
		}
		if err := everyone.CheckSigner(app, leaf); err != nil {
			t.Errorf("%s, and *: %v", name, err)
		}
	}
}

func TestAddressThatNoScopeCanName(t *testing.T) {
	trust, err := LoadTrust(TrustOptions{Certificates: pki.PemOf(pki.New(t, "root", nil, pki.AsAuthority))})
	if err != nil {
		t.Fatal(err)
	}
	if err := trust.Check(registry.Reference{Registry: "[::1]:5000", Repository: "app"}); err == nil || !strings.Contains(err.Error(), "IPv6") {
		t.Errorf("error %v", err)
	}
}

// What notation-go makes of identities and statements is not what the user wrote.
func TestUnmatchedSignerInTheUsersWords(t *testing.T) {
	root := pki.New(t, "root", nil, pki.AsAuthority)
	trust, err := LoadTrust(TrustOptions{Certificates: pki.PemOf(root), Identities: []string{"x509.subject: C=DE, ST=Berlin, O=Other"}})
	if err != nil {
		t.Fatal(err)
	}
	s, err := trust.statementFor(app)
	if err != nil {
		t.Fatal(err)
	}
	notations := `signing certificate from the digital signature does not match the X.509 trusted identities [map["C":"DE" "O":"Other" "ST":"Berlin"]] defined in the trust policy "inputs"`
	got := trust.inOwnWords(s.policy, errorText(notations)).Error()
	if want := `signing certificate from the digital signature does not match the X.509 trusted identities "x509.subject: C=DE, ST=Berlin, O=Other"`; got != want {
		t.Errorf("%s", got)
	}
}

type errorText string

func (e errorText) Error() string { return string(e) }
