// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	contract "github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

func TestAssessmentSaysWhyNotInOneLine(t *testing.T) {
	public := testKeys[contract.KeySpecEC256]().Public()
	chain := newChain(t, public)
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	variant := func(name string) []*x509.Certificate {
		n := slices.IndexFunc(testenv.Broken, func(v testenv.Variant) bool { return v.Name == name })
		bundle, err := testenv.Broken[n].Bundle(testPKI(), public)
		if err != nil {
			t.Fatal(err)
		}
		return bundle
	}
	problem := func(k pkcs11.Kind) *pkcs11.Error { return &pkcs11.Error{Kind: k, Message: "it failed\n"} }
	for name, test := range map[string]struct {
		key         pkcs11.KeyInfo
		onToken     []*x509.Certificate
		wants       string // "": can sign
		certificate bool
	}{
		"a good key":          {pkcs11.KeyInfo{Public: public}, chain, "", true},
		"no certificate":      {pkcs11.KeyInfo{Public: public}, chain[1:], "no certificate", false},
		"expired":             {pkcs11.KeyInfo{Public: public}, variant("expired"), "expired on 2", true},
		"not yet valid":       {pkcs11.KeyInfo{Public: public}, variant("not yet valid"), "not valid before 2", true},
		"no root":             {pkcs11.KeyInfo{Public: public}, chain[:2], "root", true},
		"CKA_SIGN is false":   {pkcs11.KeyInfo{Public: public, Problem: problem(pkcs11.KindNotPermitted)}, chain, "CKA_SIGN is false", true},
		"restricted":          {pkcs11.KeyInfo{Public: public, Mechanisms: []uint{1}}, chain, "CKA_ALLOWED_MECHANISMS", true},
		"short":               {pkcs11.KeyInfo{Public: crypto.PublicKey(&short.PublicKey)}, nil, "RSA-1024, which notation can't sign with", false},
		"Ed25519":             {pkcs11.KeyInfo{Type: "Ed25519", Problem: problem(pkcs11.KindKey)}, nil, "Ed25519, which notation can't sign with", false},
		"public half unknown": {pkcs11.KeyInfo{Problem: problem(pkcs11.KindPublicKey)}, nil, "public half", false},
		"something else":      {pkcs11.KeyInfo{Problem: problem(pkcs11.KindCall)}, nil, "it failed", false},
	} {
		t.Run(name, func(t *testing.T) {
			a := Assess(test.key, test.onToken, nil, time.Now())
			if (a.Problem == "") != (test.wants == "") || !strings.Contains(a.Problem, test.wants) || strings.Contains(a.Problem, "\n") {
				t.Errorf("problem %q", a.Problem)
			}
			if (a.Certificate != nil) != test.certificate {
				t.Errorf("certificate %v", a.Certificate)
			}
		})
	}
	if a := Assess(pkcs11.KeyInfo{Public: public}, nil, chain, time.Now()); a.Problem != "" {
		t.Errorf("with the chain from elsewhere: %q", a.Problem)
	}
}

// A certificate may end in the last hours of the year 9999, in the zone of twelve
// hours ago.
func TestLastOfAllTimesCanBeWritten(t *testing.T) {
	for _, end := range []time.Time{time.Now(), time.Date(9999, time.December, 31, 23, 0, 0, 0, time.FixedZone("", -12*60*60))} {
		text, err := json.Marshal(CertificateUse{NotAfter: utc(end)})
		var back CertificateUse
		if err != nil || json.Unmarshal(text, &back) != nil || !back.NotAfter.Equal(end) {
			t.Errorf("%v: %s, %v", end, text, err)
		}
	}
}

func TestRelatedCertificatesAreThoseOfTheKeysChain(t *testing.T) {
	public := testKeys[contract.KeySpecEC256]().Public()
	chain := newChain(t, public)
	stranger := newChain(t, testKeys[contract.KeySpecEC384]().Public())[0]
	related := Related(public, []*x509.Certificate{chain[2], stranger, chain[0], chain[1]})
	if !slices.Equal(related, chain) {
		t.Errorf("related: %v", related)
	}
	if related := Related(public, []*x509.Certificate{stranger, chain[1], chain[2]}); len(related) > 0 {
		t.Errorf("without the key's own: %v", related)
	}
}

func TestKeyAddArgumentsCarryTheSettings(t *testing.T) {
	t.Chdir("/")
	env := map[string]string{"NOTATION_PKCS11_MODULE": "/lib/env.so", "NOTATION_PKCS11_CERT_CHAIN": "chain.pem", "NOTATION_PKCS11_PIN": "1234"}
	getenv := func(name string) string { return env[name] }
	for uri, want := range map[string]string{
		"pkcs11:object=a": "--plugin-config module=/lib/env.so --plugin-config pin_source=file:/pin --plugin-config cert_chain=/chain.pem --plugin-config timeout=9s",
		"pkcs11:object=a?module-path=/m.so&pin-source=env:P":     "--plugin-config cert_chain=/chain.pem --plugin-config timeout=9s",
		"pkcs11:object=a?module-path=/m.so&pin-source=file:mine": "--plugin-config cert_chain=/chain.pem --plugin-config timeout=9s",
		"pkcs11:object=a?module-name=softhsm2":                   "--plugin-config pin_source=file:/pin --plugin-config cert_chain=/chain.pem --plugin-config timeout=9s",
	} {
		parsed, err := pkcs11.ParseURI(uri)
		if err != nil {
			t.Fatal(err)
		}
		arguments, err := KeyAddArguments(parsed, map[string]string{"pin_source": "file:pin", "timeout": "9s"}, getenv)
		id := strings.Replace(parsed.String(), "pin-source=file:mine", "pin-source=file:/mine", 1)
		if got := strings.Join(arguments, " "); err != nil || got != "key add --plugin pkcs11 --id "+id+" "+want {
			t.Errorf("%s: %v, %v", uri, got, err)
		}
	}
}
