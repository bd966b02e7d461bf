// SPDX-License-Identifier: Apache-2.0

package faults_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"slices"
	"sync"
	"testing"
	"unsafe"

	"github.com/miekg/pkcs11"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

func validPSS(key *testenv.Key, message, signature []byte) bool {
	sum := sha256.Sum256(message)
	return rsa.VerifyPSS(rsaKey(key), crypto.SHA256, sum[:], signature, nil) == nil
}

func TestTokenFlags(t *testing.T) {
	c := start(t, "token-flags +0x40000 -0x4", "token-flags +0x20000")
	info, err := c.GetTokenInfo(c.token.Slot)
	wantOK(t, "C_GetTokenInfo", err)
	if want := uint(pkcs11.CKF_USER_PIN_LOCKED | pkcs11.CKF_USER_PIN_FINAL_TRY); info.Flags&want != want {
		t.Errorf("flags are 0x%x, want 0x%x in them", info.Flags, want)
	}
	if info.Flags&pkcs11.CKF_LOGIN_REQUIRED != 0 {
		t.Errorf("flags are 0x%x, want no CKF_LOGIN_REQUIRED", info.Flags)
	}
	if info.Flags&pkcs11.CKF_TOKEN_INITIALIZED == 0 {
		t.Errorf("flags are 0x%x, want those of the token behind too", info.Flags)
	}
}

