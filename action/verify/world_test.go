// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/notaryproject/notation-go/verifier/trustpolicy"

	"github.com/notation-pkcs11/notation-pkcs11/action/registry"
	"github.com/notation-pkcs11/notation-pkcs11/action/report"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/signed"
)

// verifyWorld is a world of signed artifacts, with a client of their registry.
type verifyWorld struct {
	*signed.World
	clients *registry.Client
}

func newVerifyWorld(tb testing.TB) *verifyWorld {
	tb.Helper()
	return &verifyWorld{signed.NewWorld(tb), registry.New(registry.Options{CredentialsFile: filepath.Join(tb.TempDir(), "config.json")})}
}

// target resolves an artifact as a run does.
func (w *verifyWorld) target(tag string) registry.Target {
	w.TB.Helper()
	t, err := w.clients.Resolve(w.TB.Context(), w.Scope()+":"+tag)
	if err != nil {
		w.TB.Fatal(err)
	}
	return t
}

// verifier makes a verifier under statements, with the store of the world.
func (w *verifyWorld) verifier(o Options, statements ...trustpolicy.TrustPolicy) *Verifier {
	w.TB.Helper()
	trust, err := LoadTrust(TrustOptions{Policy: signed.PolicyJSON(w.TB, statements...), Store: w.Store})
	if err != nil {
		w.TB.Fatal(err)
	}
	if o.MaxSignatures == 0 {
		o.MaxSignatures = 100
	}
	o.Concurrency = 2
	v, err := New(trust, w.clients, o)
	if err != nil {
		w.TB.Fatal(err)
	}
	return v
}

// verify verifies an artifact under one statement.
func (w *verifyWorld) verify(tag string, o Options, change func(*trustpolicy.TrustPolicy)) (report.Verification, error) {
	w.TB.Helper()
	ctx, cancel := context.WithTimeout(w.TB.Context(), time.Minute)
	defer cancel()
	return w.verifier(o, signed.Statement(change)).Verify(ctx, w.target(tag))
}
