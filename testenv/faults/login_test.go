// SPDX-License-Identifier: Apache-2.0

package faults_test

import (
	"bytes"
	"testing"

	"github.com/miekg/pkcs11"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

func TestPINPad(t *testing.T) {
	c := start(t, "pin-pad "+testenv.UserPIN)
	info, err := c.GetTokenInfo(c.token.Slot)
	wantOK(t, "C_GetTokenInfo", err)
	if info.Flags&pkcs11.CKF_PROTECTED_AUTHENTICATION_PATH == 0 {
		t.Errorf("flags are 0x%x", info.Flags)
	}
	session := c.open()
	wantOK(t, "C_Login", c.Login(session, pkcs11.CKU_USER, "")) // which the binding makes NULL
	c.privateKey(session, "EC-256")
}

func TestPINPadWithTheWrongPIN(t *testing.T) {
	c := start(t, "pin-pad wrong PIN")
	wantRV(t, "C_Login", c.Login(c.open(), pkcs11.CKU_USER, ""), pkcs11.CKR_PIN_INCORRECT)
}

func TestUserType(t *testing.T) {
	c := start(t, "user-type 0x80000001")
	session := c.open()
	wantRV(t, "C_Login", c.Login(session, pkcs11.CKU_USER, c.token.PIN), pkcs11.CKR_USER_TYPE_INVALID)
	wantRV(t, "C_Login", c.Login(session, 0x80000001, "wrong"), pkcs11.CKR_PIN_INCORRECT)
	wantOK(t, "C_Login", c.Login(session, 0x80000001, c.token.PIN))
	c.privateKey(session, "EC-256")
}

func TestNoLogin(t *testing.T) {
	c := start(t, "no-login "+testenv.UserPIN)
	info, err := c.GetTokenInfo(c.token.Slot)
	wantOK(t, "C_GetTokenInfo", err)
	if info.Flags&pkcs11.CKF_LOGIN_REQUIRED != 0 {
		t.Errorf("flags are 0x%x", info.Flags)
	}
	for _, session := range []pkcs11.SessionHandle{c.open(), c.open()} {
		wantRV(t, "C_Login", c.Login(session, pkcs11.CKU_USER, c.token.PIN), pkcs11.CKR_FUNCTION_FAILED)
		_, err := c.sign(session, c.privateKey(session, "EC-256"), ecdsaDigest, digest)
		wantOK(t, "C_Sign", err)
	}
}

func TestAlwaysAuthenticate(t *testing.T) {
	c := start(t, "always-authenticate 4711")
	main, other := c.openLoggedIn(), c.open()
	key := c.privateKey(main, "EC-256")
	if value := c.value(main, key, pkcs11.CKA_ALWAYS_AUTHENTICATE); !bytes.Equal(value, []byte{1}) {
		t.Errorf("CKA_ALWAYS_AUTHENTICATE of the private key is %x", value)
	}

	initialise := func(session pkcs11.SessionHandle) error {
		return c.SignInit(session, []*pkcs11.Mechanism{ecdsaDigest}, key)
	}
	login := func(session pkcs11.SessionHandle) error { return c.Login(session, pkcs11.CKU_CONTEXT_SPECIFIC, "4711") }
	// Each runs in a session of its own: a signature that failed leaves its
	// operation active.
	for _, test := range []struct {
		name string
		do   func(session pkcs11.SessionHandle) error // between opening the session and C_Sign
		want pkcs11.Error
	}{
		{"login in its place", func(s pkcs11.SessionHandle) error {
			wantOK(t, "C_SignInit", initialise(s))
			return login(s)
		}, pkcs11.CKR_OK},
		{"no login", initialise, pkcs11.CKR_USER_NOT_LOGGED_IN},
		{"wrong PIN", func(s pkcs11.SessionHandle) error {
			wantOK(t, "C_SignInit", initialise(s))
			wantRV(t, "C_Login", c.Login(s, pkcs11.CKU_CONTEXT_SPECIFIC, c.token.PIN), pkcs11.CKR_PIN_INCORRECT)
			return nil
		}, pkcs11.CKR_USER_NOT_LOGGED_IN},
		{"login before C_SignInit", func(s pkcs11.SessionHandle) error {
			wantRV(t, "C_Login", login(s), pkcs11.CKR_OPERATION_NOT_INITIALIZED)
			return initialise(s)
		}, pkcs11.CKR_USER_NOT_LOGGED_IN},
		{"right PIN after a wrong one", func(s pkcs11.SessionHandle) error {
			wantOK(t, "C_SignInit", initialise(s))
			wantRV(t, "C_Login", c.Login(s, pkcs11.CKU_CONTEXT_SPECIFIC, c.token.PIN), pkcs11.CKR_PIN_INCORRECT)
			return login(s)
		}, pkcs11.CKR_USER_NOT_LOGGED_IN},
		{"a call before the login", func(s pkcs11.SessionHandle) error {
			wantOK(t, "C_SignInit", initialise(s))
			_, err := c.GetTokenInfo(c.token.Slot)
			wantOK(t, "C_GetTokenInfo", err)
			return login(s)
		}, pkcs11.CKR_USER_NOT_LOGGED_IN},
		{"a call after the login", func(s pkcs11.SessionHandle) error {
			wantOK(t, "C_SignInit", initialise(s))
			wantOK(t, "C_Login", login(s))
			_, err := c.GetTokenInfo(c.token.Slot)
			return err
		}, pkcs11.CKR_USER_NOT_LOGGED_IN},
		{"a call in another session", func(s pkcs11.SessionHandle) error {
			wantOK(t, "C_SignInit", initialise(s))
			wantOK(t, "C_Login", login(s))
			_, err := c.GetSessionInfo(other)
			return err
		}, pkcs11.CKR_USER_NOT_LOGGED_IN},
		{"C_SignInit in another session", func(s pkcs11.SessionHandle) error {
			wantOK(t, "C_SignInit", initialise(s))
			wantOK(t, "C_Login", login(s))
			return initialise(other) // which goes on signing, in the cases that follow
		}, pkcs11.CKR_USER_NOT_LOGGED_IN},
		{"C_SignInit that fails in another session", func(s pkcs11.SessionHandle) error {
			wantOK(t, "C_SignInit", initialise(s))
			wantOK(t, "C_Login", login(s))
			wantRV(t, "second C_SignInit in another session", initialise(other), pkcs11.CKR_OPERATION_ACTIVE)
			return nil
		}, pkcs11.CKR_USER_NOT_LOGGED_IN},
		{"C_Login in another session", func(s pkcs11.SessionHandle) error {
			wantOK(t, "C_SignInit", initialise(s))
			return login(other)
		}, pkcs11.CKR_USER_NOT_LOGGED_IN},
		{"C_Sign in another session", func(s pkcs11.SessionHandle) error {
			wantOK(t, "C_SignInit", initialise(s))
			wantOK(t, "C_Login", login(s))
			_, err := c.Sign(other, digest)
			wantRV(t, "C_Sign in another session", err, pkcs11.CKR_USER_NOT_LOGGED_IN)
			return nil
		}, pkcs11.CKR_USER_NOT_LOGGED_IN},
	} {
		t.Run(test.name, func(t *testing.T) {
			session := c.open()
			wantOK(t, "before C_Sign", test.do(session))
			signature, err := c.Sign(session, digest)
			if test.want == pkcs11.CKR_OK {
				wantOK(t, "C_Sign", err)
				if !validECDSA(c.token.Key("EC-256"), digest, signature) {
					t.Errorf("signature is %x", signature)
				}
			} else {
				wantRV(t, "C_Sign", err, test.want)
			}
		})
	}

	t.Run("one login for two signatures", func(t *testing.T) {
		session := c.open()
		wantOK(t, "C_SignInit", initialise(session))
		wantOK(t, "C_Login", login(session))
		_, err := c.Sign(session, digest)
		wantOK(t, "C_Sign", err)
		_, err = c.sign(session, key, ecdsaDigest, digest)
		wantRV(t, "second C_Sign", err, pkcs11.CKR_USER_NOT_LOGGED_IN)
		wantRV(t, "C_SignInit after it", initialise(session), pkcs11.CKR_OPERATION_ACTIVE)
	})
	t.Run("multi-part", func(t *testing.T) {
		session := c.open()
		mechanism := pkcs11.NewMechanism(pkcs11.CKM_SHA256_RSA_PKCS, nil)
		wantOK(t, "C_SignInit", c.SignInit(session, []*pkcs11.Mechanism{mechanism}, c.privateKey(session, "RSA-2048")))
		wantOK(t, "C_Login", login(session))
		wantRV(t, "C_SignUpdate", c.SignUpdate(session, message), pkcs11.CKR_FUNCTION_NOT_SUPPORTED)
		_, err := c.SignFinal(session)
		wantRV(t, "C_SignFinal", err, pkcs11.CKR_FUNCTION_NOT_SUPPORTED)
	})
}
