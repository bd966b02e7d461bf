// SPDX-License-Identifier: Apache-2.0

//go:build linux

package host_test

import (
	"context"
	"strings"
	"testing"

	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
	"github.com/notation-pkcs11/notation-pkcs11/pkcs11/host"
)

// after are the calls that come when the signature is made.
var after = []string{"C_Logout", "C_CloseSession", "C_Finalize", "unload"}

func TestSigningLeavesNothing(t *testing.T) {
	f := newFixture(t)
	leavesNothing(t, func() {
		if err := sign(t.Context(), config(f.Path)); err != nil {
			t.Error(err)
		}
	})
	if n := f.Calls("C_Finalize"); n != 2 {
		t.Errorf("C_Finalize was called %d times for 2 signatures", n)
	}
}

// Neither an error nor a signature is lost when the module can't be closed. One
// that hangs is waited for until it does.
func TestCleanupDoesNotHideWhatCameBefore(t *testing.T) {
	for _, action := range []string{"crash", "hang", "rv 0x30"} {
		for _, call := range after {
			if call == "unload" && action == "rv 0x30" {
				continue // returns nothing
			}
			t.Run(action+" "+call, func(t *testing.T) {
				f := newFixture(t, call+" "+action)
				config := func() host.Config {
					c := config(f.Path)
					if action == "hang" {
						before := f.Calls(call)
						c.CloseUntil(expiresWhen(t, func() bool { return f.Calls(call) > before }))
					}
					return c
				}
				wrong := config()
				wrong.PIN = func(context.Context, pkcs11.TokenInfo) (pkcs11.PIN, error) {
					return pkcs11.NewPIN([]byte("wrong-pin")), nil
				}
				if err := sign(t.Context(), wrong); err == nil || !strings.Contains(err.Error(), "C_Login: CKR_PIN_INCORRECT") {
					t.Errorf("error %v", err)
				}
				public := config()
				public.PublicOnly = true
				k, err := host.Open(t.Context(), public)
				if err != nil {
					t.Fatal(err)
				}
				k.Close()
				if err := sign(t.Context(), config()); err != nil {
					t.Errorf("signature: error %v", err)
				}
				calls := 3
				if call == "C_Logout" {
					calls = 1 // without a login there is none
				}
				if n := f.Calls(call); n != calls {
					t.Errorf("%d times %s, want %d", n, call, calls)
				}
				if left := children(t); len(left) > 0 {
					t.Errorf("processes are left: %v", left)
				}
			})
		}
	}
}
