// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"time"
)

// Common names of the certificates of a [PKI].
const (
	RootName         = "testenv root CA"
	IntermediateName = "testenv intermediate CA"
	LeafName         = "testenv signer"
)

// PKI is a root and an intermediate certification authority that issue leaf
// certificates by the rules of the Notary Project's signature specification,
// section "Certificate Requirements". It is safe for concurrent use.
type PKI struct {
	Root         *x509.Certificate
	Intermediate *x509.Certificate

	root         authority
	intermediate authority
}

// authority is a certificate with the key to issue others.
type authority struct {
	certificate *x509.Certificate
	key         crypto.Signer
}

// NewPKI makes the two authorities, with P-256 keys.
func NewPKI() (*PKI, error) {
	root, err := newAuthority(caTemplate(RootName), nil)
	if err != nil {
		return nil, err
	}
	intermediate, err := newAuthority(caTemplate(IntermediateName), &root)
	if err != nil {
		return nil, err
	}
	return &PKI{
		Root: root.certificate, Intermediate: intermediate.certificate,
		root: root, intermediate: intermediate,
	}, nil
}

// Chain issues a leaf certificate, named [LeafName], for a public key. It
// returns the whole chain: leaf, intermediate, root.
func (p *PKI) Chain(public crypto.PublicKey) ([]*x509.Certificate, error) {
	return p.chain(public, leafTemplate())
}

// Certify issues a chain for a key, as Chain does, and stores it on the key's token.
func (p *PKI) Certify(k *Key) ([]*x509.Certificate, error) {
	chain, err := p.Chain(k.Public)
	if err != nil {
		return nil, err
	}
	return chain, k.ImportChain(chain)
}

// Issue issues a leaf certificate for what a certificate request asks for: its
// public key and its subject. It returns the whole chain.
func (p *PKI) Issue(request *x509.CertificateRequest) ([]*x509.Certificate, error) {
	leaf := leafTemplate()
	leaf.RawSubject = request.RawSubject
	return p.chain(request.PublicKey, leaf)
}

func (p *PKI) chain(public crypto.PublicKey, leaf *x509.Certificate) ([]*x509.Certificate, error) {
	cert, err := p.intermediate.issue(leaf, public)
	if err != nil {
		return nil, err
	}
	return []*x509.Certificate{cert, p.Intermediate, p.Root}, nil
}

// EncodePEM returns certificates as one PEM bundle.
func EncodePEM(certs ...*x509.Certificate) []byte {
	var b bytes.Buffer
	for _, cert := range certs {
		b.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}))
	}
	return b.Bytes()
}

// newAuthority makes an authority with a new P-256 key. Without an issuer it
// signs itself.
func newAuthority(template *x509.Certificate, issuer *authority) (authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return authority{}, fmt.Errorf("generate key of %q: %w", template.Subject.CommonName, err)
	}
	return newAuthorityFor(key, template, issuer)
}

// newAuthorityFor makes an authority with a key of the caller's.
func newAuthorityFor(key crypto.Signer, template *x509.Certificate, issuer *authority) (authority, error) {
	if issuer == nil {
		issuer = &authority{template, key}
	}
	cert, err := issuer.issue(template, key.Public())
	if err != nil {
		return authority{}, err
	}
	return authority{cert, key}, nil
}

// issue signs a certificate and gives it a random serial number.
func (a authority) issue(template *x509.Certificate, public crypto.PublicKey) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("issue certificate %q: serial number: %w", template.Subject.CommonName, err)
	}
	template.SerialNumber = serial
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, public, a.key)
	if err != nil {
		return nil, fmt.Errorf("issue certificate %q: %w", template.Subject.CommonName, err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("issue certificate %q: %w", template.Subject.CommonName, err)
	}
	return cert, nil
}

// subject names a certificate. Country, state and organization are there
// because notation's trusted identities must have them.
func subject(commonName string) pkix.Name {
	return pkix.Name{Country: []string{"US"}, Province: []string{"WA"}, Organization: []string{"testenv"}, CommonName: commonName}
}

func caTemplate(commonName string) *x509.Certificate {
	now := time.Now()
	return &x509.Certificate{
		Subject:               subject(commonName),
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.Add(365 * 24 * time.Hour),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
}

func leafTemplate() *x509.Certificate {
	now := time.Now()
	return &x509.Certificate{
		Subject:     subject(LeafName),
		NotBefore:   now.Add(-time.Hour),
		NotAfter:    now.Add(90 * 24 * time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
	}
}
