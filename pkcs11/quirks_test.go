// SPDX-License-Identifier: Apache-2.0

//go:build linux

package pkcs11_test

import (
	"crypto"
	"crypto/x509"
	"strings"
	"testing"

	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
	"github.com/notation-pkcs11/notation-pkcs11/testenv"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/faults"
)

func TestTokensThatDifferSignAllTheSame(t *testing.T) {
	for name, test := range map[string]struct {
		key   string
		rules []string
	}{
		"the mechanism list lacks what works":    {"RSA-2048", []string{"mechanisms " + aesCBC}},
		"the mechanism list names what fails":    {"RSA-2048", []string{"mechanisms " + rsaPSS, "deny-mechanism " + rsaPSS}},
		"no list of mechanisms":                  {"RSA-2048", []string{"C_GetMechanismList rv 0x54"}},
		"PSS of the message only":                {"RSA-2048", []string{"deny-mechanism " + rsaPSS, "deny-mechanism " + rsaX509, "message-pss"}},
		"no PSS mechanism at all":                {"RSA-2048", []string{"deny-mechanism " + rsaPSS, "deny-mechanism " + sha256PSS}},
		"PSS refused by C_Sign":                  {"RSA-2048", []string{"deny-at-sign " + rsaPSS + " 0x70", "deny-mechanism " + sha256PSS}},
		"PSS parameters refused":                 {"RSA-2048", []string{"deny-mechanism " + rsaPSS + " 0x71"}},
		"ECDSA of the message only":              {"EC-256", []string{"deny-mechanism " + ecdsaDigest, "message-ecdsa"}},
		"CKA_ALLOWED_MECHANISMS names one":       {"RSA-2048", []string{"set-attribute private " + attrAllowed + " 0300000000000000"}},
		"CKA_ALLOWED_MECHANISMS is empty":        {"RSA-2048", []string{"set-attribute private " + attrAllowed}},
		"no public key objects":                  {"EC-384", []string{"hide public"}},
		"no public key objects nor modulus":      {"RSA-2048", []string{"hide public", "hide-attribute private " + attrModulus}},
		"CKA_EC_POINT without its wrapping":      {"EC-521", []string{"ec-point raw"}},
		"nothing is listed before login":         {"RSA-3072", []string{"hide-before-login"}},
		"nothing is found by CKA_ID":             {"EC-256", []string{"hide-id-search", "hide cert"}},
		"one session":                            {"EC-256", []string{"max-sessions 1"}},
		"one session, and PSS refused by C_Sign": {"RSA-2048", []string{"max-sessions 1", "deny-at-sign " + rsaPSS + " 0x70"}},
		"read-write sessions only":               {"EC-256", []string{"read-write-only"}},
		"read-only sessions only":                {"EC-256", []string{"read-only"}},
		"no locking":                             {"EC-256", []string{"cant-lock"}},
		"no slots before C_GetSlotList":          {"EC-256", []string{"slot-list-first"}},
	} {
		t.Run(name, func(t *testing.T) {
			q := newQuirky(t, test.rules...)
			o := pkcs11.KeyOptions{PIN: pin(t, q.token.PIN)}
			if strings.Contains(name, "no public key objects") { // known from elsewhere, then
				o.Certificates = certify(t, q.token)
			}
			if err := q.signWith(t, test.key, o); err != nil {
				t.Error(err)
			}
			if n := q.Calls("C_SignUpdate") + q.Calls("C_SignFinal"); n > 0 {
				t.Errorf("%d multi-part calls", n)
			}
		})
	}
}

