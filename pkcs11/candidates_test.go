// SPDX-License-Identifier: Apache-2.0

//go:build linux

package pkcs11_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/x509"
	"strings"
	"testing"

	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
	"github.com/notation-pkcs11/notation-pkcs11/testenv"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/faults"
)

// succession is a token on which a key took the place of a former one, whose
// certificate stayed. The module hides public keys, as where a private key was
// imported alone; SoftHSM's EC private keys show no point.
type succession struct {
	*quirky
	key, former  *testenv.Key
	own, formers []*x509.Certificate
}

func newSuccession(t *testing.T, kind testenv.KeyType, rules ...string) *succession {
	t.Helper()
	hsm := testenv.Start(t, testenv.NewSoftHSM)
	token, err := hsm.AddToken("T")
	if err != nil {
		t.Fatal(err)
	}
	s := &succession{}
	pki, err := testenv.NewPKI()
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []struct {
		key   **testenv.Key
		chain *[]*x509.Certificate
		label string
	}{{&s.key, &s.own, "signing"}, {&s.former, &s.formers, "former"}} {
		if *k.key, err = token.Generate(kind, k.label); err != nil {
			t.Fatal(err)
		}
		if *k.chain, err = pki.Chain((*k.key).Public); err != nil {
			t.Fatal(err)
		}
	}
	m, err := faults.New(t.TempDir(), hsm.Module, rules...)
	if err != nil {
		t.Fatal(err)
	}
	s.quirky = &quirky{Module: m, token: token}
	t.Cleanup(func() { s.checkClosed(t) })
	s.module = load(t, m.Path, append(hsm.Env(), m.Env()...)...)
	return s
}

// store stores a certificate on the token.
func (s *succession) store(t *testing.T, cert *x509.Certificate, label string, id ...byte) {
	t.Helper()
	if err := s.token.ImportCertificate(cert, label, id); err != nil {
		t.Fatal(err)
	}
}

func (s *succession) options(t *testing.T, certificates ...*x509.Certificate) pkcs11.KeyOptions {
	return pkcs11.KeyOptions{PIN: pin(t, s.token.PIN), Certificates: certificates}
}

const hidePublic = "hide public"

// Whatever was left behind beside a key, its own public half is found: with at
// most one signature, and with none where the token leaves no doubt.
func TestPublicHalfIsTheKeysOwnWhateverWasLeftBehind(t *testing.T) {
	for name, test := range map[string]struct {
		kind       testenv.KeyType
		rules      []string
		prepare    func(*testing.T, *succession)
		elsewhere  bool // the key's certificate is given from elsewhere
		signatures int
	}{
		"nothing": {testenv.EC256, nil, func(*testing.T, *succession) {}, false, 0},
		"the former pair has the same id": {testenv.EC256, nil, func(t *testing.T, s *succession) {
			if err := s.former.SetID(s.key.ID); err != nil {
				t.Fatal(err)
			}
		}, false, 1},
		"the former certificate has the id and the label": {testenv.EC256, nil, func(t *testing.T, s *succession) {
			s.store(t, s.formers[0], s.key.Label, s.key.ID...)
		}, false, 1},
		"the former certificate alone, and the own one from elsewhere": {testenv.EC256, []string{hidePublic}, func(t *testing.T, s *succession) {
			s.store(t, s.formers[0], s.key.Label, s.key.ID...)
		}, true, 1},
		"the former certificate, and the own one under another name": {testenv.EC256, []string{hidePublic}, func(t *testing.T, s *succession) {
			s.store(t, s.formers[0], s.key.Label, s.key.ID...)
			s.store(t, s.own[0], "renewed", 0x77)
		}, false, 1},
		"the own certificate, and its authorities under its id": {testenv.EC256, []string{hidePublic}, func(t *testing.T, s *succession) {
			for _, cert := range s.own {
				s.store(t, cert, s.key.Label, s.key.ID...)
			}
		}, false, 1},
		"an RSA key without an exponent": {testenv.RSA2048, []string{hidePublic, "hide-attribute private 0x122"}, func(t *testing.T, s *succession) {
			s.store(t, s.formers[0], s.key.Label, s.key.ID...)
			s.store(t, s.own[0], "renewed", 0x77)
		}, false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSuccession(t, test.kind, test.rules...)
			test.prepare(t, s)
			var elsewhere []*x509.Certificate
			if test.elsewhere {
				elsewhere = s.own
			}
			k := mustOpenKey(t, s.module, "pkcs11:token=T;object=signing", s.options(t, elsewhere...))
			if !s.key.Public.(interface{ Equal(crypto.PublicKey) bool }).Equal(k.Public()) {
				t.Error("the public half is another key's")
			}
			if n := s.Calls("C_SignInit"); n != test.signatures {
				t.Errorf("%d signatures to find out, want %d", n, test.signatures)
			}
			opts := options(k.Public(), crypto.SHA256)
			signature, err := k.SignMessage(nil, []byte("message"), opts)
			if err != nil {
				t.Fatal(err)
			}
			checkSignature(t, s.key.Public, crypto.SHA256, []byte("message"), signature)
		})
	}
}

