// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"math/big"
	"time"
)

// Certificates and certificate requests that the token signs itself, by the
// signature specification's section "Certificate Requirements".

// NewCertificateRequest makes a certificate request (PKCS#10, DER) for the key.
// It asks for what notation needs: the critical key usage digitalSignature, and
// the extended key usage codeSigning. RSA keys sign it with PSS, never with
// PKCS#1 v1.5.
func NewCertificateRequest(ctx context.Context, key Key, subject pkix.Name) ([]byte, error) {
	spec, err := specOf(key.Public())
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject:            subject,
		SignatureAlgorithm: spec.x509,
		ExtraExtensions:    []pkix.Extension{digitalSignature, codeSigning},
	}, messageSigner{ctx, key})
	if err != nil {
		return nil, err
	}
	request, err := x509.ParseCertificateRequest(der)
	if err == nil {
		err = request.CheckSignature()
	}
	return der, err
}

// MaxSelfSignedDays bounds how long a self-signed certificate may be valid.
const MaxSelfSignedDays = 3650

// NewSelfSigned makes a certificate (DER) that the key signs itself, for labs:
// it passes the Notary Project's rules, but nobody vouches for it. It is valid
// from now on for 1 to MaxSelfSignedDays days.
func NewSelfSigned(ctx context.Context, key Key, subject pkix.Name, days int, now time.Time) ([]byte, error) {
	if days < 1 || days > MaxSelfSignedDays {
		return nil, fmt.Errorf("no certificate was made: %d days are out of range; use 1 to %d", days, MaxSelfSignedDays)
	}
	spec, err := specOf(key.Public())
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:       serial.Add(serial, big.NewInt(1)), // RFC 5280, section 4.1.2.2: positive
		Subject:            subject,
		SignatureAlgorithm: spec.x509,
		NotBefore:          now,
		NotAfter:           now.AddDate(0, 0, days),
		ExtraExtensions:    []pkix.Extension{digitalSignature, codeSigning},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), messageSigner{ctx, key})
	if err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return der, checkChain([]*x509.Certificate{certificate}, now)
}

// The two extensions: RFC 5280, sections 4.2.1.3 and 4.2.1.12.
var (
	digitalSignature = pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 15}, Critical: true, Value: []byte{0x03, 0x02, 0x07, 0x80}}
	codeSigning      = pkix.Extension{
		Id:    asn1.ObjectIdentifier{2, 5, 29, 37},
		Value: []byte{0x30, 0x0A, 0x06, 0x08, 0x2B, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x03},
	}
)

// messageSigner lends a Key to crypto/x509 for one signature.
type messageSigner struct {
	ctx context.Context
	key Key
}

var _ crypto.MessageSigner = messageSigner{}

func (s messageSigner) Public() crypto.PublicKey { return s.key.Public() }

// Sign is not what crypto/x509 calls where there is SignMessage.
func (s messageSigner) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errors.New("the key signs whole messages")
}

func (s messageSigner) SignMessage(_ io.Reader, message []byte, opts crypto.SignerOpts) ([]byte, error) {
	return s.key.SignMessage(s.ctx, message, opts)
}
