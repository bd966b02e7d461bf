// SPDX-License-Identifier: Apache-2.0

//go:build linux

package host_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
)

// expiresWhen returns a context whose deadline passes when something has
// happened, however long that takes.
func expiresWhen(t *testing.T, happened func() bool) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer cancel()
		for ctx.Err() == nil && !happened() {
			time.Sleep(5 * time.Millisecond)
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return expiring{ctx}
}

// expiring is a context that ends as at a deadline.
type expiring struct{ context.Context }

func (e expiring) Err() error {
	if e.Context.Err() != nil {
		return context.DeadlineExceeded
	}
	return nil
}

func TestHangEndsAtTheDeadline(t *testing.T) {
	f := newFixture(t, "C_Login hang")
	err := sign(expiresWhen(t, func() bool { return f.Calls("C_Login") > 0 }), config(f.Path))
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
	var asked atomic.Bool
	typing := make(chan struct{})
	c.PIN = func(ctx context.Context, _ pkcs11.TokenInfo) (pkcs11.PIN, error) {
		defer close(typing)
		asked.Store(true)
		<-ctx.Done()
		return pkcs11.PIN{}, ctx.Err()
	}
	if err := sign(expiresWhen(t, asked.Load), c); !pkcs11.IsKind(err, pkcs11.KindNoPIN) || !strings.Contains(err.Error(), "not typed in time") {
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
	defer cancel()
	context.AfterFunc(expiresWhen(t, func() bool { return f.Calls("C_Login") > 0 }), cancel)
	if err := sign(ctx, config(f.Path)); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "C_Login") {
		t.Errorf("error %v", err)
	}
	if left := children(t); len(left) > 0 {
		t.Errorf("processes are left: %v", left)
	}
}

// Ctrl-C at the PIN prompt has nothing to do with the module.
func TestInterruptAtThePromptIsJustThat(t *testing.T) {
	f := newFixture(t)
	c := config(f.Path)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c.PIN = func(ctx context.Context, _ pkcs11.TokenInfo) (pkcs11.PIN, error) {
		cancel()
		<-ctx.Done()
		return pkcs11.PIN{}, ctx.Err()
	}
	if err := sign(ctx, c); !errors.Is(err, context.Canceled) || err.Error() != "interrupted: context canceled" {
		t.Errorf("error %v", err)
	}
}