func TestReadOnlyToken(t *testing.T) {
	c := start(t, "read-only")
	_, err := c.OpenSession(c.token.Slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
	wantRV(t, "C_OpenSession", err, pkcs11.CKR_TOKEN_WRITE_PROTECTED)
	c.open()
	info, err := c.GetTokenInfo(c.token.Slot)
	wantOK(t, "C_GetTokenInfo", err)
	if info.Flags&pkcs11.CKF_WRITE_PROTECTED == 0 {
		t.Errorf("flags are 0x%x", info.Flags)
	}
}

func TestReadWriteOnlyToken(t *testing.T) {
	for rule, want := range map[string]pkcs11.Error{
		"read-write-only":     pkcs11.CKR_FUNCTION_FAILED,
		"read-write-only 0x7": pkcs11.CKR_ARGUMENTS_BAD,
	} {
		c := start(t, rule)
		_, err := c.OpenSession(c.token.Slot, pkcs11.CKF_SERIAL_SESSION)
		wantRV(t, "C_OpenSession", err, want)
		_, err = c.OpenSession(c.token.Slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
		wantOK(t, "C_OpenSession", err)
		wantOK(t, "C_Finalize", c.Finalize())
	}
}

func TestMaxSessions(t *testing.T) {
	c := start(t, "max-sessions 2")
	first := c.open()
	c.open()
	_, err := c.OpenSession(c.token.Slot, pkcs11.CKF_SERIAL_SESSION)
	wantRV(t, "third C_OpenSession", err, pkcs11.CKR_SESSION_COUNT)
	wantOK(t, "C_CloseSession", c.CloseSession(first))
	c.open()
	wantOK(t, "C_CloseAllSessions", c.CloseAllSessions(c.token.Slot))
	c.open()
	c.open()
}

func TestSessionsDie(t *testing.T) {
	c := start(t, "sessions-die 2")
	for round := range 2 {
		first, second := c.openLoggedIn(), c.open()
		key := c.privateKey(first, "EC-256")
		for _, session := range []pkcs11.SessionHandle{first, second} {
			signature, err := c.sign(session, key, ecdsaDigest, digest)
			wantOK(t, "C_Sign", err)
			if !validECDSA(c.token.Key("EC-256"), digest, signature) {
				t.Errorf("signature is %x", signature)
			}
		}
		for _, session := range []pkcs11.SessionHandle{first, second} {
			_, err := c.sign(session, key, ecdsaDigest, digest)
			wantRV(t, fmt.Sprintf("round %d: C_SignInit in a dead session", round), err, pkcs11.CKR_SESSION_HANDLE_INVALID)
			_, err = c.GetSessionInfo(session)
			wantRV(t, "C_GetSessionInfo of a dead session", err, pkcs11.CKR_SESSION_HANDLE_INVALID)
		}
		_, err := c.sign(c.open(), key, ecdsaDigest, digest)
		wantRV(t, "C_SignInit before the new login", err, pkcs11.CKR_USER_NOT_LOGGED_IN)
		wantOK(t, "C_CloseAllSessions", c.CloseAllSessions(c.token.Slot))
	}
}

func TestSessionsDieUnderConcurrentUse(t *testing.T) {
	c := start(t, "sessions-die 50")
	first := c.openLoggedIn()
	key := c.privateKey(first, "EC-256")
	sessions := []pkcs11.SessionHandle{first, c.open(), c.open(), c.open()}
	signed := make([]int, len(sessions))
	var group sync.WaitGroup
	for i, session := range sessions {
		group.Go(func() {
			for {
				if _, err := c.sign(session, key, ecdsaDigest, digest); err != nil {
					wantRV(t, "C_Sign", err, pkcs11.CKR_SESSION_HANDLE_INVALID)
					return
				}
				signed[i]++
			}
		})
	}
	group.Wait()
	total := 0
	for _, n := range signed {
		total += n
	}
	if total != 50 {
		t.Errorf("%d signatures %v, want 50", total, signed)
	}
}

func TestSlotListFirst(t *testing.T) {
	c := load(t, "slot-list-first")
	wantOK(t, "C_Initialize", c.Initialize())
	defer c.Finalize()
	_, err := c.GetTokenInfo(c.token.Slot)
	wantRV(t, "C_GetTokenInfo", err, pkcs11.CKR_SLOT_ID_INVALID)
	_, err = c.GetMechanismList(c.token.Slot)
	wantRV(t, "C_GetMechanismList", err, pkcs11.CKR_SLOT_ID_INVALID)
	_, err = c.GetSlotList(true)
	wantOK(t, "C_GetSlotList", err)
	_, err = c.GetTokenInfo(c.token.Slot)
	wantOK(t, "C_GetTokenInfo", err)
}

func TestCantLock(t *testing.T) {
	c := load(t, "cant-lock")
	wantRV(t, "C_Initialize", c.Initialize(), pkcs11.CKR_CANT_LOCK)
	wantOK(t, "C_Initialize", c.Initialize(pkcs11.InitializeWithFlags(0)))
	defer c.Finalize()
	c.openLoggedIn()
}

func TestNeedInitArgs(t *testing.T) {
	c := load(t, "need-init-args configdir='sql:/etc/pki' flags=readOnly")
	with := func(text string) pkcs11.InitializeOption {
		return pkcs11.InitializeWithReserved(unsafe.Pointer(unsafe.StringData(text + "\x00")))
	}
	wantRV(t, "C_Initialize without", c.Initialize(), pkcs11.CKR_ARGUMENTS_BAD)
	wantRV(t, "C_Initialize with another", c.Initialize(with("configdir=")), pkcs11.CKR_ARGUMENTS_BAD)
	wantOK(t, "C_Initialize", c.Initialize(with("configdir='sql:/etc/pki' flags=readOnly")))
	defer c.Finalize()
}

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

func TestHiddenClasses(t *testing.T) {
	for class, rule := range map[uint]string{
		pkcs11.CKO_CERTIFICATE: "hide cert", pkcs11.CKO_PUBLIC_KEY: "hide public", pkcs11.CKO_PRIVATE_KEY: "hide private",
	} {
		c := start(t, rule)
		pki, err := testenv.NewPKI()
		if err != nil {
			t.Fatal(err)
		}
		key := c.token.Key("EC-256")
		chain, err := pki.Chain(key.Public)
		if err != nil {
			t.Fatal(err)
		}
		wantOK(t, "import", c.token.ImportCertificate(chain[0], key.Label, key.ID))
		// SoftHSM sees what another process stored when it is asked anew.
		wantOK(t, "C_Finalize", c.Finalize())
		wantOK(t, "C_Initialize", c.Initialize())
		session := c.openLoggedIn()
		for _, other := range []uint{pkcs11.CKO_CERTIFICATE, pkcs11.CKO_PUBLIC_KEY, pkcs11.CKO_PRIVATE_KEY} {
			if n := len(c.search(session, ofClass(other))); (n == 0) != (other == class) {
				t.Errorf("%s: %d objects of class %d", rule, n, other)
			}
		}
		for _, object := range c.search(session) {
			if bytes.HasPrefix(c.value(session, object, pkcs11.CKA_CLASS), []byte{byte(class)}) {
				t.Errorf("%s: a search for all objects finds one", rule)
			}
		}
		wantOK(t, "C_Finalize", c.Finalize())
	}
}

// Hidden objects come between others: a search in small steps must not end at
// them.
func TestHiddenObjectsDoNotEndASearch(t *testing.T) {
	c := start(t, "hide private")
	session := c.openLoggedIn()
	wantOK(t, "C_FindObjectsInit", c.FindObjectsInit(session, nil))
	found := 0
	for {
		objects, _, err := c.FindObjects(session, 1)
		wantOK(t, "C_FindObjects", err)
		if len(objects) == 0 {
			break
		}
		found++
	}
	if found != len(c.token.Keys) {
		t.Errorf("found %d objects one by one, want the %d public keys", found, len(c.token.Keys))
	}
}

func TestHideBeforeLogin(t *testing.T) {
	c := start(t, "hide-before-login")
	session := c.open()
	if n := len(c.search(session)); n != 0 {
		t.Errorf("%d objects before login", n)
	}
	wantOK(t, "C_Login", c.Login(session, pkcs11.CKU_USER, c.token.PIN))
	if n := len(c.search(session)); n != 2*len(c.token.Keys) {
		t.Errorf("%d objects after login", n)
	}
	wantOK(t, "C_Logout", c.Logout(session))
	if n := len(c.search(session)); n != 0 {
		t.Errorf("%d objects after logout", n)
	}
}

func TestHideIDSearch(t *testing.T) {
	c := start(t, "hide-id-search")
	session := c.openLoggedIn()
	key := c.token.Key("EC-256")
	id := pkcs11.NewAttribute(pkcs11.CKA_ID, key.ID)
	if n := len(c.search(session, ofClass(pkcs11.CKO_PRIVATE_KEY), id)); n != 0 {
		t.Errorf("%d objects by CKA_ID", n)
	}
	object := c.privateKey(session, "EC-256")
	if got := c.value(session, object, pkcs11.CKA_ID); !bytes.Equal(got, key.ID) {
		t.Errorf("CKA_ID reads %x, want %x", got, key.ID)
	}
}

func TestHideAttribute(t *testing.T) {
	c := start(t, "hide-attribute private 0x102")
	session := c.openLoggedIn()
	object := c.privateKey(session, "EC-256")
	_, err := c.GetAttributeValue(session, object, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_ID, nil)})
	wantRV(t, "C_GetAttributeValue", err, pkcs11.CKR_ATTRIBUTE_TYPE_INVALID)
	c.value(session, object, pkcs11.CKA_LABEL)

	id := c.token.Key("EC-256").ID
	public := c.key(session, pkcs11.CKO_PUBLIC_KEY, "EC-256")
	if got := c.value(session, public, pkcs11.CKA_ID); !bytes.Equal(got, id) {
		t.Errorf("CKA_ID of the public key is %x, want %x", got, id)
	}
	found := c.search(session, pkcs11.NewAttribute(pkcs11.CKA_ID, id))
	if !slices.Equal(found, []pkcs11.ObjectHandle{public}) {
		t.Errorf("a search by CKA_ID finds %v, want the public key %v", found, public)
	}
}

