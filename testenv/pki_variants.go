// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"slices"
	"time"
)

// Variant is a certificate bundle that differs in one thing from what
// [PKI.Chain] returns.
type Variant struct {
	// Name says what is different, in words that fit a test's name.
	Name string
	// Subject is the common name of the certificate that is at fault, and Rule
	// words that a message about the broken rule has. They are notation-core-go's
	// where it checks the rule. Both are empty in [Harmless].
	Subject, Rule string

	make func(p *PKI, public crypto.PublicKey) ([]*x509.Certificate, error)
}

// Bundle issues the variant's certificates for a public key.
func (v Variant) Bundle(p *PKI, public crypto.PublicKey) ([]*x509.Certificate, error) {
	certs, err := v.make(p, public)
	if err != nil {
		return nil, fmt.Errorf("certificates %q: %w", v.Name, err)
	}
	return certs, nil
}

// Broken are bundles with which a signer must not sign.
var Broken = []Variant{
	{"EKU serverAuth", LeafName, "ServerAuth", withLeaf(func(leaf *x509.Certificate) {
		leaf.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	})},
	{"EKU anyExtendedKeyUsage", LeafName, "anyExtendedKeyUsage", withLeaf(func(leaf *x509.Certificate) {
		leaf.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageAny}
	})},
	{"no digitalSignature", LeafName, "Digital Signature", withLeaf(func(leaf *x509.Certificate) {
		leaf.KeyUsage = x509.KeyUsageContentCommitment
	})},
	{"keyUsage not critical", LeafName, "critical", withLeaf(func(leaf *x509.Certificate) {
		leaf.KeyUsage = 0
		leaf.ExtraExtensions = []pkix.Extension{keyUsageNotCritical}
	})},
	{"leaf is a CA", LeafName, "basic constraints", withLeaf(func(leaf *x509.Certificate) {
		leaf.BasicConstraintsValid, leaf.IsCA = true, true
	})},
	{"path length exceeded", IntermediateName, "path length", pathLengthExceeded},
	{"RSA-1024 intermediate", IntermediateName, "1024", rsa1024Intermediate},
	{"SHA-1 signature", LeafName, "SHA1", withLeaf(func(leaf *x509.Certificate) {
		leaf.SignatureAlgorithm = x509.ECDSAWithSHA1
	})},
	{"expired", LeafName, "valid", withLeaf(func(leaf *x509.Certificate) {
		leaf.NotAfter = leaf.NotBefore.Add(time.Minute)
	})},
	{"not yet valid", LeafName, "valid", withLeaf(func(leaf *x509.Certificate) {
		leaf.NotBefore = leaf.NotAfter.Add(-time.Minute)
	})},
	{"root missing", IntermediateName, "root", rootMissing},
	{"of another key", LeafName, "key", ofAnotherKey},
}

// Harmless are bundles with which a signer must sign.
var Harmless = []Variant{
	{Name: "no EKU", make: withLeaf(func(leaf *x509.Certificate) { leaf.ExtKeyUsage = nil })},
	{Name: "unrelated certificate in the bundle", make: withUnrelated},
	{Name: "bundle in reverse order", make: inReverse},
}

// withLeaf is the usual chain but for one change of the leaf.
func withLeaf(change func(leaf *x509.Certificate)) func(*PKI, crypto.PublicKey) ([]*x509.Certificate, error) {
	return func(p *PKI, public crypto.PublicKey) ([]*x509.Certificate, error) {
		leaf := leafTemplate()
		change(leaf)
		return p.chain(public, leaf)
	}
}

// keyUsageNotCritical is digitalSignature, as crypto/x509 does not write it:
// RFC 5280, section 4.2.1.3.
var keyUsageNotCritical = pkix.Extension{
	Id:    asn1.ObjectIdentifier{2, 5, 29, 15},
	Value: []byte{0x03, 0x02, 0x07, 0x80}, // BIT STRING, one bit
}

// pathLengthExceeded has an intermediate that may issue leaves alone and issues
// another authority.
func pathLengthExceeded(p *PKI, public crypto.PublicKey) ([]*x509.Certificate, error) {
	template := caTemplate(IntermediateName)
	template.MaxPathLenZero = true
	intermediate, err := newAuthority(template, &p.root)
	if err != nil {
		return nil, err
	}
	issuing, err := newAuthority(caTemplate("testenv issuing CA"), &intermediate)
	if err != nil {
		return nil, err
	}
	leaf, err := issuing.issue(leafTemplate(), public)
	if err != nil {
		return nil, err
	}
	return []*x509.Certificate{leaf, issuing.certificate, intermediate.certificate, p.Root}, nil
}

func rsa1024Intermediate(p *PKI, public crypto.PublicKey) ([]*x509.Certificate, error) {
	key, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		return nil, err
	}
	intermediate, err := newAuthorityFor(key, caTemplate(IntermediateName), &p.root)
	if err != nil {
		return nil, err
	}
	leaf, err := intermediate.issue(leafTemplate(), public)
	if err != nil {
		return nil, err
	}
	return []*x509.Certificate{leaf, intermediate.certificate, p.Root}, nil
}

func rootMissing(p *PKI, public crypto.PublicKey) ([]*x509.Certificate, error) {
	chain, err := p.Chain(public)
	if err != nil {
		return nil, err
	}
	return chain[:2], nil
}

func ofAnotherKey(p *PKI, _ crypto.PublicKey) ([]*x509.Certificate, error) {
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	return p.Chain(other.Public())
}

// withUnrelated has the root of a stranger between leaf and intermediate.
func withUnrelated(p *PKI, public crypto.PublicKey) ([]*x509.Certificate, error) {
	chain, err := p.Chain(public)
	if err != nil {
		return nil, err
	}
	stranger, err := newAuthority(caTemplate("testenv unrelated CA"), nil)
	if err != nil {
		return nil, err
	}
	return slices.Insert(chain, 1, stranger.certificate), nil
}

func inReverse(p *PKI, public crypto.PublicKey) ([]*x509.Certificate, error) {
	chain, err := p.Chain(public)
	slices.Reverse(chain)
	return chain, err
}
