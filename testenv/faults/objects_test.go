// SPDX-License-Identifier: Apache-2.0

package faults_test

import (
	"bytes"
	"crypto/ecdsa"
	"slices"
	"testing"
	"unsafe"

	"github.com/miekg/pkcs11"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

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
