// SPDX-License-Identifier: Apache-2.0

package pkcs11_test

import (
	"crypto"
	"fmt"
	"strings"
	"testing"

	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

// A key that could leave the token doesn't stay there. What may do more stays.
func TestGeneratedKeyThatCouldLeaveTheTokenIsDeleted(t *testing.T) {
	for name, test := range map[string]struct {
		rules []string
		kind  pkcs11.Kind
		wants string
	}{
		"extractable":              {[]string{"set-attribute private 0x162 01"}, pkcs11.KindExposed, "is extractable (CKA_EXTRACTABLE); it was deleted again"},
		"not sensitive":            {[]string{"set-attribute private 0x103 00"}, pkcs11.KindExposed, "is not sensitive (CKA_SENSITIVE); it was deleted again"},
		"may not sign":             {[]string{"set-attribute private 0x108 00"}, pkcs11.KindNotPermitted, "with other attributes than requested: it may not sign (CKA_SIGN)"},
		"can't be looked at again": {[]string{"set-attribute private 0x162 01", "C_Initialize#2 rv 0x5"}, pkcs11.KindCall, "can't be read (C_Initialize: CKR_GENERAL_ERROR)"},
		"can't be deleted":         {[]string{"set-attribute private 0x162 01", "C_DestroyObject rv 0x1b"}, pkcs11.KindExposed, "could not be deleted"},
		"only said to be deleted":  {[]string{"set-attribute private 0x162 01", "C_DestroyObject rv 0x0"}, pkcs11.KindExposed, "could not be deleted"},
		"takes no such template":   {[]string{"C_GenerateKeyPair rv 0xd1"}, pkcs11.KindCall, "C_GenerateKeyPair: CKR_TEMPLATE_INCONSISTENT"},
		"knows no such key":        {[]string{"C_GenerateKeyPair rv 0x70"}, pkcs11.KindCall, "C_GenerateKeyPair: CKR_MECHANISM_INVALID"},
	} {
		t.Run(name, func(t *testing.T) {
			q := newQuirky(t, test.rules...)
			s := writable(t, q.module, q.token)
			_, err := s.Generate(parse(t, "pkcs11:object=new"), "ec:p256")
			if !pkcs11.IsKind(err, test.kind) || !strings.Contains(err.Error(), test.wants) {
				t.Errorf("error %v", err)
			}
			if strings.Contains(test.wants, "C_Initialize") {
				return // nothing can be asked any more
			}
			list, err := s.Keys(parse(t, "pkcs11:object=new"), nil)
			if gone := pkcs11.IsKind(err, pkcs11.KindNoKey); err != nil && !gone || gone == (strings.Contains(test.wants, "may not sign") || strings.Contains(test.wants, "could not")) {
				t.Errorf("%d keys are left, %v", len(list), err)
			}
		})
	}
}

// What only looks wrong where it was made, or does more than it was asked to, is
// no reason to delete a good key: as OpenSC shows new ones.
func TestGeneratedKeyThatIsGoodEnoughStays(t *testing.T) {
	for name, test := range map[string]struct {
		rules    []string
		warnings string
		logins   int
	}{
		"not sensitive where it was made":    {[]string{"birth-attribute private 0x103 00"}, "[]", 2},
		"extractable where it was made":      {[]string{"birth-attribute private 0x162 01"}, "[]", 2},
		"not for signing where it was made":  {[]string{"birth-attribute private 0x108 00"}, "[]", 2},
		"signs with recovery, too":           {[]string{"set-attribute private 0x109 01"}, `["it may also sign with message recovery (CKA_SIGN_RECOVER)"]`, 1},
		"doesn't say whether it is readable": {[]string{"hide-attribute private 0x103", "hide-attribute private 0x162"}, `["it doesn't show whether it is sensitive (CKA_SENSITIVE)" "it doesn't show whether it is extractable (CKA_EXTRACTABLE)"]`, 1},
		"takes no refusal of a usage":        {[]string{"C_GenerateKeyPair#1 rv 0xd1"}, `["it may also decrypt (CKA_DECRYPT)" "it may also unwrap keys (CKA_UNWRAP)" "it may also sign with message recovery (CKA_SIGN_RECOVER)"]`, 1},
	} {
		t.Run(name, func(t *testing.T) {
			q := newQuirky(t, test.rules...)
			s := writable(t, q.module, q.token)
			made, err := s.Generate(parse(t, "pkcs11:object=new;id=%77"), "ec:p256")
			if err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprintf("%q", made.Warnings); got != test.warnings {
				t.Errorf("warnings %s, want %s", got, test.warnings)
			}
			if n := q.Calls("C_Login"); n != test.logins {
				t.Errorf("%d logins, want %d", n, test.logins)
			}
			k, err := s.Key(t.Context(), made.URI, pkcs11.KeyOptions{})
			if err != nil {
				t.Fatal(err)
			}
			defer k.Close()
			if _, err := k.SignMessage(nil, []byte("message"), options(made.Public, crypto.SHA256)); err != nil {
				t.Error(err)
			}
		})
	}
}

// Nothing is made in a session that the token doesn't let write.
func TestWriteProtectedTokenRefusesTheSession(t *testing.T) {
	q := newQuirky(t, "read-only")
	_, err := mustToken(t, q.module, "pkcs11:token=testenv").Open(t.Context(), pkcs11.SessionOptions{PIN: noPIN(t), Write: true})
	if !pkcs11.IsKind(err, pkcs11.KindCall) || !strings.Contains(err.Error(), "C_OpenSession") {
		t.Errorf("error %v", err)
	}
}

func TestSessionLogsInOnceAndOut(t *testing.T) {
	q := newQuirky(t)
	s, err := mustToken(t, q.module, "pkcs11:token=testenv").Open(t.Context(), pkcs11.SessionOptions{PIN: pin(t, q.token.PIN)})
	if err != nil {
		t.Fatal(err)
	}
	k, err := s.Key(t.Context(), parse(t, "pkcs11:object=EC-256"), pkcs11.KeyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Close(); err != nil {
		t.Error(err)
	}
	keys(t, s, "pkcs11:") // the key has not logged out
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	for call, want := range map[string]int{"C_Login": 1, "C_Logout": 1, "C_OpenSession": 2, "C_CloseSession": 2} {
		if n := q.Calls(call); n != want {
			t.Errorf("%s was called %d times, want %d", call, n, want)
		}
	}
}

func TestCertificateThatIsOnlySaidToBeStored(t *testing.T) {
	q := newQuirky(t, "C_CreateObject rv 0x0")
	pki, err := testenv.NewPKI()
	if err != nil {
		t.Fatal(err)
	}
	chain, err := pki.Chain(q.token.Key("EC-256").Public)
	if err != nil {
		t.Fatal(err)
	}
	s := writable(t, q.module, q.token)
	k, err := s.Key(t.Context(), parse(t, "pkcs11:object=EC-256"), pkcs11.KeyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	if _, err := s.Import(k, chain); !pkcs11.IsKind(err, pkcs11.KindAnswer) {
		t.Errorf("error %v", err)
	}
}

// What an interrupted generation leaves is said to be what it is.
func TestHalfAPairIsNamed(t *testing.T) {
	q := newQuirky(t, "hide private")
	s := writable(t, q.module, q.token)
	_, err := s.Generate(parse(t, "pkcs11:object=EC-256"), "ec:p256")
	if !pkcs11.IsKind(err, pkcs11.KindExists) || !strings.Contains(err.Error(), "a public key with this object=…, without a private one") {
		t.Errorf("error %v", err)
	}
}
