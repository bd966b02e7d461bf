// SPDX-License-Identifier: Apache-2.0

//go:build linux

package host_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
)

func TestHangEndsAtTheDeadline(t *testing.T) {
	f := newFixture(t, "C_Login hang")
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	err := sign(ctx, config(f.Path))
	if !pkcs11.IsKind(err, pkcs11.KindTimeout) || !strings.Contains(err.Error(), f.Path) || !strings.Contains(err.Error(), "C_Login") {
		t.Errorf("error %v", err)
	}
	if left := children(t); len(left) > 0 {
		t.Errorf("processes are left: %v", left)
	}
}

func TestPINThatIsNotTypedInTime(t *testing.T) {
	f := newFixture(t)
	c := config(f.Path)
	typing := make(chan struct{})
	c.PIN = func(ctx context.Context, _ pkcs11.TokenInfo) (pkcs11.PIN, error) {
		defer close(typing)
		<-ctx.Done()
		return pkcs11.PIN{}, ctx.Err()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if err := sign(ctx, c); !pkcs11.IsKind(err, pkcs11.KindNoPIN) || !strings.Contains(err.Error(), "not typed in time") {
		t.Errorf("error %v", err)
	}
	select {
	case <-typing:
	default:
		t.Error("whoever was asked for the PIN is still being asked")
	}
}

func TestInterruptEndsAHangingCall(t *testing.T) {
	f := newFixture(t, "C_Login hang")
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(200*time.Millisecond, cancel)
	if err := sign(ctx, config(f.Path)); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "C_Login") {
		t.Errorf("error %v", err)
	}
	if left := children(t); len(left) > 0 {
		t.Errorf("processes are left: %v", left)
	}
}
