// SPDX-License-Identifier: Apache-2.0

package pkcs11_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

// load loads the module of a token for one test, with the token's variables
// and more in the environment.
func load(t *testing.T, module string, env ...string) *pkcs11.Module {
	t.Helper()
	for _, variable := range env {
		name, value, _ := strings.Cut(variable, "=")
		t.Setenv(name, value)
	}
	m, err := pkcs11.Load(module, pkcs11.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// standard loads SoftHSM with the standard token.
func standard(t *testing.T) (*pkcs11.Module, *testenv.Token) {
	t.Helper()
	hsm := testenv.Start(t, testenv.NewSoftHSM)
	token, err := hsm.AddStandardToken()
	if err != nil {
		t.Fatal(err)
	}
	return load(t, hsm.Module, hsm.Env()...), token
}

// pin returns a PINFunc that fails the test when it is asked twice.
func pin(t *testing.T, secret string) pkcs11.PINFunc {
	asked := false
	return func(context.Context, pkcs11.TokenInfo) (pkcs11.PIN, error) {
		if asked {
			t.Error("the PIN was asked for twice")
		}
		asked = true
		return pkcs11.NewPIN([]byte(secret)), nil
	}
}

func noPIN(t *testing.T) pkcs11.PINFunc {
	return func(context.Context, pkcs11.TokenInfo) (pkcs11.PIN, error) {
		t.Error("the PIN was asked for")
		return pkcs11.PIN{}, &pkcs11.Error{Kind: pkcs11.KindNoPIN}
	}
}

func parse(t *testing.T, uri string) pkcs11.URI {
	t.Helper()
	u, err := pkcs11.ParseURI(uri)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func openKey(t *testing.T, m *pkcs11.Module, uri string, o pkcs11.KeyOptions) (*pkcs11.Key, error) {
	t.Helper()
	u := parse(t, uri)
	token, err := m.Token(u)
	if err != nil {
		return nil, err
	}
	k, err := token.Key(t.Context(), u, o)
	if err == nil {
		t.Cleanup(func() {
			if err := k.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	return k, err
}

func mustOpenKey(t *testing.T, m *pkcs11.Module, uri string, o pkcs11.KeyOptions) *pkcs11.Key {
	t.Helper()
	k, err := openKey(t, m, uri, o)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// options are signer options for a key with a hash.
func options(public crypto.PublicKey, hash crypto.Hash) crypto.SignerOpts {
	if _, ok := public.(*rsa.PublicKey); ok {
		return &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: hash}
	}
	return hash
}

func checkSignature(t *testing.T, public crypto.PublicKey, hash crypto.Hash, message, signature []byte) {
	t.Helper()
	h := hash.New()
	h.Write(message)
	switch key := public.(type) {
	case *rsa.PublicKey:
		if err := rsa.VerifyPSS(key, hash, h.Sum(nil), signature, &rsa.PSSOptions{SaltLength: hash.Size()}); err != nil {
			t.Error(err)
		}
	case *ecdsa.PublicKey:
		if !ecdsa.VerifyASN1(key, h.Sum(nil), signature) {
			t.Error("the ECDSA signature doesn't verify")
		}
	}
}

func TestEveryKeyTypeSignsWithEveryHash(t *testing.T) {
	m, token := standard(t)
	for _, key := range token.Keys {
		t.Run(key.Type.Name, func(t *testing.T) {
			k := mustOpenKey(t, m, key.URI(), pkcs11.KeyOptions{PIN: pin(t, token.PIN)})
			if !key.Public.(interface{ Equal(crypto.PublicKey) bool }).Equal(k.Public()) {
				t.Fatalf("another public key: %v", k.Public())
			}
			for _, hash := range []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512} {
				opts := options(k.Public(), hash)
				signature, err := k.SignMessage(nil, []byte("message"), opts)
				if err != nil {
					t.Fatal(err)
				}
				checkSignature(t, key.Public, hash, []byte("message"), signature)
				h := hash.New()
				h.Write([]byte("message"))
				if signature, err = k.Sign(nil, h.Sum(nil), opts); err != nil {
					t.Fatal(err)
				}
				checkSignature(t, key.Public, hash, []byte("message"), signature)
			}
		})
	}
}

func TestKeyIsASignerForTheStandardLibrary(t *testing.T) {
	m, token := standard(t)
	for label, algorithm := range map[string]x509.SignatureAlgorithm{"RSA-3072": x509.SHA384WithRSAPSS, "EC-521": x509.ECDSAWithSHA512} {
		k := mustOpenKey(t, m, "pkcs11:token=testenv;object="+label, pkcs11.KeyOptions{PIN: pin(t, token.PIN)})
		der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: label}, SignatureAlgorithm: algorithm}, k)
		if err != nil {
			t.Fatal(err)
		}
		request, err := x509.ParseCertificateRequest(der)
		if err != nil {
			t.Fatal(err)
		}
		if err := request.CheckSignature(); err != nil {
			t.Error(err)
		}
		k.Close()
	}
}

func TestSigningRefusesWhatItMustNotDo(t *testing.T) {
	m, token := standard(t)
	digest := make([]byte, 32)
	for _, test := range []struct {
		label string
		opts  crypto.SignerOpts
		wants string
	}{
		{"RSA-2048", crypto.SHA256, "never PKCS#1 v1.5"},
		{"RSA-2048", &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthAuto, Hash: crypto.SHA256}, "salt as long as the hash"},
		{"EC-256", crypto.SHA384, "not the length"},
		{"EC-256", crypto.SHA512_256, "the hash SHA-512/256 can't be used"},
		{"EC-256", nil, "no signer options"},
	} {
		k := mustOpenKey(t, m, "pkcs11:token=testenv;object="+test.label, pkcs11.KeyOptions{PIN: pin(t, token.PIN)})
		if _, err := k.Sign(nil, digest, test.opts); err == nil || !strings.Contains(err.Error(), test.wants) {
			t.Errorf("%s with %v: error %v, want %s", test.label, test.opts, err, test.wants)
		}
		k.Close()
	}
}

func TestSignaturesInParallel(t *testing.T) {
	m, token := standard(t)
	k := mustOpenKey(t, m, "pkcs11:token=testenv;object=EC-256", pkcs11.KeyOptions{PIN: pin(t, token.PIN), Sessions: 3})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 10 {
				if _, err := k.SignMessage(nil, []byte("message"), crypto.SHA256); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func TestClosedKeyDoesNotSign(t *testing.T) {
	m, token := standard(t)
	k := mustOpenKey(t, m, "pkcs11:token=testenv;object=EC-256", pkcs11.KeyOptions{PIN: pin(t, token.PIN)})
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := k.SignMessage(nil, []byte("message"), crypto.SHA256); !pkcs11.IsKind(err, pkcs11.KindClosed) {
		t.Errorf("error %v", err)
	}
	if err := k.Close(); err != nil {
		t.Errorf("closed twice: %v", err)
	}
}

func TestPublicKeyWithoutLogin(t *testing.T) {
	m, token := standard(t)
	for _, key := range token.Keys {
		u := parse(t, key.URI())
		tok, err := m.Token(u)
		if err != nil {
			t.Fatal(err)
		}
		public, err := tok.PublicKey(t.Context(), u, pkcs11.KeyOptions{PIN: noPIN(t)})
		if err != nil {
			t.Fatal(err)
		}
		if !key.Public.(interface{ Equal(crypto.PublicKey) bool }).Equal(public) {
			t.Errorf("%s: another public key", key.Label)
		}
	}
}

func TestURIMustSelectOneToken(t *testing.T) {
	hsm := testenv.Start(t, testenv.NewSoftHSM)
	var serials []string
	for _, label := range []string{"twin", "twin", "other token"} {
		token, err := hsm.AddToken(label)
		if err != nil {
			t.Fatal(err)
		}
		serials = append(serials, token.Serial)
	}
	m := load(t, hsm.Module, hsm.Env()...)
	_, err := m.Token(parse(t, "pkcs11:token=twin"))
	if !pkcs11.IsKind(err, pkcs11.KindTokens) || !strings.Contains(err.Error(), "serial="+serials[0]) || !strings.Contains(err.Error(), "serial="+serials[1]) {
		t.Errorf("several tokens: %v", err)
	}
	for _, uri := range []string{"pkcs11:token=twin;serial=" + serials[1], "pkcs11:serial=" + serials[1]} {
		if token, err := m.Token(parse(t, uri)); err != nil || token.Serial != serials[1] {
			t.Errorf("%s: %v", uri, err)
		}
	}
	if token, err := m.Token(parse(t, "pkcs11:token=other%20token;manufacturer=SoftHSM%20project;model=SoftHSM%20v2;library-version=2")); err != nil || token.Label != "other token" {
		t.Errorf("by several attributes: %v", err)
	}
	if _, err := m.Token(parse(t, "pkcs11:token=absent")); !pkcs11.IsKind(err, pkcs11.KindNoToken) || !strings.Contains(err.Error(), "token=other%20token") {
		t.Errorf("no token: %v", err)
	}
	for uri, near := range map[string]string{
		"pkcs11:token=other;object=k;id=%01":                                "pkcs11:token=other%20token;object=k;id=%01",
		"pkcs11:token=Other%20Token%20(UserPIN)":                            "pkcs11:token=other%20token",
		"pkcs11:token=renamed;serial=" + serials[1] + ";object=k":           "pkcs11:serial=" + serials[1] + ";object=k",
		"pkcs11:token=twins":                                                "", // two are as near
		"pkcs11:token=ot":                                                   "",
		"pkcs11:token=other%20token;serial=0;manufacturer=Else;object=only": "pkcs11:token=other%20token;object=only",
	} {
		todo := "Use " + near + " if you mean this token"
		if near == "" {
			todo = "Use one of these tokens in the key URI"
		}
		_, err := m.Token(parse(t, uri))
		var failed *pkcs11.Error
		if !errors.As(err, &failed) || failed.Kind != pkcs11.KindNoToken || failed.Todo != todo || !strings.Contains(err.Error(), "matches "+parse(t, uri).String()+"; there are pkcs11:") {
			t.Errorf("%s: %v, %+v, want %s", uri, err, failed, todo)
		}
	}
	if _, err := m.Token(parse(t, "pkcs11:token=twin;library-manufacturer=Else")); !pkcs11.IsKind(err, pkcs11.KindNoToken) || !strings.Contains(err.Error(), "library-manufacturer=SoftHSM") {
		t.Errorf("another library: %v", err)
	}
	all, err := m.Tokens()
	if err != nil {
		t.Fatal(err)
	}
	for _, token := range all {
		if !token.Has(pkcs11.FlagInitialized) {
			continue
		}
		if selected, err := m.Token(token.URI()); err != nil || selected.SlotID != token.SlotID {
			t.Errorf("%s doesn't select its token: %v", token.URI(), err)
		}
	}
}

// The same label and the same id: another URI can't help.
func TestKeysThatNoURITellsApart(t *testing.T) {
	hsm := testenv.Start(t, testenv.NewSoftHSM)
	token, err := hsm.AddToken("T")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		key, err := token.Generate(testenv.EC256, "same")
		if err == nil {
			err = key.SetID([]byte{0x78})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err = openKey(t, load(t, hsm.Module, hsm.Env()...), "pkcs11:token=T", pkcs11.KeyOptions{PIN: pin(t, token.PIN)})
	if !pkcs11.IsKind(err, pkcs11.KindSameName) || !strings.Contains(err.Error(), "pkcs11:token=T;object=same;id=%78") {
		t.Errorf("error %v", err)
	}
}

func TestURIMustSelectOneKey(t *testing.T) {
	hsm := testenv.Start(t, testenv.NewSoftHSM)
	token, err := hsm.AddToken("T")
	if err != nil {
		t.Fatal(err)
	}
	generate := func(label string, id []byte) *testenv.Key {
		key, err := token.Generate(testenv.EC256, label)
		if err == nil && id != nil {
			err = key.SetID(id)
		}
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	twins := []*testenv.Key{generate("twin", nil), generate("twin", []byte("\x00;%\xff"))}
	odd := generate("Schlüssel; 100% & =/?", nil)
	sameID := []*testenv.Key{generate("a", []byte{7}), generate("b", []byte{7})}
	m := load(t, hsm.Module, hsm.Env()...)
	o := func() pkcs11.KeyOptions { return pkcs11.KeyOptions{PIN: pin(t, token.PIN)} }

	for _, uri := range []string{"pkcs11:token=T;object=twin", "pkcs11:token=T;id=%07", "pkcs11:token=T"} {
		_, err := openKey(t, m, uri, o())
		if !pkcs11.IsKind(err, pkcs11.KindKeys) {
			t.Errorf("%s: error %v, want kind %s", uri, err, pkcs11.KindKeys)
		}
	}
	if _, err := openKey(t, m, "pkcs11:token=T;object=twin", o()); err == nil || !strings.Contains(err.Error(), "pkcs11:token=T;id=%00%3B%25%FF") {
		t.Errorf("error %v doesn't list the candidates", err)
	}
	if _, err := openKey(t, m, "pkcs11:token=T;object=absent", o()); !pkcs11.IsKind(err, pkcs11.KindNoKey) || !strings.Contains(err.Error(), "object=Schl%C3%BCssel%3B%20100%25%20&%20=%2F%3F") {
		t.Errorf("no key: %v", err)
	}
	for _, uri := range []string{"pkcs11:token=T;id=7", "pkcs11:token=T;id=07"} { // as pkcs11-tool takes it
		_, err := openKey(t, m, uri, o())
		var failed *pkcs11.Error
		if !errors.As(err, &failed) || failed.Kind != pkcs11.KindNoKey || failed.Todo != "Write id=%07: the bytes of an id are hexadecimal" {
			t.Errorf("%s: %v, %+v", uri, err, failed)
		}
	}
	var failed *pkcs11.Error
	if _, err := openKey(t, m, "pkcs11:token=T;id=77", o()); !errors.As(err, &failed) || failed.Todo != "Use one of these keys in the key URI" {
		t.Errorf("an id that is none: %v", err)
	}
	if _, err := openKey(t, m, "pkcs11:token=T;object=twin;type=public", o()); !pkcs11.IsKind(err, pkcs11.KindURI) {
		t.Errorf("another type: %v", err)
	}
	for uri, key := range map[string]*testenv.Key{
		"pkcs11:token=T;object=twin;id=%00%3b%25%ff":                       twins[1],
		"pkcs11:token=T;id=%00%3b%25%ff":                                   twins[1],
		"pkcs11:token=T;id=%07;object=a":                                   sameID[0],
		"pkcs11:token=T;object=b":                                          sameID[1],
		"pkcs11:token=T;object=Schl%C3%BCssel%3B%20100%25%20%26%20=%2F%3F": odd,
	} {
		k, err := openKey(t, m, uri, o())
		if err != nil {
			t.Errorf("%s: %v", uri, err)
			continue
		}
		// Whichever public key objects share its label or id, the key's own must
		// be found: a signature tells.
		if _, err := k.SignMessage(nil, []byte("message"), crypto.SHA256); err != nil {
			t.Errorf("%s: %v", uri, err)
		}
		if !key.Public.(*ecdsa.PublicKey).Equal(k.Public()) {
			t.Errorf("%s: another public key", uri)
		}
		if again := parse(t, k.URI().String()); again.String() != k.URI().String() {
			t.Errorf("%s is not its own URI", k.URI())
		}
		k.Close()
	}
}

func TestWrongPINIsTriedOnce(t *testing.T) {
	m, _ := standard(t)
	_, err := openKey(t, m, "pkcs11:token=testenv;object=EC-256", pkcs11.KeyOptions{PIN: pin(t, "wrong-pin")})
	if err == nil || !strings.Contains(err.Error(), "C_Login: CKR_PIN_INCORRECT") || strings.Contains(err.Error(), "wrong-pin") {
		t.Errorf("error %v", err)
	}
}

func TestNoPINAndEmptyPINAreNotTried(t *testing.T) {
	m, _ := standard(t)
	for kind, ask := range map[pkcs11.Kind]pkcs11.PINFunc{
		pkcs11.KindNoPIN:     nil,
		pkcs11.KindPINSource: pin(t, ""),
	} {
		if _, err := openKey(t, m, "pkcs11:token=testenv;object=EC-256", pkcs11.KeyOptions{PIN: ask}); !pkcs11.IsKind(err, kind) {
			t.Errorf("error %v, want kind %s", err, kind)
		}
	}
}

func TestCertificatesOfAToken(t *testing.T) {
	hsm := testenv.Start(t, testenv.NewSoftHSM)
	token, err := hsm.AddToken("T")
	if err != nil {
		t.Fatal(err)
	}
	key, err := token.Generate(testenv.EC256, "k")
	if err != nil {
		t.Fatal(err)
	}
	pki, err := testenv.NewPKI()
	if err != nil {
		t.Fatal(err)
	}
	chain, err := pki.Certify(key)
	if err != nil {
		t.Fatal(err)
	}
	m := load(t, hsm.Module, hsm.Env()...)
	k := mustOpenKey(t, m, key.URI(), pkcs11.KeyOptions{PIN: pin(t, token.PIN)})
	found, err := k.Certificates()
	if err != nil {
		t.Fatal(err)
	}
	if len(found) != len(chain) {
		t.Fatalf("%d certificates, want %d", len(found), len(chain))
	}
	for _, want := range chain {
		missing := true
		for _, certificate := range found {
			missing = missing && !certificate.Equal(want)
		}
		if missing {
			t.Errorf("%s is missing", want.Subject)
		}
	}
}