func TestWhatCanNotBeTheKeysOwnIsNamed(t *testing.T) {
	s := newSuccession(t, testenv.EC256, hidePublic)
	s.store(t, s.formers[0], s.key.Label, s.key.ID...)
	_, err := openKey(t, s.module, "pkcs11:token=T;object=signing", s.options(t))
	if !pkcs11.IsKind(err, pkcs11.KindPublicKey) || !strings.Contains(err.Error(), testenv.LeafName) {
		t.Errorf("error %v", err)
	}
}

// The only public key on a token need not be that of a key without one.
func TestPublicKeyOfAnotherNameIsNoEvidence(t *testing.T) {
	s := newSuccession(t, testenv.EC256, "hide-attribute public 0x102", "hide-attribute public 0x3")
	list := keys(t, openSession(t, s.module, "pkcs11:token=T", pkcs11.SessionOptions{PIN: pin(t, s.token.PIN)}), "pkcs11:")
	for _, key := range list {
		label, _ := key.URI.Value(pkcs11.AttrObject)
		if key.Problem != nil || !s.token.Key(label).Public.(*ecdsa.PublicKey).Equal(key.Public) {
			t.Errorf("%s: problem %v", key.URI, key.Problem)
		}
		k := mustOpenKey(t, s.module, key.URI.String(), s.options(t))
		if !s.token.Key(label).Public.(*ecdsa.PublicKey).Equal(k.Public()) {
			t.Errorf("%s has another's public half", key.URI)
		}
	}
}

// A list of keys says nothing of a key on the word of a certificate.
func TestListOfKeysDoesNotGuess(t *testing.T) {
	s := newSuccession(t, testenv.EC256, hidePublic)
	s.store(t, s.formers[0], s.key.Label, s.key.ID...)
	session := openSession(t, s.module, "pkcs11:token=T", pkcs11.SessionOptions{PIN: pin(t, s.token.PIN)})
	for _, certificates := range [][]*x509.Certificate{nil, s.own} {
		list, err := session.Keys(parse(t, "pkcs11:object=signing"), certificates)
		if err != nil || len(list) != 1 {
			t.Fatalf("%v, %v", list, err)
		}
		switch key := list[0]; {
		case certificates == nil && (key.Public != nil || key.Problem == nil || key.Problem.Kind != pkcs11.KindPublicKey):
			t.Errorf("the former certificate alone: public half %v, problem %v", key.Public, key.Problem)
		case certificates != nil && (key.Problem != nil || !s.key.Public.(*ecdsa.PublicKey).Equal(key.Public)):
			t.Errorf("with the key's own from elsewhere: public half %v, problem %v", key.Public, key.Problem)
		}
	}
	if n := s.Calls("C_Login"); n != 1 {
		t.Errorf("%d logins", n)
	}
}

