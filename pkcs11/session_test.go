// SPDX-License-Identifier: Apache-2.0

//go:build linux

package pkcs11_test

import (
	"crypto"
	"slices"
	"sync"
	"testing"

	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
)

func TestLostSessionsAreReplaced(t *testing.T) {
	q := newQuirky(t, "sessions-die 2")
	k := mustOpenKey(t, q.module, "pkcs11:token=testenv;object=EC-256", pkcs11.KeyOptions{PIN: pin(t, q.token.PIN), Sessions: 2})
	for range 9 {
		if _, err := k.SignMessage(nil, []byte("message"), crypto.SHA256); err != nil {
			t.Fatal(err)
		}
	}
	if n := q.Calls("C_Login"); n < 2 {
		t.Errorf("%d logins: the sessions didn't die", n)
	}
}

// signBeside has six sign beside each other, each so many times.
func signBeside(t *testing.T, k *pkcs11.Key, times int) {
	t.Helper()
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			for range times {
				if _, err := k.SignMessage(nil, []byte("message"), crypto.SHA256); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func TestFewSessionsMeanFewerAtOnce(t *testing.T) {
	q := newQuirky(t, "max-sessions 2", "C_Sign delay 10") // so that they overlap
	k := mustOpenKey(t, q.module, "pkcs11:token=testenv;object=EC-256", pkcs11.KeyOptions{PIN: pin(t, q.token.PIN), Sessions: 6})
	signBeside(t, k, 5)
}

// One session more that can't be had, whatever the module says, is done without.
func TestSessionThatIsRefusedBesideOthersFailsNothing(t *testing.T) {
	for name, rules := range map[string][]string{
		"CKR_SESSION_COUNT":        {"C_OpenSession#2 rv 0xb1"},
		"CKR_DEVICE_MEMORY":        {"C_OpenSession#2 rv 0x31"},
		"CKR_GENERAL_ERROR, twice": {"C_OpenSession#2 rv 0x5", "C_OpenSession#3 rv 0x5"}, // a read-write one, too
	} {
		t.Run(name, func(t *testing.T) {
			q := newQuirky(t, append(rules, "C_Sign delay 10")...) // so that they overlap
			k := mustOpenKey(t, q.module, "pkcs11:token=testenv;object=EC-256", pkcs11.KeyOptions{PIN: pin(t, q.token.PIN), Sessions: 6})
			signBeside(t, k, 1)
		})
	}
}

// What a token states is not tried.
func TestNoMoreSessionsThanTheTokenStates(t *testing.T) {
	q := newQuirky(t, "states-sessions 2", "C_Sign delay 10")
	k := mustOpenKey(t, q.module, "pkcs11:token=testenv;object=EC-256", pkcs11.KeyOptions{PIN: pin(t, q.token.PIN), Sessions: 6})
	signBeside(t, k, 1)
	if n := q.Calls("C_OpenSession"); n > 2 {
		t.Errorf("%d sessions were opened", n)
	}
	if n := k.AtOnce(); n != 2 {
		t.Errorf("%d signatures are of use at once", n)
	}
}

func TestModuleThatCanNotLockIsCalledFromOneThread(t *testing.T) {
	q := newQuirky(t, "cant-lock") // which aborts when calls overlap
	k := mustOpenKey(t, q.module, "pkcs11:token=testenv;object=EC-256", pkcs11.KeyOptions{PIN: pin(t, q.token.PIN), Sessions: 4})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 5 {
				if _, err := k.SignMessage(nil, []byte("message"), crypto.SHA256); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func TestKeyLeavesNothingOpen(t *testing.T) {
	q := newQuirky(t)
	if err := q.signWith(t, "RSA-2048", pkcs11.KeyOptions{PIN: pin(t, q.token.PIN)}); err != nil {
		t.Fatal(err)
	}
	got := q.sequence(t, "C_OpenSession", "C_Login", "C_SignInit", "C_Sign", "C_Logout", "C_CloseSession")
	want := []string{"C_OpenSession", "C_Login", "C_SignInit", "C_Sign", "C_Logout", "C_CloseSession"}
	if !slices.Equal(got, want) {
		t.Errorf("calls %v, want %v", got, want)
	}
}
