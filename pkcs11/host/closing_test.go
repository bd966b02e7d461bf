// SPDX-License-Identifier: Apache-2.0

//go:build linux

package host_test

import (
	"context"
	"strings"
	"testing"
	"time"

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

func TestCleanupDoesNotHideTheError(t *testing.T) {
	for _, action := range []string{"crash", "hang", "rv 0x30"} {
		for _, call := range after {
			if call == "unload" && action == "rv 0x30" {
				continue // returns nothing
			}
			t.Run(action+" "+call, func(t *testing.T) {
				f := newFixture(t, call+" "+action)
				c := config(f.Path)
				c.PIN = func(context.Context, pkcs11.TokenInfo) (pkcs11.PIN, error) {
					return pkcs11.NewPIN([]byte("wrong-pin")), nil
				}
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
				defer cancel()
				if err := sign(ctx, c); err == nil || !strings.Contains(err.Error(), "C_Login: CKR_PIN_INCORRECT") {
					t.Errorf("error %v", err)
				}
				c = config(f.Path)
				c.PublicOnly = true
				ctx, cancel = context.WithTimeout(t.Context(), 3*time.Second)
				defer cancel()
				k, err := host.Open(ctx, c)
				if err != nil {
					t.Fatal(err)
				}
				k.Close()
				if left := children(t); len(left) > 0 {
					t.Errorf("processes are left: %v", left)
				}
			})
		}
	}
}
