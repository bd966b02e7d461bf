// SPDX-License-Identifier: Apache-2.0

package pkcs11_test

import (
	"crypto/x509"
	"regexp"
	"slices"
	"testing"

	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

func TestImportedCertificatesBelongToTheKey(t *testing.T) {
	m, token := standard(t)
	pki, err := testenv.NewPKI()
	if err != nil {
		t.Fatal(err)
	}
	key := token.Key("EC-384")
	chain, err := pki.Chain(key.Public)
	if err != nil {
		t.Fatal(err)
	}
	s := writable(t, m, token)
	k, err := s.Key(t.Context(), parse(t, key.URI()), pkcs11.KeyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	for round, want := range []bool{true, false} { // the second time all are there
		stored, err := s.Import(k, chain)
		if err != nil || !slices.Equal(stored, []bool{want, want, want}) {
			t.Errorf("round %d: stored %v, %v", round, stored, err)
		}
	}
	certificates, err := s.Certificates()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range chain {
		if !slices.ContainsFunc(certificates, c.Equal) {
			t.Errorf("the certificate %s is not on the token", c.Subject)
		}
	}
	if len(certificates) != len(chain) {
		t.Errorf("%d certificates", len(certificates))
	}

	inventory, err := token.Inventory()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`EC-384\n(  .*\n)*?  ID: +05\n`, regexp.QuoteMeta(testenv.IntermediateName) + `\n`, regexp.QuoteMeta(testenv.RootName) + `\n`} {
		if !regexp.MustCompile(`(?m)^Certificate Object.*\n  label: +` + want).MatchString(inventory) {
			t.Errorf("no certificate is stored as %s:\n%s", want, inventory)
		}
	}
}

func TestImportRefusesCertificatesOfOtherKeys(t *testing.T) {
	m, token := standard(t)
	pki, err := testenv.NewPKI()
	if err != nil {
		t.Fatal(err)
	}
	chain, err := pki.Chain(token.Key("EC-256").Public)
	if err != nil {
		t.Fatal(err)
	}
	s := writable(t, m, token)
	k, err := s.Key(t.Context(), parse(t, "pkcs11:object=EC-384"), pkcs11.KeyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	for _, certificates := range [][]*x509.Certificate{chain, chain[1:], nil} {
		if _, err := s.Import(k, certificates); !pkcs11.IsKind(err, pkcs11.KindConfig) {
			t.Errorf("error %v", err)
		}
	}
	if certificates, err := s.Certificates(); err != nil || len(certificates) > 0 {
		t.Errorf("%d certificates were stored, %v", len(certificates), err)
	}
}

// Every kind of token takes certificates, and a session more for it beside the
// key's.
func TestEveryTokenTakesCertificates(t *testing.T) {
	pki, err := testenv.NewPKI()
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range testenv.TokenKinds {
		t.Run(kind.Name, func(t *testing.T) {
			token := testenv.Start(t, kind.New)
			m := load(t, token.Store.Module, token.Env()...)
			s := writable(t, m, token.Token)
			key := token.Key("EC-256")
			chain, err := pki.Chain(key.Public)
			if err != nil {
				t.Fatal(err)
			}
			k, err := s.Key(t.Context(), parse(t, key.URI()), pkcs11.KeyOptions{})
			if err != nil {
				t.Fatal(err)
			}
			defer k.Close()
			if stored, err := s.Import(k, chain); err != nil || slices.Contains(stored, false) {
				t.Errorf("stored %v, %v", stored, err)
			}
			certificates, err := k.Certificates()
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range chain {
				if !slices.ContainsFunc(certificates, c.Equal) {
					t.Errorf("the certificate %s is not there", c.Subject)
				}
			}
		})
	}
}