func TestSetAttribute(t *testing.T) {
	c := start(t, "set-attribute private 0x108 00", "set-attribute private 0x40000600 0d000000000000004110000000000000",
		"set-attribute public 0x102 c0ffee", "set-attribute public 0x3")
	session := c.openLoggedIn()
	private := c.privateKey(session, "EC-256")
	if got := c.value(session, private, pkcs11.CKA_SIGN); !bytes.Equal(got, []byte{0}) {
		t.Errorf("CKA_SIGN is %x", got)
	}
	if n := len(c.search(session, ofClass(pkcs11.CKO_PRIVATE_KEY), pkcs11.NewAttribute(pkcs11.CKA_SIGN, true))); n != 0 {
		t.Errorf("%d keys that sign", n)
	}
	allowed := c.value(session, private, pkcs11.CKA_ALLOWED_MECHANISMS)
	if got := unsafe.Slice((*uint)(unsafe.Pointer(&allowed[0])), len(allowed)/8); !slices.Equal(got, []uint{0xd, 0x1041}) {
		t.Errorf("CKA_ALLOWED_MECHANISMS is %x", got)
	}
	public := c.search(session, pkcs11.NewAttribute(pkcs11.CKA_ID, []byte{0xc0, 0xff, 0xee}))
	if len(public) != len(c.token.Keys) {
		t.Fatalf("a search by the new CKA_ID finds %d keys, want %d", len(public), len(c.token.Keys))
	}
	if got := c.value(session, public[0], pkcs11.CKA_LABEL); len(got) != 0 {
		t.Errorf("CKA_LABEL of a public key is %q", got)
	}
}

