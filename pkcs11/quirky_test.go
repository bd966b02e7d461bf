// SPDX-License-Identifier: Apache-2.0

//go:build linux

package pkcs11_test

import (
	"crypto"
	"slices"
	"testing"

	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
	"github.com/notation-pkcs11/notation-pkcs11/testenv"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/faults"
)

// Values of the PKCS#11 specification, as rules write them.
const (
	rsaPSS       = "0xd"
	rsaX509      = "0x3"
	sha256PSS    = "0x43"
	ecdsaDigest  = "0x1041"
	ecdsaSHA256  = "0x1044"
	aesCBC       = "0x1082"
	hashSHA256   = "0x250"
	attrModulus  = "0x120"
	attrSign     = "0x108"
	attrAllowed  = "0x40000600"
	flagLogin    = "0x4"
	flagPINPad   = "0x100"
	flagFinalTry = "0x20000"
	flagLocked   = "0x40000"
)

// quirky is a SoftHSM token behind a module with rules of its own.
type quirky struct {
	*faults.Module
	module *pkcs11.Module
	token  *testenv.Token
}

func newQuirky(t *testing.T, rules ...string) *quirky {
	t.Helper()
	hsm := testenv.Start(t, testenv.NewSoftHSM)
	token, err := hsm.AddStandardToken()
	if err != nil {
		t.Fatal(err)
	}
	m, err := faults.New(t.TempDir(), hsm.Module, rules...)
	if err != nil {
		t.Fatal(err)
	}
	q := &quirky{Module: m, token: token}
	t.Cleanup(func() { q.checkClosed(t) }) // after the module was closed
	q.module = load(t, m.Path, append(hsm.Env(), m.Env()...)...)
	return q
}

// checkClosed checks that what was opened was closed.
func (q *quirky) checkClosed(t *testing.T) {
	journal, err := q.Journal()
	if err != nil {
		t.Error(err)
	}
	open := map[string]int{}
	for _, call := range journal {
		switch call.Name {
		case "C_OpenSession", "C_FindObjectsInit":
			if call.RV == 0 {
				open[call.Name]++
			}
		case "C_CloseSession":
			open["C_OpenSession"]--
		case "C_FindObjectsFinal":
			open["C_FindObjectsInit"]--
		}
	}
	for name, n := range open {
		if n > 0 {
			t.Errorf("%d of %s were not undone", n, name)
		}
	}
}

// sequence lists the calls, in order, of those that are named.
func (q *quirky) sequence(t *testing.T, names ...string) []string {
	t.Helper()
	journal, err := q.Journal()
	if err != nil {
		t.Fatal(err)
	}
	var calls []string
	for _, call := range journal {
		if slices.Contains(names, call.Name) {
			calls = append(calls, call.Name)
		}
	}
	return calls
}

// signWith opens a key of the standard token and signs.
func (q *quirky) signWith(t *testing.T, label string, o pkcs11.KeyOptions) error {
	t.Helper()
	k, err := openKey(t, q.module, "pkcs11:token=testenv;object="+label, o)
	if err != nil {
		return err
	}
	defer k.Close()
	signature, err := k.SignMessage(nil, []byte("message"), options(k.Public(), crypto.SHA256))
	if err == nil {
		checkSignature(t, k.Public(), crypto.SHA256, []byte("message"), signature)
	}
	return err
}
