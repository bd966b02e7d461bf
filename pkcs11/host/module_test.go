// SPDX-License-Identifier: Apache-2.0

//go:build linux

package host_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/sha256"
	"strings"
	"testing"

	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
	"github.com/notation-pkcs11/notation-pkcs11/pkcs11/host"
	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

// administer takes every step of a Module, and changes the token.
func administer(ctx context.Context, c host.Config, chains *testenv.PKI) error {
	m, _, err := host.Load(ctx, c)
	if err != nil {
		return err
	}
	defer m.Close()
	if _, err := m.Survey(ctx); err != nil {
		return err
	}
	if _, err := m.Token(ctx); err != nil {
		return err
	}
	if err := m.Login(ctx, true); err != nil {
		return err
	}
	if _, err := m.Keys(ctx); err != nil && !pkcs11.IsKind(err, pkcs11.KindNoKey) { // it is not there yet
		return err
	}
	if _, err := m.Generate(ctx, "ec:p256"); err != nil {
		return err
	}
	k, err := m.Key(ctx)
	if err != nil {
		return err
	}
	chain, err := chains.Chain(k.Public())
	if err != nil {
		return err
	}
	_, err = m.Import(ctx, chain)
	return err
}

// newKey is a configuration for a key that is not on the token yet.
func newKey(module string) host.Config {
	c := config(module)
	c.URI = c.URI.With(pkcs11.AttrObject, "new")
	return c
}

func newPKI(t *testing.T) *testenv.PKI {
	t.Helper()
	pki, err := testenv.NewPKI()
	if err != nil {
		t.Fatal(err)
	}
	return pki
}

func TestModuleGoesStepByStep(t *testing.T) {
	f := newFixture(t, "C_GenerateKeyPair noise", "C_CreateObject noise")
	m, info, err := host.Load(t.Context(), config(f.Path))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if info.Manufacturer == "" || info.Version == "" {
		t.Errorf("module %+v", info)
	}
	if _, err := m.Key(t.Context()); !pkcs11.IsKind(err, pkcs11.KindClosed) {
		t.Errorf("a key before a login: %v", err)
	}
	without, err := m.Keys(t.Context())
	if err != nil || len(without) != 1 || without[0].LoggedIn || len(without[0].Keys) > 0 {
		t.Errorf("without a login: %v, %v", without, err)
	}
	if token, err := m.Token(t.Context()); err != nil || token.Label != "testenv" {
		t.Fatalf("token %v, %v", token, err)
	}
	if err := m.Login(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	with, err := m.Keys(t.Context())
	if err != nil || len(with) != 1 || !with[0].LoggedIn || len(with[0].Keys) != 1 {
		t.Fatalf("with a login: %v, %v", with, err)
	}
	if key := with[0].Keys[0]; key.Type != "EC-256" || key.Problem != nil || !f.token.Key("EC-256").Public.(*ecdsa.PublicKey).Equal(key.Public) {
		t.Errorf("key %+v", key)
	}
	k, err := m.Key(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if mechanisms, err := k.Mechanisms(t.Context(), crypto.SHA256); err != nil || mechanisms[0] != "CKM_ECDSA" {
		t.Errorf("mechanisms %v, %v", mechanisms, err)
	}
	if err := k.Close(); err != nil { // nothing: the module closes it
		t.Error(err)
	}
	signature, err := k.SignMessage(t.Context(), []byte("message"), crypto.SHA256)
	digest := sha256.Sum256([]byte("message"))
	if err != nil || !ecdsa.VerifyASN1(k.Public().(*ecdsa.PublicKey), digest[:], signature) {
		t.Errorf("signature %x, %v", signature, err)
	}
	if n := f.Calls("C_Login"); n != 1 {
		t.Errorf("%d logins", n)
	}
}

func TestAdministrationLeavesNothing(t *testing.T) {
	f := newFixture(t)
	pki := newPKI(t)
	names := []string{"first", "second"}
	leavesNothing(t, func() {
		c := newKey(f.Path)
		c.URI = c.URI.With(pkcs11.AttrObject, names[0])
		names = names[1:]
		if err := administer(t.Context(), c, pki); err != nil {
			t.Error(err)
		}
	})
	for call, other := range map[string]string{"C_OpenSession": "C_CloseSession", "C_Login": "C_Logout", "C_Initialize": "C_Finalize"} {
		if n, m := f.Calls(call), f.Calls(other); n == 0 || n != m {
			t.Errorf("%d times %s, %d times %s", n, call, m, other)
		}
	}
}

func TestHangAndDeathWhileTheTokenIsChanged(t *testing.T) {
	for _, call := range []string{"C_GetInfo", "C_GetSlotInfo", "C_GenerateKeyPair", "C_CreateObject"} {
		t.Run("hang "+call, func(t *testing.T) {
			f := newFixture(t, call+" hang")
			ctx := expiresWhen(t, func() bool { return f.Calls(call) > 0 })
			err := administer(ctx, newKey(f.Path), newPKI(t))
			if !pkcs11.IsKind(err, pkcs11.KindTimeout) || !strings.Contains(err.Error(), call) {
				t.Errorf("error %v", err)
			}
			if left := children(t); len(left) > 0 {
				t.Errorf("processes are left: %v", left)
			}
		})
		t.Run("crash "+call, func(t *testing.T) {
			f := newFixture(t, call+" crash")
			err := administer(t.Context(), newKey(f.Path), newPKI(t))
			if !pkcs11.IsKind(err, pkcs11.KindCrash) || !strings.Contains(err.Error(), "in "+call) || !strings.Contains(err.Error(), f.Path) {
				t.Errorf("error %v", err)
			}
			if left := children(t); len(left) > 0 {
				t.Errorf("processes are left: %v", left)
			}
		})
	}
}