func TestFailAttribute(t *testing.T) {
	c := start(t, "fail-attribute private 0x40000600 0xffffffffffffffff")
	session := c.openLoggedIn()
	private := c.privateKey(session, "EC-256")
	_, err := c.GetAttributeValue(session, private, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_ALLOWED_MECHANISMS, nil)})
	wantRV(t, "C_GetAttributeValue", err, pkcs11.Error(^uint(0)))
	if got := c.value(session, private, pkcs11.CKA_LABEL); string(got) != "EC-256" {
		t.Errorf("CKA_LABEL is %q", got)
	}
}

func TestBirthAttribute(t *testing.T) {
	c := start(t, "birth-attribute private 0x103 00")
	session := c.openLoggedIn()
	if got := c.value(session, c.privateKey(session, "EC-256"), pkcs11.CKA_SENSITIVE); !bytes.Equal(got, []byte{1}) {
		t.Errorf("CKA_SENSITIVE is %x before", got)
	}
	_, private, err := c.GenerateKeyPair(session, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_EC_KEY_PAIR_GEN, nil)},
		[]*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_EC_PARAMS, []byte("\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07"))},
		[]*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, true)})
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		session pkcs11.SessionHandle
		want    byte
	}{"this": {session, 0}, "another": {c.open(), 1}} {
		if got := c.value(test.session, private, pkcs11.CKA_SENSITIVE); !bytes.Equal(got, []byte{test.want}) {
			t.Errorf("CKA_SENSITIVE is %x in %s session", got, name)
		}
	}
}

func TestRawECPoint(t *testing.T) {
	c := start(t, "ec-point raw")
	session := c.open()
	for _, label := range []string{"EC-256", "EC-384", "EC-521"} {
		key := c.token.Key(label).Public.(*ecdsa.PublicKey)
		want, err := key.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		got := c.value(session, c.key(session, pkcs11.CKO_PUBLIC_KEY, label), pkcs11.CKA_EC_POINT)
		if !bytes.Equal(got, want) {
			t.Errorf("%s: CKA_EC_POINT is %x, want %x", label, got, want)
		}
	}
}

func TestMechanisms(t *testing.T) {
	c := start(t, "mechanisms 0x1044,0xd")
	list, err := c.GetMechanismList(c.token.Slot)
	wantOK(t, "C_GetMechanismList", err)
	if len(list) != 2 || list[0].Mechanism != 0x1044 || list[1].Mechanism != 0xd {
		t.Errorf("mechanisms are %v", list)
	}
	session := c.openLoggedIn()
	_, err = c.sign(session, c.privateKey(session, "EC-256"), ecdsaDigest, digest)
	wantOK(t, "C_Sign with a mechanism that is not in the list", err)
}

func TestDenyMechanism(t *testing.T) {
	c := start(t, "deny-mechanism 0x1041", "deny-mechanism 0xd 0x63")
	session := c.openLoggedIn()
	_, err := c.sign(session, c.privateKey(session, "EC-256"), ecdsaDigest, digest)
	wantRV(t, "CKM_ECDSA", err, pkcs11.CKR_MECHANISM_INVALID)
	key := c.privateKey(session, "RSA-2048")
	_, err = c.sign(session, key, pss(pkcs11.CKM_RSA_PKCS_PSS, pkcs11.CKM_SHA256, pkcs11.CKG_MGF1_SHA256, 32), digest)
	wantRV(t, "CKM_RSA_PKCS_PSS", err, pkcs11.CKR_KEY_TYPE_INCONSISTENT)
	_, err = c.sign(session, key, pkcs11.NewMechanism(pkcs11.CKM_SHA256_RSA_PKCS, nil), message)
	wantOK(t, "another mechanism", err)
}

func TestPSSHash(t *testing.T) {
	c := start(t, "pss-hash 0x250")
	session := c.openLoggedIn()
	key := c.privateKey(session, "RSA-3072")
	_, err := c.sign(session, key, pss(pkcs11.CKM_RSA_PKCS_PSS, pkcs11.CKM_SHA384, pkcs11.CKG_MGF1_SHA384, 48), sum384(message))
	wantRV(t, "with SHA-384", err, pkcs11.CKR_MECHANISM_PARAM_INVALID)
	_, err = c.sign(session, key, pss(pkcs11.CKM_RSA_PKCS_PSS, pkcs11.CKM_SHA256, pkcs11.CKG_MGF1_SHA256, 32), digest)
	wantOK(t, "with SHA-256", err)
	_, err = c.sign(session, c.privateKey(session, "EC-256"), ecdsaDigest, digest)
	wantOK(t, "ECDSA", err)
}

