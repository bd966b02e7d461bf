// SPDX-License-Identifier: Apache-2.0

package pkcs11_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"strings"
	"testing"

	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

// emptyToken is a module with a token without keys.
func emptyToken(t *testing.T) (*pkcs11.Module, *testenv.Token) {
	t.Helper()
	hsm := testenv.Start(t, testenv.NewSoftHSM)
	token, err := hsm.AddToken("new")
	if err != nil {
		t.Fatal(err)
	}
	return load(t, hsm.Module, hsm.Env()...), token
}

func writable(t *testing.T, m *pkcs11.Module, token *testenv.Token) *pkcs11.Session {
	t.Helper()
	return openSession(t, m, "pkcs11:token="+token.Label, pkcs11.SessionOptions{PIN: pin(t, token.PIN), Write: true})
}

// describe names a key as generate's types do.
func describe(public crypto.PublicKey) string {
	switch key := public.(type) {
	case *rsa.PublicKey:
		return map[int]string{2048: "rsa:2048", 3072: "rsa:3072", 4096: "rsa:4096"}[key.N.BitLen()]
	case *ecdsa.PublicKey:
		return map[elliptic.Curve]string{elliptic.P256(): "ec:p256", elliptic.P384(): "ec:p384", elliptic.P521(): "ec:p521"}[key.Curve]
	}
	return ""
}

func TestGeneratedKeysSign(t *testing.T) {
	m, token := emptyToken(t)
	s := writable(t, m, token)
	for _, kind := range pkcs11.GeneratedTypes() {
		if kind == "rsa:3072" || kind == "rsa:4096" {
			continue // as rsa:2048, but they take seconds
		}
		t.Run(kind, func(t *testing.T) {
			made, err := s.Generate(parse(t, "pkcs11:object=my%20"+kind+";id=%01"+kind[:1]+kind[4:]), kind)
			if err != nil {
				t.Fatal(err)
			}
			if describe(made.Public) != kind || len(made.Warnings) > 0 {
				t.Errorf("a key %T %s, warnings %q", made.Public, describe(made.Public), made.Warnings)
			}
			k, err := s.Key(t.Context(), made.URI, pkcs11.KeyOptions{})
			if err != nil {
				t.Fatal(err)
			}
			defer k.Close()
			if !made.Public.(interface{ Equal(crypto.PublicKey) bool }).Equal(k.Public()) {
				t.Error("the URI selects another key")
			}
			if _, err := k.SignMessage(nil, []byte("message"), options(made.Public, crypto.SHA256)); err != nil {
				t.Error(err)
			}
		})
	}
}

// OpenSC's tool says what the token made.
func TestGeneratedKeyMaySignAndNothingElse(t *testing.T) {
	m, token := emptyToken(t)
	for _, kind := range []string{"rsa:2048", "ec:p256"} {
		s, err := mustToken(t, m, "pkcs11:token=new").Open(t.Context(), pkcs11.SessionOptions{PIN: pin(t, token.PIN), Write: true})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Generate(parse(t, "pkcs11:object="+kind), kind); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	inventory, err := token.Inventory()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Usage:      sign\n", "Usage:      verify\n", "sensitive, always sensitive, never extractable, local"} {
		if n := strings.Count(inventory, want); n != 2 {
			t.Errorf("%d of 2 keys have %q:\n%s", n, want, inventory)
		}
	}
}

func mustToken(t *testing.T, m *pkcs11.Module, uri string) *pkcs11.Token {
	t.Helper()
	token, err := m.Token(parse(t, uri))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestGenerateOverwritesNothing(t *testing.T) {
	m, token := standard(t)
	s := writable(t, m, token)
	for _, uri := range []string{"pkcs11:object=EC-256", "pkcs11:object=EC-256;id=%77", "pkcs11:object=new;id=%04"} {
		_, err := s.Generate(parse(t, uri), "ec:p256")
		if !pkcs11.IsKind(err, pkcs11.KindExists) || !strings.HasSuffix(err.Error(), ": pkcs11:token=testenv;object=EC-256") {
			t.Errorf("%s: error %v", uri, err)
		}
	}
	if list := keys(t, s, "pkcs11:"); len(list) != len(token.Keys) {
		t.Errorf("%d keys, there were %d", len(list), len(token.Keys))
	}
}

func TestGenerateRefusesWhatHasNoNameOrType(t *testing.T) {
	m, token := emptyToken(t)
	s := writable(t, m, token)
	for name, test := range map[string]struct {
		uri, keyType string
		kind         pkcs11.Kind
		wants        string
	}{
		"no label":      {"pkcs11:id=%01", "ec:p256", pkcs11.KindURI, "object=LABEL"},
		"a certificate": {"pkcs11:object=x;type=cert", "ec:p256", pkcs11.KindURI, "type=cert"},
		"another curve": {"pkcs11:object=x", "ec:p224", pkcs11.KindConfig, "ec:p256, ec:p384"},
		"a short key":   {"pkcs11:object=x", "rsa:1024", pkcs11.KindConfig, "rsa:2048"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := s.Generate(parse(t, test.uri), test.keyType); !pkcs11.IsKind(err, test.kind) || !strings.Contains(err.Error(), test.wants) {
				t.Errorf("error %v", err)
			}
		})
	}
}
