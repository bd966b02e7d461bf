// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"slices"
	"strings"
	"testing"
	"time"

	corex509 "github.com/notaryproject/notation-core-go/x509"
)

func newPublicKey(t *testing.T) *ecdsa.PublicKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &key.PublicKey
}

func newPKI(t *testing.T) *PKI {
	t.Helper()
	pki, err := NewPKI()
	if err != nil {
		t.Fatal(err)
	}
	return pki
}

// validate is the judgement of notation's own library.
func validate(chain []*x509.Certificate) error {
	now := time.Now()
	return corex509.ValidateCodeSigningCertChain(chain, &now)
}

func TestChainMeetsNotationsRequirements(t *testing.T) {
	pki := newPKI(t)
	public := newPublicKey(t)
	chain, err := pki.Chain(public)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate(chain); err != nil {
		t.Error(err)
	}
	if !public.Equal(chain[0].PublicKey) {
		t.Error("the leaf is for another key")
	}
}

// unseen are the rules of the specification that notation-core-go does not
// check on a chain, each with the look that shows it broken.
var unseen = map[string]func(bundle []*x509.Certificate, public *ecdsa.PublicKey) bool{
	"EKU anyExtendedKeyUsage": func(bundle []*x509.Certificate, _ *ecdsa.PublicKey) bool {
		return slices.Contains(bundle[0].ExtKeyUsage, x509.ExtKeyUsageAny)
	},
	"RSA-1024 intermediate": func(bundle []*x509.Certificate, _ *ecdsa.PublicKey) bool {
		return bundle[1].PublicKey.(*rsa.PublicKey).N.BitLen() == 1024
	},
	"of another key": func(bundle []*x509.Certificate, public *ecdsa.PublicKey) bool {
		return !public.Equal(bundle[0].PublicKey)
	},
}

func TestBrokenBundlesBreakTheirRule(t *testing.T) {
	pki := newPKI(t)
	for _, variant := range Broken {
		t.Run(variant.Name, func(t *testing.T) {
			public := newPublicKey(t)
			bundle, err := variant.Bundle(pki, public)
			if err != nil {
				t.Fatal(err)
			}
			err = validate(bundle)
			if broken, ok := unseen[variant.Name]; ok {
				if err != nil || !broken(bundle, public) {
					t.Errorf("not the one fault that was wanted; notation-core-go says: %v", err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), variant.Subject) || !strings.Contains(err.Error(), variant.Rule) {
				t.Errorf("notation-core-go says %v; want %q and %q in it", err, variant.Subject, variant.Rule)
			}
		})
	}
}

func TestHarmlessBundlesHoldAValidChain(t *testing.T) {
	pki := newPKI(t)
	for _, variant := range Harmless {
		t.Run(variant.Name, func(t *testing.T) {
			public := newPublicKey(t)
			bundle, err := variant.Bundle(pki, public)
			if err != nil {
				t.Fatal(err)
			}
			if err := validate(sorted(bundle, public)); err != nil {
				t.Error(err)
			}
		})
	}
}

// sorted picks the chain of a key from a bundle, leaf first.
func sorted(bundle []*x509.Certificate, public crypto.PublicKey) []*x509.Certificate {
	var chain []*x509.Certificate
	next := func(cert *x509.Certificate) bool {
		if len(chain) == 0 {
			return public.(*ecdsa.PublicKey).Equal(cert.PublicKey)
		}
		last := chain[len(chain)-1]
		return last.Issuer.String() == cert.Subject.String() && !last.Equal(cert)
	}
	for {
		i := slices.IndexFunc(bundle, next)
		if i < 0 {
			return chain
		}
		chain = append(chain, bundle[i])
	}
}

func TestEncodePEMKeepsTheOrder(t *testing.T) {
	chain, err := newPKI(t).Chain(newPublicKey(t))
	if err != nil {
		t.Fatal(err)
	}
	decoded := parsePEM(t, EncodePEM(chain...))
	if !slices.EqualFunc(decoded, chain, (*x509.Certificate).Equal) {
		t.Errorf("%d certificates came back, not the chain", len(decoded))
	}
}

func parsePEM(t *testing.T, bundle []byte) []*x509.Certificate {
	t.Helper()
	var certs []*x509.Certificate
	for block, rest := pem.Decode(bundle); block != nil; block, rest = pem.Decode(rest) {
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		certs = append(certs, cert)
	}
	return certs
}
