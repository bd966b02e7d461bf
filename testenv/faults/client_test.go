// SPDX-License-Identifier: Apache-2.0

package faults_test

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"math/big"
	"strings"
	"testing"

	"github.com/miekg/pkcs11"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/faults"
)

// client uses the module in the test's own process.
type client struct {
	*pkcs11.Ctx
	t      *testing.T
	module *faults.Module
	token  *testenv.Token
}

// newModule makes a module in front of a new standard token.
func newModule(t *testing.T, rules ...string) (*faults.Module, *testenv.Token) {
	t.Helper()
	token, err := testenv.Start(t, testenv.NewSoftHSM).AddStandardToken()
	if err != nil {
		t.Fatal(err)
	}
	module, err := faults.New(t.TempDir(), token.Store.Module, rules...)
	if err != nil {
		t.Fatal(err)
	}
	return module, token
}

// load loads the module, which takes its rules from the environment of the
// process: so tests that load it can't run at the same time.
func load(t *testing.T, rules ...string) *client {
	t.Helper()
	module, token := newModule(t, rules...)
	for _, variable := range append(module.Env(), token.Env()...) {
		name, value, _ := strings.Cut(variable, "=")
		t.Setenv(name, value)
	}
	ctx := pkcs11.New(module.Path)
	if ctx == nil {
		t.Fatalf("can't load %s", module.Path)
	}
	t.Cleanup(ctx.Destroy)
	return &client{Ctx: ctx, t: t, module: module, token: token}
}

// start loads and initialises the module.
func start(t *testing.T, rules ...string) *client {
	t.Helper()
	c := load(t, rules...)
	if err := c.Initialize(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Finalize() }) // some tests do it first
	if _, err := c.GetSlotList(true); err != nil {
		t.Fatal(err)
	}
	return c
}

// open opens a read-only session.
func (c *client) open() pkcs11.SessionHandle {
	c.t.Helper()
	session, err := c.OpenSession(c.token.Slot, pkcs11.CKF_SERIAL_SESSION)
	if err != nil {
		c.t.Fatal(err)
	}
	return session
}

// openLoggedIn opens a read-only session and logs in.
func (c *client) openLoggedIn() pkcs11.SessionHandle {
	c.t.Helper()
	session := c.open()
	if err := c.Login(session, pkcs11.CKU_USER, c.token.PIN); err != nil {
		c.t.Fatal(err)
	}
	return session
}

// search returns the objects that have all the attributes.
func (c *client) search(session pkcs11.SessionHandle, template ...*pkcs11.Attribute) []pkcs11.ObjectHandle {
	c.t.Helper()
	if err := c.FindObjectsInit(session, template); err != nil {
		c.t.Fatal(err)
	}
	objects, _, err := c.FindObjects(session, 100)
	if err != nil {
		c.t.Fatal(err)
	}
	if err := c.FindObjectsFinal(session); err != nil {
		c.t.Fatal(err)
	}
	return objects
}

// key returns a key of the standard token, by class and label.
func (c *client) key(session pkcs11.SessionHandle, class uint, label string) pkcs11.ObjectHandle {
	c.t.Helper()
	found := c.search(session, ofClass(class), pkcs11.NewAttribute(pkcs11.CKA_LABEL, label))
	if len(found) != 1 {
		c.t.Fatalf("%d objects of class %d have the label %s, want 1", len(found), class, label)
	}
	return found[0]
}

func (c *client) privateKey(session pkcs11.SessionHandle, label string) pkcs11.ObjectHandle {
	c.t.Helper()
	return c.key(session, pkcs11.CKO_PRIVATE_KEY, label)
}

// value returns one attribute of an object.
func (c *client) value(session pkcs11.SessionHandle, object pkcs11.ObjectHandle, attribute uint) []byte {
	c.t.Helper()
	got, err := c.GetAttributeValue(session, object, []*pkcs11.Attribute{pkcs11.NewAttribute(attribute, nil)})
	if err != nil {
		c.t.Fatalf("attribute 0x%x: %v", attribute, err)
	}
	return got[0].Value
}

// sign signs a digest with ECDSA or a message with a mechanism that hashes.
func (c *client) sign(session pkcs11.SessionHandle, key pkcs11.ObjectHandle, mechanism *pkcs11.Mechanism,
	data []byte) ([]byte, error) {
	if err := c.SignInit(session, []*pkcs11.Mechanism{mechanism}, key); err != nil {
		return nil, err
	}
	return c.Sign(session, data)
}

var (
	message     = []byte("a message to sign")
	digest      = func() []byte { sum := sha256.Sum256(message); return sum[:] }()
	ecdsaDigest = pkcs11.NewMechanism(pkcs11.CKM_ECDSA, nil)
)

func ofClass(class uint) *pkcs11.Attribute {
	return pkcs11.NewAttribute(pkcs11.CKA_CLASS, class)
}

func pss(mechanism, hash, mgf uint, salt int) *pkcs11.Mechanism {
	return pkcs11.NewMechanism(mechanism, pkcs11.NewPSSParams(hash, mgf, uint(salt)))
}

// validECDSA reports whether r||s is a signature of a digest.
func validECDSA(key *testenv.Key, digest, signature []byte) bool {
	half := len(signature) / 2
	r, s := new(big.Int).SetBytes(signature[:half]), new(big.Int).SetBytes(signature[half:])
	return len(signature)%2 == 0 && ecdsa.Verify(key.Public.(*ecdsa.PublicKey), digest, r, s)
}

func rsaKey(key *testenv.Key) *rsa.PublicKey { return key.Public.(*rsa.PublicKey) }

// wantRV fails the test unless a call returned this value.
func wantRV(t *testing.T, what string, err error, want pkcs11.Error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

func wantOK(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Errorf("%s: %v", what, err)
	}
}
