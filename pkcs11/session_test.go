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

func TestFewSessionsMeanFewerAtOnce(t *testing.T) {
	q := newQuirky(t, "max-sessions 2", "C_Sign delay 10") // so that they overlap
	k := mustOpenKey(t, q.module, "pkcs11:token=testenv;object=EC-256", pkcs11.KeyOptions{PIN: pin(t, q.token.PIN), Sessions: 6})
	var wg sync.WaitGroup
	for range 6 {
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
