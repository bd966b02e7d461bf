// SPDX-License-Identifier: Apache-2.0

package pkcs11

import (
	"crypto"
	"crypto/x509"

	"github.com/miekg/pkcs11"
)

// maxCertificate bounds one certificate in bytes of DER.
const maxCertificate = 64 << 10

// certificates reads the X.509 certificates on the token that the URI selects
// by object and id. Values that don't parse are left out: a token may hold
// other people's objects, and none of them is needed if it isn't understood.
func (c *calls) certificates(s pkcs11.SessionHandle, u URI) ([]*x509.Certificate, error) {
	found, err := c.find(s, pkcs11.CKO_CERTIFICATE, u)
	if err != nil {
		return nil, err
	}
	var certificates []*x509.Certificate
	for _, o := range found {
		values, err := c.read(s, o.handle, pkcs11.CKA_VALUE)
		if err != nil {
			return nil, err
		}
		der := values[pkcs11.CKA_VALUE]
		if len(der) > maxCertificate {
			continue
		}
		if certificate, err := x509.ParseCertificate(der); err == nil {
			certificates = append(certificates, certificate)
		}
	}
	return certificates, nil
}

// keysOf returns the public keys of certificates that are not a CA's.
func keysOf(certificates []*x509.Certificate) []crypto.PublicKey {
	var keys []crypto.PublicKey
	for _, c := range certificates {
		if !c.IsCA {
			keys = append(keys, c.PublicKey)
		}
	}
	return keys
}