func TestDenyAtSign(t *testing.T) {
	c := start(t, "deny-at-sign 0x1041 0x70")
	session := c.openLoggedIn()
	key := c.privateKey(session, "EC-256")
	mechanisms := []*pkcs11.Mechanism{ecdsaDigest}
	wantOK(t, "C_SignInit", c.SignInit(session, mechanisms, key))
	_, err := c.Sign(session, digest)
	wantRV(t, "C_Sign", err, pkcs11.CKR_MECHANISM_INVALID)
	wantRV(t, "C_SignInit after it", c.SignInit(session, mechanisms, key), pkcs11.CKR_OPERATION_ACTIVE)
	wantOK(t, "C_SignInit in another session", c.SignInit(c.open(), mechanisms, key))
}

func TestTokenThatSignsMessagesOnly(t *testing.T) {
	c := start(t, "message-pss", "deny-mechanism 0xd", "message-ecdsa", "deny-mechanism 0x1041")
	session := c.openLoggedIn()
	list, err := c.GetMechanismList(c.token.Slot)
	wantOK(t, "C_GetMechanismList", err)

	for _, test := range []struct {
		hash            crypto.Hash
		sum             []byte
		ckm, mgf        uint
		pss, ecdsa      uint
		rsaKey, ecdsaKy string
	}{
		{crypto.SHA256, digest, pkcs11.CKM_SHA256, pkcs11.CKG_MGF1_SHA256,
			pkcs11.CKM_SHA256_RSA_PKCS_PSS, pkcs11.CKM_ECDSA_SHA256, "RSA-2048", "EC-256"},
		{crypto.SHA384, sum384(message), pkcs11.CKM_SHA384, pkcs11.CKG_MGF1_SHA384,
			pkcs11.CKM_SHA384_RSA_PKCS_PSS, pkcs11.CKM_ECDSA_SHA384, "RSA-3072", "EC-384"},
		{crypto.SHA512, sum512(message), pkcs11.CKM_SHA512, pkcs11.CKG_MGF1_SHA512,
			pkcs11.CKM_SHA512_RSA_PKCS_PSS, pkcs11.CKM_ECDSA_SHA512, "RSA-4096", "EC-521"},
	} {
		signature, err := c.sign(session, c.privateKey(session, test.rsaKey), pss(test.pss, test.ckm, test.mgf, test.hash.Size()), message)
		wantOK(t, test.rsaKey, err)
		options := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}
		if err := rsa.VerifyPSS(rsaKey(c.token.Key(test.rsaKey)), test.hash, test.sum, signature, options); err != nil {
			t.Errorf("%s: %v", test.rsaKey, err)
		}
		signature, err = c.sign(session, c.privateKey(session, test.ecdsaKy), pkcs11.NewMechanism(test.ecdsa, nil), message)
		wantOK(t, test.ecdsaKy, err)
		if !validECDSA(c.token.Key(test.ecdsaKy), test.sum, signature) {
			t.Errorf("%s: signature is %x", test.ecdsaKy, signature)
		}
		for _, mechanism := range []uint{test.pss, test.ecdsa} {
			if !slices.ContainsFunc(list, func(m *pkcs11.Mechanism) bool { return m.Mechanism == mechanism }) {
				t.Errorf("mechanism 0x%x is not in the list", mechanism)
			}
			_, err := c.GetMechanismInfo(c.token.Slot, []*pkcs11.Mechanism{pkcs11.NewMechanism(mechanism, nil)})
			wantOK(t, "C_GetMechanismInfo", err)
		}
	}

	_, err = c.sign(session, c.privateKey(session, "EC-256"), ecdsaDigest, digest)
	wantRV(t, "CKM_ECDSA", err, pkcs11.CKR_MECHANISM_INVALID)
	wantOK(t, "C_SignInit", c.SignInit(session, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_ECDSA_SHA256, nil)},
		c.privateKey(session, "EC-256")))
	wantRV(t, "C_SignUpdate", c.SignUpdate(session, message), pkcs11.CKR_FUNCTION_NOT_SUPPORTED)
}

func sum384(data []byte) []byte { sum := sha512.Sum384(data); return sum[:] }
func sum512(data []byte) []byte { sum := sha512.Sum512(data); return sum[:] }
