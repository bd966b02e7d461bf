// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/notaryproject/notation-go/verifier/trustpolicy"

	"github.com/notation-pkcs11/notation-pkcs11/action/report"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/pki"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/signed"
)

func TestUntrustedCertificatesMakeNoRequests(t *testing.T) {
	w := newVerifyWorld(t)
	stranger := pki.New(t, "stranger", pki.New(t, "strange root", nil, pki.AsAuthority), pki.WithOCSP(w.Servers.URL+"/ocsp", pki.AsSigner))
	w.Sign(stranger, w.Image("app"), signed.How{})
	for _, c := range []struct {
		level    string
		override override
		asks     bool
	}{
		{"strict", nil, false},
		{"permissive", nil, false},
		{"audit", nil, false},
		{"audit", override{"revocation": "enforce"}, true}, // the verdict depends on it
	} {
		before := w.Servers.Count()
		v, _ := w.verify("app", Options{}, func(s *trustpolicy.TrustPolicy) {
			s.SignatureVerification.VerificationLevel, s.SignatureVerification.Override = c.level, c.override
		})
		if asked := w.Servers.Count() > before; asked != c.asks {
			t.Errorf("%s %v: asked %t, want %t", c.level, c.override, asked, c.asks)
		}
		got := checkOf(t, v.Signatures[0], checkRevocation)
		if (got.Result == report.CheckNotEvaluated) == c.asks {
			t.Errorf("%s %v: %+v", c.level, c.override, got)
		}
	}
}

func TestSilentResponderIsWaitedForOnce(t *testing.T) {
	w := newVerifyWorld(t)
	release := make(chan struct{})
	var asked atomic.Int64
	silent := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1); <-release }))
	defer silent.Close()
	defer close(release)
	signer := pki.New(t, "signer", w.Intermediate, pki.WithOCSP(silent.URL, pki.AsSigner))
	v := w.verifier(Options{}, signed.Statement(nil))
	for _, tag := range []string{"one", "two", "three"} {
		w.Sign(signer, w.Image(tag), signed.How{})
		got, err := v.Verify(t.Context(), w.target(tag))
		c := checkOf(t, got.Signatures[0], checkRevocation)
		if err == nil || c.Result != report.CheckFailed || !strings.Contains(c.Remedy, silent.URL) {
			t.Errorf("%s: %s, %+v", tag, got.Verdict, c)
		}
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("the responder was asked %d times for three artifacts", n)
	}
}
