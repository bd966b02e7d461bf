// SPDX-License-Identifier: Apache-2.0

package action

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"crypto/x509"

	"github.com/notaryproject/notation-core-go/revocation"
	"github.com/notaryproject/notation-core-go/revocation/crl"
	"github.com/notaryproject/notation-core-go/revocation/result"
)

func TestRevocationIsAskedOnceInARun(t *testing.T) {
	w := newSignedWorld(t)
	byOCSP := newCertificate(t, "by OCSP", w.intermediate, withOCSP(w.servers.URL+"/ocsp", asSigner))
	byCRL := newCertificate(t, "by CRL", w.intermediate, withCRL(w.servers.URL+"/crl/acme%20intermediate", asSigner))
	alsoByCRL := newCertificate(t, "also by CRL", w.intermediate, withCRL(w.servers.URL+"/crl/acme%20intermediate", asSigner))
	codeSigning, _, err := newRevocation(http.DefaultTransport)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(c *testCertificate) {
		results, err := codeSigning.ValidateContext(t.Context(), revocation.ValidateContextOptions{CertChain: c.chain()})
		if err != nil || results[0].Result != result.ResultOK {
			t.Errorf("%s: %v, error %v", c.cert.Subject.CommonName, results, err)
		}
	}
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() { ask(byOCSP) })
		all.Go(func() { ask(byCRL) })
	}
	all.Wait()
	ask(alsoByCRL) // another chain, the same CRL
	if n := w.servers.count(); n != 2 {
		t.Errorf("%d requests, want one by OCSP and one for the CRL", n)
	}
}

func TestOneCallersEndIsNotTheOthers(t *testing.T) {
	w := newSignedWorld(t)
	ask, release := make(chan struct{}), make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		close(ask)
		<-release
		w.servers.ServeHTTP(rw, req)
	}))
	defer slow.Close()
	signer := newCertificate(t, "signer", w.intermediate, withOCSP(slow.URL+"/ocsp", asSigner))
	codeSigning, _, err := newRevocation(http.DefaultTransport)
	if err != nil {
		t.Fatal(err)
	}
	opts := revocation.ValidateContextOptions{CertChain: signer.chain()}
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
	m := &revocationMemory{validator: panicking{}}
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
	m := &revocationMemory{validator: panicking{}}
	for i := range 2*maxAnswers + 1 {
		m.find(revocation.ValidateContextOptions{AuthenticSigningTime: time.Unix(int64(i), 0)})
	}
	if len(m.answers) > maxAnswers {
		t.Errorf("%d answers are remembered", len(m.answers))
	}
}
