// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"slices"
	"testing"
	"time"
)

var testSubject = pkix.Name{CommonName: "Lab", Organization: []string{"testenv"}, Province: []string{"WA"}, Country: []string{"US"}}

func TestCertificateRequestAsksForWhatNotationNeeds(t *testing.T) {
	for _, spec := range keySpecs {
		t.Run(string(spec.name), func(t *testing.T) {
			key := softKey{newToken(t, spec.name)}
			der, err := NewCertificateRequest(t.Context(), key, testSubject)
			if err != nil {
				t.Fatal(err)
			}
			request, err := x509.ParseCertificateRequest(der)
			if err != nil {
				t.Fatal(err)
			}
			if err := request.CheckSignature(); err != nil || request.SignatureAlgorithm != spec.x509 {
				t.Errorf("signed with %v: %v", request.SignatureAlgorithm, err)
			}
			if !spec.describes(request.PublicKey) || request.Subject.String() != testSubject.String() {
				t.Errorf("for %v with %T", request.Subject, request.PublicKey)
			}
			for _, want := range []pkix.Extension{digitalSignature, codeSigning} {
				if !slices.ContainsFunc(request.Extensions, func(e pkix.Extension) bool {
					return e.Id.Equal(want.Id) && e.Critical == want.Critical && slices.Equal(e.Value, want.Value)
				}) {
					t.Errorf("lacks %v: %v", want, request.Extensions)
				}
			}
		})
	}
}

// What the key signs itself is a chain of one that the plugin signs with.
func TestSelfSignedCertificateKeepsTheRules(t *testing.T) {
	for _, spec := range keySpecs {
		t.Run(string(spec.name), func(t *testing.T) {
			token := newToken(t, spec.name)
			now := time.Now()
			der, err := NewSelfSigned(t.Context(), softKey{token}, testSubject, 30, now)
			if err != nil {
				t.Fatal(err)
			}
			certificate, err := x509.ParseCertificate(der)
			if err != nil {
				t.Fatal(err)
			}
			chain, err := findChain(token.key.Public(), []*x509.Certificate{certificate}, nil, now)
			if err != nil || len(chain) != 1 {
				t.Errorf("chain %v, %v", chain, err)
			}
			if certificate.IsCA || certificate.KeyUsage != x509.KeyUsageDigitalSignature || !slices.Equal(certificate.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}) {
				t.Errorf("CA %v, key usage %v, extended %v", certificate.IsCA, certificate.KeyUsage, certificate.ExtKeyUsage)
			}
			if days := certificate.NotAfter.Sub(certificate.NotBefore); days.Round(time.Hour) != 30*24*time.Hour {
				t.Errorf("valid for %v", days)
			}
		})
	}
}

func TestSelfSignedCertificateForTooLongIsRefused(t *testing.T) {
	token := newToken(t, "EC-256")
	for _, days := range []int{-1, 0, MaxSelfSignedDays + 1} {
		if _, err := NewSelfSigned(t.Context(), softKey{token}, testSubject, days, time.Now()); err == nil {
			t.Errorf("made for %d days", days)
		}
	}
	if token.signatures > 0 {
		t.Error("signed")
	}
}

func TestErrorOfTheKeyComesThroughItsCertificates(t *testing.T) {
	token := newToken(t, "EC-256")
	why := errors.New("no")
	token.sign = func(context.Context) error { return why }
	if _, err := NewCertificateRequest(t.Context(), softKey{token}, testSubject); !errors.Is(err, why) {
		t.Errorf("request: %v", err)
	}
	if _, err := NewSelfSigned(t.Context(), softKey{token}, testSubject, 1, time.Now()); !errors.Is(err, why) {
		t.Errorf("certificate: %v", err)
	}
}