// What no signature needs can't stop one, whatever a module says of it: wolfPKCS11
// answers CKA_ALLOWED_MECHANISMS with (CK_RV)-1.
func TestUnneededAttributesThatCanNotBeReadStopNothing(t *testing.T) {
	for name, attribute := range map[string]string{
		"CKA_KEY_TYPE": "0x100", "CKA_SIGN": attrSign, "CKA_ALWAYS_AUTHENTICATE": "0x202", "CKA_ALLOWED_MECHANISMS": attrAllowed, "CKA_EC_PARAMS": "0x180",
	} {
		for _, rv := range []string{"0xffffffffffffffff", "0x5", "0x6", "0x30"} {
			t.Run(name+" "+rv, func(t *testing.T) {
				q := newQuirky(t, "fail-attribute private "+attribute+" "+rv)
				if err := q.signWith(t, "EC-256", pkcs11.KeyOptions{PIN: pin(t, q.token.PIN)}); err != nil {
					t.Error(err)
				}
				s := openSession(t, q.module, "pkcs11:token=testenv", pkcs11.SessionOptions{PIN: pin(t, q.token.PIN)})
				if list := keys(t, s, "pkcs11:object=EC-256"); len(list) != 1 || list[0].Problem != nil {
					t.Errorf("the list has %+v", list)
				}
			})
		}
	}
}

// One object that can't be read, of other people's perhaps, says nothing of a key
// whose public half another one shows; a token that is gone does.
func TestObjectThatCanNotBeReadStopsNoKeyThatNeedsItNot(t *testing.T) {
	for _, rv := range []string{"0x5", "0x6", "0x20", "0x30", "0x82"} {
		for name, test := range map[string]struct{ rule, show string }{
			"certificate":                       {"fail-attribute cert 0x11 " + rv, "on the token"},
			"public key, but for a certificate": {"fail-attribute public 0x100 " + rv, "elsewhere"},
		} {
			t.Run(name+" "+rv, func(t *testing.T) {
				rules := []string{test.rule}
				if test.show == "elsewhere" {
					for _, attribute := range []string{"0x120", "0x122", "0x180", "0x181"} {
						rules = append(rules, "fail-attribute public "+attribute+" "+rv)
					}
				}
				s := newSuccession(t, testenv.EC256, rules...)
				s.store(t, s.own[0], s.key.Label, s.key.ID...)
				k := mustOpenKey(t, s.module, "pkcs11:token=T;object=signing", s.options(t, s.own...))
				certificates, err := k.Certificates()
				if err != nil {
					t.Fatal(err)
				}
				if want := map[string]int{"on the token": 0, "elsewhere": 1}[test.show]; len(certificates) != want {
					t.Errorf("%d certificates, want %d", len(certificates), want)
				}
			})
		}
	}
	for _, rv := range []string{"0x32", "0xb3", "0xe0", "0x190"} {
		t.Run("gone "+rv, func(t *testing.T) {
			s := newSuccession(t, testenv.EC256, "fail-attribute cert 0x11 "+rv)
			s.store(t, s.own[0], "another", 0x77)
			k := mustOpenKey(t, s.module, "pkcs11:token=T;object=signing", s.options(t, s.own...))
			if _, err := k.Certificates(); !pkcs11.IsKind(err, pkcs11.KindCall) {
				t.Errorf("error %v", err)
			}
		})
	}
}

// certify returns a certificate for each key of a token.
func certify(t *testing.T, token *testenv.Token) []*x509.Certificate {
	t.Helper()
	pki, err := testenv.NewPKI()
	if err != nil {
		t.Fatal(err)
	}
	var certificates []*x509.Certificate
	for _, key := range token.Keys {
		if key.Type == testenv.RSA3072 || key.Type == testenv.RSA4096 {
			continue // RSA keys that show no modulus can't be told apart
		}
		chain, err := pki.Chain(key.Public)
		if err != nil {
			t.Fatal(err)
		}
		certificates = append(certificates, chain...)
	}
	return certificates
}

