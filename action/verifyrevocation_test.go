// SPDX-License-Identifier: Apache-2.0

package action

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/notaryproject/notation-go/verifier/trustpolicy"

	"github.com/notation-pkcs11/notation-pkcs11/action/report"
)

func TestUntrustedCertificatesMakeNoRequests(t *testing.T) {
	w := newVerifyWorld(t)
	stranger := newCertificate(t, "stranger", newCertificate(t, "strange root", nil, asAuthority), withOCSP(w.servers.URL+"/ocsp", asSigner))
	w.sign(stranger, w.image("app"), signing{})
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
		before := w.servers.count()
		v, _ := w.verify("app", verifyOptions{}, func(s *trustpolicy.TrustPolicy) {
			s.SignatureVerification.VerificationLevel, s.SignatureVerification.Override = c.level, c.override
		})
		if asked := w.servers.count() > before; asked != c.asks {
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
	signer := newCertificate(t, "signer", w.intermediate, withOCSP(silent.URL, asSigner))
	v := w.verifier(verifyOptions{}, statementOf(nil))
	for _, tag := range []string{"one", "two", "three"} {
		w.sign(signer, w.image(tag), signing{})
		got, err := v.verify(t.Context(), w.target(tag))
		c := checkOf(t, got.Signatures[0], checkRevocation)
		if err == nil || c.Result != report.CheckFailed || !strings.Contains(c.Remedy, silent.URL) {
			t.Errorf("%s: %s, %+v", tag, got.Verdict, c)
		}
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("the responder was asked %d times for three artifacts", n)
	}
}
