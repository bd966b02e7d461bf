// SPDX-License-Identifier: Apache-2.0

package revocation

import (
	"context"
	"crypto/x509"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/notaryproject/notation-core-go/revocation"
	"github.com/notaryproject/notation-core-go/revocation/crl"
	"github.com/notaryproject/notation-core-go/revocation/result"

	"github.com/notation-pkcs11/notation-pkcs11/testenv/pki"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/signed"
)

func TestRevocationIsAskedOnceInARun(t *testing.T) {
	w := signed.NewWorld(t)
	byOCSP := pki.New(t, "by OCSP", w.Intermediate, pki.WithOCSP(w.Servers.URL+"/ocsp", pki.AsSigner))
	byCRL := pki.New(t, "by CRL", w.Intermediate, pki.WithCRL(w.Servers.URL+"/crl/acme%20intermediate", pki.AsSigner))
	alsoByCRL := pki.New(t, "also by CRL", w.Intermediate, pki.WithCRL(w.Servers.URL+"/crl/acme%20intermediate", pki.AsSigner))
	codeSigning, _, err := New(http.DefaultTransport, nil)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(c *pki.Certificate) {
		results, err := codeSigning.ValidateContext(t.Context(), revocation.ValidateContextOptions{CertChain: c.Chain()})
		if err != nil || results[0].Result != result.ResultOK {
			t.Errorf("%s: %v, error %v", c.Cert.Subject.CommonName, results, err)
		}
	}
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() { ask(byOCSP) })
		all.Go(func() { ask(byCRL) })
	}
	all.Wait()
	ask(alsoByCRL) // another chain, the same CRL
	if n := w.Servers.Count(); n != 2 {
		t.Errorf("%d requests, want one by OCSP and one for the CRL", n)
	}
}

func TestOneCallersEndIsNotTheOthers(t *testing.T) {
	w := signed.NewWorld(t)
	ask, release := make(chan struct{}), make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		close(ask)
		<-release
		w.Servers.ServeHTTP(rw, req)
	}))
	defer slow.Close()
	signer := pki.New(t, "signer", w.Intermediate, pki.WithOCSP(slow.URL+"/ocsp", pki.AsSigner))
	codeSigning, _, err := New(http.DefaultTransport, nil)
	if err != nil {
		t.Fatal(err)
	}
	opts := revocation.ValidateContextOptions{CertChain: signer.Chain()}
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error)
	go func() {
		_, err := codeSigning.ValidateContext(ctx, opts)
		first <- err
	}()
	<-ask
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("the cancelled one: %v", err)
	}
	close(release)
	results, err := codeSigning.ValidateContext(t.Context(), opts)
	if err != nil || results[0].Result != result.ResultOK {
		t.Errorf("the other: %v, %v", results, err)
	}
}

// panicking is a validator with a defect.
type panicking struct{}

func (panicking) ValidateContext(context.Context, revocation.ValidateContextOptions) ([]*result.CertRevocationResult, error) {
	panic("defect")
}

func TestPanicOfRevocationIsAnError(t *testing.T) {
	m := &Memory{validator: panicking{}}
	for range 2 {
		if _, err := m.ValidateContext(t.Context(), revocation.ValidateContextOptions{}); err == nil || !strings.Contains(err.Error(), "defect") {
			t.Errorf("error %v", err)
		}
	}
}

func TestMemoryOfRevocationIsBounded(t *testing.T) {
	lists := &listMemory{}
	big := &crl.Bundle{BaseCRL: &x509.RevocationList{Raw: make([]byte, maxListMemory/2)}}
	for _, url := range []string{"a", "b", "b"} {
		if err := lists.Set(t.Context(), url, big); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
	if err := lists.Set(t.Context(), "c", big); err == nil {
		t.Error("more was remembered than fits")
	}
	m := &Memory{validator: panicking{}}
	for i := range 2*maxAnswers + 1 {
		m.find(revocation.ValidateContextOptions{AuthenticSigningTime: time.Unix(int64(i), 0)})
	}
	if len(m.answers) > maxAnswers {
		t.Errorf("%d answers are remembered", len(m.answers))
	}
}