func TestTokensThatCanNotSign(t *testing.T) {
	for name, test := range map[string]struct {
		key   string
		rules []string
		kind  pkcs11.Kind
		wants string
	}{
		"CKA_SIGN is false":                    {"RSA-2048", []string{"set-attribute private " + attrSign + " 00"}, pkcs11.KindNotPermitted, "CKA_SIGN is false"},
		"CKA_ALLOWED_MECHANISMS names others":  {"RSA-2048", []string{"set-attribute private " + attrAllowed + " 0100000000000000"}, pkcs11.KindMechanism, "CKA_ALLOWED_MECHANISMS"},
		"every mechanism is refused":           {"RSA-2048", []string{"deny-mechanism " + rsaPSS, "deny-mechanism " + sha256PSS, "deny-mechanism " + rsaX509 + " 0x68"}, pkcs11.KindCall, "CKR_KEY_FUNCTION_NOT_PERMITTED"},
		"every mechanism is not there":         {"RSA-2048", []string{"deny-mechanism " + rsaPSS, "deny-mechanism " + sha256PSS, "deny-mechanism " + rsaX509}, pkcs11.KindMechanism, "CKM_RSA_PKCS_PSS (C_SignInit: CKR_MECHANISM_INVALID), CKM_SHA256_RSA_PKCS_PSS (C_SignInit"},
		"the signature is wrong":               {"EC-256", []string{"C_Sign garble"}, pkcs11.KindSignature, "wrong signature"},
		"the RSA signature is wrong":           {"RSA-2048", []string{"C_Sign garble"}, pkcs11.KindSignature, "wrong signature"},
		"the signature is short":               {"EC-256", []string{"C_Sign short"}, pkcs11.KindSignature, "wrong signature"},
		"no signature":                         {"EC-256", []string{"C_Sign empty"}, pkcs11.KindSignature, "wrong signature"},
		"the public half is nowhere":           {"EC-256", []string{"hide public", "hide cert"}, pkcs11.KindPublicKey, "doesn't show the public half"},
		"no private key is shown":              {"EC-256", []string{"hide private"}, pkcs11.KindNoKey, "shows no private key"},
		"the card is out of the reader":        {"EC-256", []string{"C_GetSlotList#1 empty", "C_GetSlotList#2 empty"}, pkcs11.KindNoDevice, "its slots are empty"},
		"the token is away":                    {"EC-256", []string{"C_GetSlotList empty"}, pkcs11.KindNoDevice, "shows no token and no slot"},
		"the token was pulled":                 {"EC-256", []string{"C_GetTokenInfo rv 0xe0"}, pkcs11.KindNoDevice, "shows no initialized token"},
		"no session left":                      {"EC-256", []string{"C_OpenSession rv 0xb1"}, pkcs11.KindCall, "C_OpenSession: CKR_SESSION_COUNT"},
		"no mechanism for such keys":           {"EC-256", []string{"mechanisms " + rsaPSS, "deny-mechanism " + ecdsaDigest}, pkcs11.KindNoMechanism, "none is in its list"},
		"the final try":                        {"EC-256", []string{"token-flags +" + flagFinalTry}, pkcs11.KindPINLocked, "one PIN attempt left"},
		"a locked PIN":                         {"EC-256", []string{"token-flags +" + flagLocked}, pkcs11.KindPINLocked, "locked"},
		"an expired PIN":                       {"EC-256", []string{"C_Login rv 0xa3"}, pkcs11.KindCall, "C_Login: CKR_PIN_EXPIRED"},
		"another user type is wanted":          {"EC-256", []string{"user-type 0x80000001"}, pkcs11.KindCall, "C_Login: CKR_USER_TYPE_INVALID"},
		"a vendor's own error":                 {"EC-256", []string{"C_SignInit rv 0x80000123"}, pkcs11.KindCall, "C_SignInit: CKR 0x80000123"},
		"the device fails":                     {"EC-256", []string{"C_Sign rv 0x30"}, pkcs11.KindCall, "C_Sign: CKR_DEVICE_ERROR"},
		"the session is lost again and again":  {"EC-256", []string{"C_Sign rv 0xb3"}, pkcs11.KindCall, "C_Sign: CKR_SESSION_HANDLE_INVALID"},
		"attributes can't be read":             {"EC-256", []string{"C_GetAttributeValue rv 0x30"}, pkcs11.KindCall, "C_GetAttributeValue: CKR_DEVICE_ERROR"},
		"objects can't be searched":            {"EC-256", []string{"C_FindObjectsInit rv 0x30"}, pkcs11.KindCall, "C_FindObjectsInit: CKR_DEVICE_ERROR"},
		"the search can't be ended":            {"EC-256", []string{"C_FindObjectsFinal rv 0x30"}, pkcs11.KindCall, "C_FindObjectsFinal: CKR_DEVICE_ERROR"},
		"always authenticate, and a wrong PIN": {"EC-256", []string{"always-authenticate another"}, pkcs11.KindCall, "C_Login: CKR_PIN_INCORRECT"},
	} {
		t.Run(name, func(t *testing.T) {
			q := newQuirky(t, test.rules...)
			err := q.signWith(t, test.key, pkcs11.KeyOptions{PIN: pin(t, q.token.PIN)})
			if !pkcs11.IsKind(err, test.kind) || !strings.Contains(err.Error(), test.wants) {
				t.Errorf("error %v, want kind %s and %s", err, test.kind, test.wants)
			}
			if strings.Contains(err.Error(), q.token.PIN) {
				t.Error("the error has the PIN")
			}
			// A lost session is one more login with a PIN that was right; a failed
			// login is never followed by another.
			logins := q.sequence(t, "C_Login")
			most := map[bool]int{true: 2, false: 1}[strings.Contains(name, "again and again") || strings.Contains(name, "always")]
			if test.kind == pkcs11.KindPINLocked {
				most = 0
			}
			if len(logins) > most {
				t.Errorf("%d logins, want at most %d", len(logins), most)
			}
		})
	}
}

