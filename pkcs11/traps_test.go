// SPDX-License-Identifier: Apache-2.0

//go:build linux

package pkcs11_test

import (
	"crypto"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
	"github.com/notation-pkcs11/notation-pkcs11/testenv"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/faults"
)

// What people who use other tools with their tokens report as lost days, one
// test a trap. Those of mechanisms, sessions and logins are in quirks_test.go,
// session_test.go and login_test.go.

func TestLabelForObjectInTheURIIsRefusedByName(t *testing.T) {
	_, err := pkcs11.ParseURI("pkcs11:token=T;label=signing")
	if !pkcs11.IsKind(err, pkcs11.KindURI) || !strings.Contains(err.Error(), `unknown attribute "label"`) || !strings.Contains(err.Error(), "object") {
		t.Errorf("error %v", err)
	}
}

// PINs that look like something else: of AWS CloudHSM, Fortanix, YubiHSM 2.
func TestPINsAreTakenAsTheyAre(t *testing.T) {
	hsm := testenv.Start(t, testenv.NewSoftHSM)
	token, err := hsm.AddToken("T")
	if err != nil {
		t.Fatal(err)
	}
	key, err := token.Generate(testenv.EC256, "k")
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"crypto-user:pa:ss%20word+", "file://config", "0001password", " blanks \t", "|/bin/echo 1234", "Schlüssel"} {
		if err := token.ChangePIN(secret); err != nil {
			t.Fatal(err)
		}
		t.Run(secret, func(t *testing.T) {
			m := load(t, hsm.Module, hsm.Env()...)
			k := mustOpenKey(t, m, key.URI(), pkcs11.KeyOptions{PIN: pin(t, secret)})
			if _, err := k.SignMessage(nil, []byte("message"), crypto.SHA256); err != nil {
				t.Error(err)
			}
		})
	}
}

// What no keyboard has at a PIN's end or beginning came from a file or a variable,
// and would cost a try.
func TestPINThatNobodyCanTypeIsNotTried(t *testing.T) {
	for secret, wants := range map[string]string{
		testenv.UserPIN + "\n":               "ends in a line break",
		testenv.UserPIN + "\r":               "ends in a line break",
		"\xef\xbb\xbf" + testenv.UserPIN:     "byte order mark",
		"\xff\xfe1\x002\x003\x004\x00\r\x00": "UTF-16",
		"\xfe\xff\x001\x002":                 "UTF-16",
	} {
		q := newQuirky(t)
		err := q.signWith(t, "EC-256", pkcs11.KeyOptions{PIN: pin(t, secret)})
		if !pkcs11.IsKind(err, pkcs11.KindPINSource) || !strings.Contains(err.Error(), wants) || q.Calls("C_Login") != 0 {
			t.Errorf("%q: %d logins, error %v", secret, q.Calls("C_Login"), err)
		}
	}
}

// What can be meant is tried, and said where it was wrong.
func TestWrongPINThatLooksOddIsSaidTo(t *testing.T) {
	for secret, wants := range map[string]string{
		"wrong ":      "failed with a PIN that ends in a space or a tab (C_Login",
		"\twrong":     "failed with a PIN that begins with a space or a tab (C_Login",
		"wr\nong":     "failed with a PIN that has a line break in it (C_Login",
		"wr\x00ong":   "failed with a PIN that has a NUL byte in it (C_Login",
		`"wrong"`:     "failed with a PIN that is in quotation marks (C_Login",
		"'wrong'":     "failed with a PIN that is in quotation marks (C_Login",
		"wr\u200bong": "failed with a PIN that has a character in it that doesn't show (C_Login",
		"wr\x1bong":   "failed with a PIN that has a character in it that doesn't show (C_Login",
		`wrong"`:      "failed (C_Login",
		"w\u00fcrong": "failed (C_Login",
		"wrong pi n":  "failed (C_Login",
	} {
		q := newQuirky(t)
		err := q.signWith(t, "EC-256", pkcs11.KeyOptions{PIN: pin(t, secret)})
		if err == nil || !strings.Contains(err.Error(), wants) || q.Calls("C_Login") != 1 {
			t.Errorf("%q: %d logins, error %v", secret, q.Calls("C_Login"), err)
		}
	}
}

// An nShield's accelerator slot, Google Cloud KMS, tokens without a PIN.
func TestTokenWithoutLoginSigns(t *testing.T) {
	q := newQuirky(t, "no-login "+testenv.UserPIN)
	if err := q.signWith(t, "EC-256", pkcs11.KeyOptions{PIN: noPIN(t)}); err != nil {
		t.Error(err)
	}
	if n := q.Calls("C_Login") + q.Calls("C_Logout"); n > 0 {
		t.Errorf("%d logins and logouts", n)
	}
}

