// SPDX-License-Identifier: Apache-2.0

package pkcs11

import (
	"crypto/x509"
	"encoding/asn1"
	"slices"

	"github.com/miekg/pkcs11"
)

// Import stores certificates on the key's token: those that have the key's
// public key under its label and CKA_ID, others under the common name of their
// subject. It reports for each whether it was stored; those that were on the
// token before are left alone. What was stored is read back. Where none has the
// key's public key, nothing is stored and the error is of KindConfig. Where
// the key's public half isn't certain, a signature decides first. The session is
// one with the key's token, opened with SessionOptions.Write.
func (s *Session) Import(k *Key, certificates []*x509.Certificate) (stored []bool, err error) {
	if err := k.prove(); err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(certificates, func(c *x509.Certificate) bool { return equal(k.public, c.PublicKey) }) {
		return nil, newError(KindConfig, "none of the certificates has the public key of the key %s", k.called(k.name()))
	}
	present, err := s.Certificates()
	if err != nil {
		return nil, err
	}
	stored = make([]bool, len(certificates))
	for i, certificate := range certificates {
		if slices.ContainsFunc(present, certificate.Equal) {
			continue
		}
		o := object{label: certificate.Subject.CommonName}
		if equal(k.public, certificate.PublicKey) {
			o = object{label: k.label, id: k.id}
		}
		template, err := o.certificateTemplate(certificate)
		if err != nil {
			return nil, err
		}
		if err := s.token.calls.createObject(s.handle, template); err != nil {
			return nil, failed(err, "the certificate %q can't be stored on the token %s", certificate.Subject, s.token.ShortURI())
		}
		stored[i] = true
		present = append(present, certificate)
	}
	return stored, s.checkStored(certificates, stored)
}

// checkStored reads back what was stored: a token that only says that it did
// must not be found out when notation lacks the certificate.
func (s *Session) checkStored(certificates []*x509.Certificate, stored []bool) error {
	if !slices.Contains(stored, true) {
		return nil
	}
	present, err := s.Certificates()
	if err != nil {
		return err
	}
	for i, certificate := range certificates {
		if stored[i] && !slices.ContainsFunc(present, certificate.Equal) {
			return newError(KindAnswer, "the token %s says that it has stored the certificate %q, but doesn't show it", s.token.ShortURI(), certificate.Subject).withCall("C_CreateObject", pkcs11.CKR_OK)
		}
	}
	return nil
}

// certificateTemplate has the attributes of section 4.6.3: what the token could
// read from the certificate itself must be said once more.
func (o object) certificateTemplate(c *x509.Certificate) ([]*pkcs11.Attribute, error) {
	serial, err := asn1.Marshal(c.SerialNumber)
	if err != nil {
		return nil, err
	}
	return append(o.template(),
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_CERTIFICATE),
		pkcs11.NewAttribute(pkcs11.CKA_CERTIFICATE_TYPE, pkcs11.CKC_X_509),
		pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, false), // it is no secret, and needed before a login
		pkcs11.NewAttribute(pkcs11.CKA_SUBJECT, c.RawSubject),
		pkcs11.NewAttribute(pkcs11.CKA_ISSUER, c.RawIssuer),
		pkcs11.NewAttribute(pkcs11.CKA_SERIAL_NUMBER, serial),
		pkcs11.NewAttribute(pkcs11.CKA_VALUE, c.Raw),
	), nil
}