func TestOtherErrorsDoNotTryTheNextMechanism(t *testing.T) {
	q := newQuirky(t, "C_Sign rv 0x30")
	if err := q.signWith(t, "RSA-2048", pkcs11.KeyOptions{PIN: pin(t, q.token.PIN)}); err == nil {
		t.Fatal("signed")
	}
	if n := q.Calls("C_SignInit"); n != 1 {
		t.Errorf("C_SignInit was called %d times", n)
	}
}

func TestTokenThatCanNotBeReadDoesNotHideOthers(t *testing.T) {
	q := newQuirky(t, "C_GetTokenInfo#2 rv 0x30") // of SoftHSM's free slot, which comes last
	if err := q.signWith(t, "EC-256", pkcs11.KeyOptions{PIN: pin(t, q.token.PIN)}); err != nil {
		t.Error(err)
	}
	q = newQuirky(t, "C_GetTokenInfo rv 0x30")
	if err := q.signWith(t, "EC-256", pkcs11.KeyOptions{}); err == nil || !strings.Contains(err.Error(), "C_GetTokenInfo: CKR_DEVICE_ERROR") {
		t.Errorf("error %v", err)
	}
}

func TestKeyIsFoundByIDWhereTheTokenDoesNotSearchByIt(t *testing.T) {
	q := newQuirky(t, "hide-id-search")
	for _, key := range q.token.Keys {
		u := pkcs11.URI{}.With(pkcs11.AttrToken, q.token.Label).With(pkcs11.AttrID, string(key.ID))
		k := mustOpenKey(t, q.module, u.String(), pkcs11.KeyOptions{PIN: pin(t, q.token.PIN)})
		if !key.Public.(interface{ Equal(crypto.PublicKey) bool }).Equal(k.Public()) {
			t.Errorf("%s: another key", u)
		}
		k.Close()
	}
}

func TestInitArgsReachTheModule(t *testing.T) {
	hsm := testenv.Start(t, testenv.NewSoftHSM)
	const arguments = "configdir='sql:/etc/pki/nssdb' flags=readOnly"
	m, err := faults.New(t.TempDir(), hsm.Module, "need-init-args "+arguments)
	if err != nil {
		t.Fatal(err)
	}
	for _, variable := range append(hsm.Env(), m.Env()...) {
		name, value, _ := strings.Cut(variable, "=")
		t.Setenv(name, value)
	}
	loaded, err := pkcs11.Load(m.Path, pkcs11.Options{InitArgs: arguments})
	if err != nil {
		t.Fatal(err)
	}
	if err := loaded.Close(); err != nil {
		t.Error(err)
	}
}