// A Luna, AWS CloudHSM: the public half and all certificates are hidden, too.
func TestKeyThatIsInvisibleBeforeLoginIsFoundAfterIt(t *testing.T) {
	q := newQuirky(t, "hide-before-login", "user-type 0x80000001")
	if err := q.signWith(t, "RSA-3072", pkcs11.KeyOptions{UserType: 0x80000001, PIN: pin(t, q.token.PIN)}); err != nil {
		t.Error(err)
	}
	got := q.sequence(t, "C_Login", "C_FindObjectsInit")
	if len(got) == 0 || got[0] != "C_Login" {
		t.Errorf("calls %v: the search came before the login", got)
	}
}

func TestTokenWithoutCertificatesSignsAndHasNone(t *testing.T) {
	q := newQuirky(t, "hide cert")
	k := mustOpenKey(t, q.module, "pkcs11:token=testenv;object=EC-256", pkcs11.KeyOptions{PIN: pin(t, q.token.PIN)})
	if found, err := k.Certificates(); len(found) > 0 || err != nil {
		t.Errorf("certificates %v, %v", found, err)
	}
	if _, err := k.SignMessage(nil, []byte("message"), crypto.SHA256); err != nil {
		t.Error(err)
	}
}

// AWS CloudHSM refuses a session to a client that is too fast, read-only ones
// always.
func TestVeryFastSessionOpeningIsTriedAgain(t *testing.T) {
	for name, rules := range map[string][]string{
		"once":           {"C_OpenSession#1 rv 0x7", "C_OpenSession#2 rv 0x7"},
		"read-only ever": {"read-write-only", "C_OpenSession#2 rv 0x7"},
	} {
		t.Run(name, func(t *testing.T) {
			q := newQuirky(t, rules...)
			if err := q.signWith(t, "EC-256", pkcs11.KeyOptions{PIN: pin(t, q.token.PIN)}); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestSessionsThatAreRefusedForEverEnd(t *testing.T) {
	q := newQuirky(t, "C_OpenSession rv 0x7")
	start := time.Now()
	err := q.signWith(t, "EC-256", pkcs11.KeyOptions{PIN: noPIN(t)})
	if err == nil || !strings.Contains(err.Error(), "C_OpenSession: CKR_ARGUMENTS_BAD") {
		t.Errorf("error %v", err)
	}
	if n := q.Calls("C_OpenSession"); n != 8 || time.Since(start) > 10*time.Second {
		t.Errorf("%d calls in %v", n, time.Since(start))
	}
}

// A YubiHSM 2 has ids of two bytes, Google Cloud KMS has resource names.
func TestIDsOfAnyBytesSelect(t *testing.T) {
	hsm := testenv.Start(t, testenv.NewSoftHSM)
	token, err := hsm.AddToken("T")
	if err != nil {
		t.Fatal(err)
	}
	ids := []string{"\x00\x64", "\x64", "projects/p/locations/l/keyRings/r/cryptoKeys/k/cryptoKeyVersions/1", "\xff;&?=%"}
	for range ids {
		if _, err := token.Generate(testenv.EC256, "same label"); err != nil {
			t.Fatal(err)
		}
	}
	for i, id := range ids {
		if err := token.Keys[i].SetID([]byte(id)); err != nil {
			t.Fatal(err)
		}
	}
	m := load(t, hsm.Module, hsm.Env()...)
	for i, id := range ids {
		uri := pkcs11.URI{}.With(pkcs11.AttrToken, "T").With(pkcs11.AttrID, id).String()
		k, err := openKey(t, m, uri, pkcs11.KeyOptions{PIN: pin(t, token.PIN)})
		if err != nil {
			t.Errorf("%s: %v", uri, err)
			continue
		}
		if !token.Keys[i].Public.(interface{ Equal(crypto.PublicKey) bool }).Equal(k.Public()) {
			t.Errorf("%s: another key", uri)
		}
		if _, err := k.SignMessage(nil, []byte("message"), crypto.SHA256); err != nil {
			t.Errorf("%s: %v", uri, err)
		}
		k.Close()
	}
}

// A YubiHSM 2 says 512 (0x200, CKR_FUNCTION_REJECTED) where the authentication
// key lacks a capability: it is named, and is no reason to try other mechanisms
// or to log in again.
func TestCKR512EndsTheTry(t *testing.T) {
	q := newQuirky(t, "C_Sign rv 0x200")
	err := q.signWith(t, "RSA-2048", pkcs11.KeyOptions{PIN: pin(t, q.token.PIN)})
	if err == nil || !strings.Contains(err.Error(), "C_Sign: CKR_FUNCTION_REJECTED") {
		t.Errorf("error %v", err)
	}
	if logins, tries := q.Calls("C_Login"), q.Calls("C_SignInit"); logins != 1 || tries != 1 {
		t.Errorf("%d logins, %d tries", logins, tries)
	}
}

// A key of Google Cloud KMS does RSASSA-PSS with one hash, and nothing else.
// Here that is SHA-256, as with RSA-3072 there, and notation wants SHA-384.
func TestKeyThatIsFixedToAnotherHashIsRefusedBeforeItSigns(t *testing.T) {
	q := newQuirky(t, "no-login "+testenv.UserPIN, "mechanisms "+rsaPSS, "set-attribute private "+attrAllowed+" 0d00000000000000", "pss-hash "+hashSHA256)
	k := mustOpenKey(t, q.module, "pkcs11:token=testenv;object=RSA-3072", pkcs11.KeyOptions{PIN: noPIN(t)})
	_, err := k.SignMessage(nil, []byte("message"), options(k.Public(), crypto.SHA384))
	if !pkcs11.IsKind(err, pkcs11.KindMechanism) ||
		!strings.Contains(err.Error(), "CKM_RSA_PKCS_PSS with SHA-384 (C_SignInit: CKR_MECHANISM_PARAM_INVALID)") {
		t.Errorf("error %v", err)
	}
	if n := q.Calls("C_Sign"); n > 0 {
		t.Errorf("%d signatures", n)
	}
	signature, err := k.SignMessage(nil, []byte("message"), options(k.Public(), crypto.SHA256))
	if err != nil {
		t.Fatal(err)
	}
	checkSignature(t, k.Public(), crypto.SHA256, []byte("message"), signature)
}

// Labels of the public and the private half that differ, as some tools leave
// them: the half with the same id is the right one.
func TestHalvesWithOtherLabelsBelongTogetherByID(t *testing.T) {
	q := newQuirky(t, fmt.Sprintf("set-attribute public 0x3 %x", "another label"), "hide-attribute private "+attrModulus)
	for _, label := range []string{"RSA-2048", "EC-384"} {
		if err := q.signWith(t, label, pkcs11.KeyOptions{PIN: pin(t, q.token.PIN)}); err != nil {
			t.Errorf("%s: %v", label, err)
		}
	}
}

// The specification pads labels with blanks to 32 bytes. One may be all 32.
func TestTokenLabelsOfAllLengthsAndLettersSelect(t *testing.T) {
	hsm := testenv.Start(t, testenv.NewSoftHSM)
	labels := []string{"a", "Schlüssel 鍵 %/?;", strings.Repeat("x", 32), " leading", "päd" + strings.Repeat("ö", 14)}
	for _, label := range labels {
		token, err := hsm.AddToken(label)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := token.Generate(testenv.EC256, label); err != nil {
			t.Fatal(err)
		}
	}
	m := load(t, hsm.Module, hsm.Env()...)
	for _, label := range labels {
		uri := pkcs11.URI{}.With(pkcs11.AttrToken, label).With(pkcs11.AttrObject, label).String()
		k, err := openKey(t, m, uri, pkcs11.KeyOptions{PIN: pin(t, testenv.UserPIN)})
		if err != nil {
			t.Errorf("%q: %v", label, err)
			continue
		}
		if got, _ := k.URI().Value(pkcs11.AttrToken); got != label {
			t.Errorf("%q is shown as %q", label, got)
		}
		k.Close()
	}
}

// The same token in another slot: a key's own URI finds it there.
func TestSlotNumbersThatChangeDoNotMatter(t *testing.T) {
	hsm := testenv.Start(t, testenv.NewSoftHSM)
	token, err := hsm.AddStandardToken()
	if err != nil {
		t.Fatal(err)
	}
	server := testenv.Start(t, func() (*testenv.P11Kit, error) { return testenv.NewP11Kit(token) })
	if token.Slot == server.Token().Slot {
		t.Fatalf("the slot is %d here and there", token.Slot)
	}
	var uri string
	for name, there := range map[string]*testenv.Token{"in its slot": token, "in another": server.Token()} {
		t.Run(name, func(t *testing.T) {
			m := load(t, there.Store.Module, there.Env()...)
			if uri == "" {
				uri = "pkcs11:token=testenv;object=EC-256"
			}
			k := mustOpenKey(t, m, uri, pkcs11.KeyOptions{PIN: pin(t, token.PIN)})
			if uri = k.URI().String(); strings.Contains(uri, "slot") {
				t.Errorf("%s names a slot", uri)
			}
			if _, err := k.SignMessage(nil, []byte("message"), crypto.SHA256); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestRemoteTokenWhoseServerIsDownIsExplained(t *testing.T) {
	hsm := testenv.Start(t, testenv.NewSoftHSM)
	token, err := hsm.AddStandardToken()
	if err != nil {
		t.Fatal(err)
	}
	server := testenv.Start(t, func() (*testenv.P11Kit, error) { return testenv.NewP11Kit(token) })
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	m := load(t, server.Module, server.Env()...)
	_, err = m.Token(parse(t, "pkcs11:token=testenv"))
	if !pkcs11.IsKind(err, pkcs11.KindNoDevice) || !strings.Contains(err.Error(), "server is down") {
		t.Errorf("error %v", err)
	}
}

// A PIN that was right is used again after the sessions died, one that was
// wrong never.
func TestDeadSessionsNeverRepeatAWrongPIN(t *testing.T) {
	q := newQuirky(t, "sessions-die 1", "C_Login#2 rv 0xa0") // the PIN was changed meanwhile
	k := mustOpenKey(t, q.module, "pkcs11:token=testenv;object=EC-256", pkcs11.KeyOptions{PIN: pin(t, q.token.PIN)})
	var failed int
	for range 5 {
		if _, err := k.SignMessage(nil, []byte("message"), crypto.SHA256); err != nil {
			failed++
			if !strings.Contains(err.Error(), "CKR_PIN_INCORRECT") {
				t.Errorf("error %v", err)
			}
		}
	}
	if n := q.Calls("C_Login"); n != 2 || failed != 4 {
		t.Errorf("%d logins, %d failures", n, failed)
	}
}

// Keys without a login for each signature get none: on a YubiKey it would end
// the operation.
func TestContextLoginOnlyWhereTheKeyWantsIt(t *testing.T) {
	q := newQuirky(t)
	if err := q.signWith(t, "EC-256", pkcs11.KeyOptions{PIN: pin(t, q.token.PIN)}); err != nil {
		t.Error(err)
	}
	journal, err := q.Journal()
	if err != nil {
		t.Fatal(err)
	}
	if i := slices.IndexFunc(journal, func(c faults.Call) bool { return c.Name == "C_Login" && strings.Contains(c.Detail, "user=0x2") }); i >= 0 {
		t.Errorf("a context-specific login: %v", journal[i])
	}
}

func TestTokenThatIsGoneIsSaidToBe(t *testing.T) {
	q := newQuirky(t, "C_GetTokenInfo#1 rv 0xe0")
	err := q.signWith(t, "EC-256", pkcs11.KeyOptions{PIN: pin(t, q.token.PIN)})
	if !pkcs11.IsKind(err, pkcs11.KindNoDevice) || !strings.Contains(err.Error(), "C_GetTokenInfo: CKR_TOKEN_NOT_PRESENT") {
		t.Errorf("error %v", err)
	}
	if tokens, err := q.module.Tokens(); err != nil || len(tokens) != 2 {
		t.Errorf("%d tokens and the error %v, once it is there again", len(tokens), err)
	}
}

// A search that can't be ended stays active in its session.
func TestSearchThatCanNotBeEndedDoesNotKeepAKeyFromBeingDescribed(t *testing.T) {
	q := newQuirky(t, "C_FindObjectsFinal#1 rv 0x30")
	token, err := q.module.Token(parse(t, "pkcs11:token=testenv"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := token.PublicKey(t.Context(), parse(t, "pkcs11:object=EC-256"), pkcs11.KeyOptions{PIN: pin(t, q.token.PIN)}); err != nil {
		t.Error(err)
	}
}

// Where nothing was ever initialized there is nothing to plug in.
func TestTokensThatWereNeverInitializedAreSaidToBe(t *testing.T) {
	hsm := testenv.Start(t, testenv.NewSoftHSM)
	m := load(t, hsm.Module, hsm.Env()...)
	if _, err := m.Token(parse(t, "pkcs11:token=new")); !pkcs11.IsKind(err, pkcs11.KindBlankToken) {
		t.Errorf("error %v", err)
	}
}
