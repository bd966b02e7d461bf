// SPDX-License-Identifier: Apache-2.0

package pkcs11_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"slices"
	"strings"
	"testing"

	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

// openSession opens a session with the one token that a URI selects.
func openSession(t *testing.T, m *pkcs11.Module, uri string, o pkcs11.SessionOptions) *pkcs11.Session {
	t.Helper()
	token, err := m.Token(parse(t, uri))
	if err != nil {
		t.Fatal(err)
	}
	s, err := token.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// keys lists the keys that a URI selects.
func keys(t *testing.T, s *pkcs11.Session, uri string) []pkcs11.KeyInfo {
	t.Helper()
	list, err := s.Keys(parse(t, uri), nil)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestSurveyCountsWhatIsVisibleWithoutLogin(t *testing.T) {
	m, token := standard(t)
	all, err := m.Survey()
	if err != nil {
		t.Fatal(err)
	}
	var initialized []pkcs11.TokenStatus
	for _, s := range all {
		if s.Has(pkcs11.FlagInitialized) {
			initialized = append(initialized, s)
		} else if s.Objects != nil {
			t.Errorf("objects on a token that was never initialized: %v", s.Objects)
		}
	}
	if len(initialized) != 1 || len(all) < 2 {
		t.Fatalf("%d tokens, of them %d initialized", len(all), len(initialized))
	}
	s := initialized[0]
	if want := (pkcs11.ObjectCount{PublicKeys: len(token.Keys)}); s.Objects == nil || *s.Objects != want {
		t.Errorf("objects %v, want %v", s.Objects, want)
	}
	if s.Serial != token.Serial || s.URI.String() != "pkcs11:token=testenv" {
		t.Errorf("serial number %s, URI %s", s.Serial, s.URI)
	}
}

// Tokens are named as shortly as possible, and each so that it alone is
// selected.
func TestTokensOfTheSameLabelAreNamedBySerialNumber(t *testing.T) {
	hsm := testenv.Start(t, testenv.NewSoftHSM)
	for _, label := range []string{"twin", "twin", "Schlüssel ; 1"} {
		if _, err := hsm.AddToken(label); err != nil {
			t.Fatal(err)
		}
	}
	m := load(t, hsm.Module, hsm.Env()...)
	all, err := m.Survey()
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, s := range all {
		if !s.Has(pkcs11.FlagInitialized) {
			continue
		}
		seen++
		token, err := m.Token(parse(t, s.URI.String()))
		if err != nil || token.Serial != s.Serial {
			t.Errorf("%s selects another token: %v", s.URI, err)
		}
		if _, named := s.URI.Value(pkcs11.AttrSerial); named != (s.Label == "twin") {
			t.Errorf("URI %s of the token %q", s.URI, s.Label)
		}
	}
	if seen != 3 {
		t.Errorf("%d tokens", seen)
	}
}

// Each URI selects one key, however alike their labels and ids are.
func TestKeysThatLookAlikeAreSelectable(t *testing.T) {
	hsm := testenv.Start(t, testenv.NewSoftHSM)
	token, err := hsm.AddToken("alike")
	if err != nil {
		t.Fatal(err)
	}
	for _, label := range []string{"twin", "twin", "same id", "same id, too", "Schlüssel", " padded ", "a;b&c=d", ""} {
		if _, err := token.Generate(testenv.EC256, label); err != nil {
			t.Fatal(err)
		}
	}
	for i, id := range map[int][]byte{3: {3}, 4: {0x00, 0xff, ';', '%'}} {
		if err := token.Keys[i].SetID(id); err != nil {
			t.Fatal(err)
		}
	}
	m := load(t, hsm.Module, token.Env()...)
	s := openSession(t, m, "pkcs11:token=alike", pkcs11.SessionOptions{PIN: pin(t, token.PIN)})
	list := keys(t, s, "pkcs11:")
	if len(list) != len(token.Keys) {
		t.Fatalf("%d keys, want %d", len(list), len(token.Keys))
	}
	for _, key := range list {
		if key.Problem != nil || key.Type != "EC-256" {
			t.Errorf("%s: type %s, problem %v", key.URI, key.Type, key.Problem)
		}
		k, err := s.Key(t.Context(), parse(t, key.URI.String()), pkcs11.KeyOptions{})
		if err != nil {
			t.Errorf("%s: %v", key.URI, err)
			continue
		}
		if !key.Public.(*ecdsa.PublicKey).Equal(k.Public()) {
			t.Errorf("%s selects another key", key.URI)
		}
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	}
	short := func(k pkcs11.KeyInfo) bool { return k.URI.String() == "pkcs11:token=alike;object=Schl%C3%BCssel" }
	if !slices.ContainsFunc(list, short) {
		t.Errorf("no key is named by its label alone: %v", list)
	}
}

func TestListSaysWhyAKeyCanSignNothing(t *testing.T) {
	hsm := testenv.Start(t, testenv.NewSoftHSM)
	token, err := hsm.AddToken("odd")
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []testenv.KeyType{testenv.RSA1024, testenv.EC224, testenv.Ed25519} {
		if _, err := token.Generate(kind, kind.Name); err != nil {
			t.Fatal(err)
		}
	}
	m := load(t, hsm.Module, token.Env()...)
	s := openSession(t, m, "pkcs11:token=odd", pkcs11.SessionOptions{PIN: pin(t, token.PIN)})
	for _, key := range keys(t, s, "pkcs11:") {
		label, _ := key.URI.Value(pkcs11.AttrObject)
		if key.Type != label {
			t.Errorf("the key %s is of the type %s", label, key.Type)
		}
		// RSA-1024 signs, which is for others to judge.
		if usable := label == testenv.RSA1024.Name; usable != (key.Problem == nil) || usable != (key.Public != nil) {
			t.Errorf("the key %s has the problem %v", label, key.Problem)
		}
	}
}

func TestListWithoutLoginSeesPublicObjectsAlone(t *testing.T) {
	m, _ := standard(t)
	s := openSession(t, m, "pkcs11:token=testenv", pkcs11.SessionOptions{NoLogin: true, PIN: noPIN(t)})
	if s.LoggedIn() {
		t.Error("logged in")
	}
	if list := keys(t, s, "pkcs11:"); len(list) > 0 {
		t.Errorf("keys %v", list)
	}
}

func TestKeyOfASessionSignsWithItsLogin(t *testing.T) {
	m, token := standard(t)
	s := openSession(t, m, "pkcs11:token=testenv", pkcs11.SessionOptions{PIN: pin(t, token.PIN)})
	k, err := s.Key(t.Context(), parse(t, "pkcs11:object=RSA-2048"), pkcs11.KeyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	opts := options(k.Public(), crypto.SHA256)
	before, err := k.Mechanisms(opts)
	if err != nil || before[0] != "CKM_RSA_PKCS_PSS" {
		t.Errorf("mechanisms %v, %v", before, err)
	}
	signature, err := k.SignMessage(nil, []byte("message"), opts)
	if err != nil {
		t.Fatal(err)
	}
	checkSignature(t, k.Public(), crypto.SHA256, []byte("message"), signature)
}

func TestRestrictedKeyIsNoticedWithoutASignature(t *testing.T) {
	key := pkcs11.KeyInfo{Public: &ecdsa.PublicKey{Curve: elliptic.P256()}, Mechanisms: []uint{0x1045}} // CKM_ECDSA_SHA384
	if err := key.CheckMechanism(crypto.SHA256); !pkcs11.IsKind(err, pkcs11.KindMechanism) || !strings.Contains(err.Error(), "CKM_ECDSA_SHA256") {
		t.Errorf("error %v", err)
	}
	if err := key.CheckMechanism(crypto.SHA384); err != nil {
		t.Error(err)
	}
	key.Mechanisms = nil
	if err := key.CheckMechanism(crypto.SHA256); err != nil {
		t.Error(err)
	}
}