func TestImportStoresNoFormerCertificate(t *testing.T) {
	s := newSuccession(t, testenv.EC256, hidePublic)
	session := openSession(t, s.module, "pkcs11:token=T", pkcs11.SessionOptions{PIN: pin(t, s.token.PIN), Write: true})
	for _, certs := range [][]*x509.Certificate{s.formers, s.own} {
		k, err := session.Key(t.Context(), parse(t, "pkcs11:object=signing"), pkcs11.KeyOptions{Certificates: certs})
		if err != nil {
			t.Fatal(err)
		}
		defer k.Close()
		_, err = session.Import(k, certs)
		if own := certs[0].Equal(s.own[0]); own != (err == nil) {
			t.Errorf("the key's own: %t, error %v", own, err)
		}
		found, err := session.Certificates()
		if err != nil || (len(found) > 0) != certs[0].Equal(s.own[0]) {
			t.Errorf("%d certificates are on the token, %v", len(found), err)
		}
	}
}

// Without a login one public key is seen, or a choice: of a certificate that has
// the key's name alone, others on the token can be the key's own.
func TestPublicHalfNeedsALoginWhereThereIsAChoice(t *testing.T) {
	nothing := func(*testing.T, *succession) {}
	for name, test := range map[string]struct {
		rules   []string
		prepare func(*testing.T, *succession)
		logins  int
	}{
		"one public key": {nil, nothing, 0},
		"the public key and the former certificate of its name": {nil, func(t *testing.T, s *succession) {
			s.store(t, s.formers[0], s.key.Label, s.key.ID...)
		}, 1},
		"one certificate and its authorities": {[]string{hidePublic}, func(t *testing.T, s *succession) {
			s.store(t, s.own[0], s.key.Label, s.key.ID...)
			for i, authority := range s.own[1:] {
				s.store(t, authority, "authority", byte(0x80+i))
			}
		}, 0},
		"the former certificate of its name, and its own under another": {[]string{hidePublic}, func(t *testing.T, s *succession) {
			s.store(t, s.formers[0], s.key.Label, s.key.ID...)
			s.store(t, s.own[0], "renewed", 0x77)
		}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSuccession(t, testenv.EC256, test.rules...)
			test.prepare(t, s)
			token, err := s.module.Token(parse(t, "pkcs11:token=T"))
			if err != nil {
				t.Fatal(err)
			}
			public, err := token.PublicKey(t.Context(), parse(t, "pkcs11:object=signing"), s.options(t))
			if err != nil || !s.key.Public.(*ecdsa.PublicKey).Equal(public) {
				t.Errorf("public half %v, %v", public, err)
			}
			if n := s.Calls("C_Login"); n != test.logins {
				t.Errorf("%d logins, want %d", n, test.logins)
			}
		})
	}
}

func TestKeysOfTheSameNameAreSaidToBe(t *testing.T) {
	hsm := testenv.Start(t, testenv.NewSoftHSM)
	token, err := hsm.AddToken("twins")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		key, err := token.Generate(testenv.EC256, "twin")
		if err != nil {
			t.Fatal(err)
		}
		if err := key.SetID([]byte{9}); err != nil {
			t.Fatal(err)
		}
	}
	m := load(t, hsm.Module, token.Env()...)
	_, err = openKey(t, m, "pkcs11:token=twins;object=twin", pkcs11.KeyOptions{PIN: pin(t, token.PIN)})
	if !pkcs11.IsKind(err, pkcs11.KindSameName) || strings.Count(err.Error(), "object=twin") != 1 {
		t.Errorf("error %v", err)
	}
	list := keys(t, openSession(t, m, "pkcs11:token=twins", pkcs11.SessionOptions{PIN: pin(t, token.PIN)}), "pkcs11:")
	if len(list) != 2 || list[0].Public.(*ecdsa.PublicKey).Equal(list[1].Public) {
		t.Fatalf("keys %v", list)
	}
	for _, key := range list {
		if key.Problem == nil || key.Problem.Kind != pkcs11.KindSameName {
			t.Errorf("problem %v", key.Problem)
		}
	}
}
