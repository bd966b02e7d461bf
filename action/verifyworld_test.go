// SPDX-License-Identifier: Apache-2.0

package action

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/notaryproject/notation-go/verifier/trustpolicy"

	"github.com/notation-pkcs11/notation-pkcs11/action/report"
)

// verifyWorld is a world of signed artifacts, with a client of their registry.
type verifyWorld struct {
	*signedWorld
	clients *registries
}

func newVerifyWorld(tb testing.TB) *verifyWorld {
	tb.Helper()
	return &verifyWorld{newSignedWorld(tb), newRegistries(registryOptions{credentialsFile: filepath.Join(tb.TempDir(), "config.json")})}
}

// target resolves an artifact as a run does.
func (w *verifyWorld) target(tag string) target {
	w.tb.Helper()
	t, err := w.clients.resolve(w.tb.Context(), w.scope()+":"+tag)
	if err != nil {
		w.tb.Fatal(err)
	}
	return t
}

// verifier makes a verifier under statements, with the store of the world.
func (w *verifyWorld) verifier(o verifyOptions, statements ...trustpolicy.TrustPolicy) *verifier {
	w.tb.Helper()
	trust, err := loadTrust(trustOptions{policy: policyJSON(w.tb, statements...), store: w.store})
	if err != nil {
		w.tb.Fatal(err)
	}
	if o.maxSignatures == 0 {
		o.maxSignatures = 100
	}
	o.concurrency = 2
	v, err := newVerifier(trust, w.clients, o)
	if err != nil {
		w.tb.Fatal(err)
	}
	return v
}

// verify verifies an artifact under one statement.
func (w *verifyWorld) verify(tag string, o verifyOptions, change func(*trustpolicy.TrustPolicy)) (report.Verification, error) {
	w.tb.Helper()
	ctx, cancel := context.WithTimeout(w.tb.Context(), time.Minute)
	defer cancel()
	return w.verifier(o, statementOf(change)).verify(ctx, w.target(tag))
}
