// SPDX-License-Identifier: Apache-2.0

package pkcs11

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"slices"
	"time"

	"github.com/miekg/pkcs11"
)

// maxCertificate bounds one certificate in bytes of DER.
const maxCertificate = 64 << 10

// ParseCertificate parses a certificate in DER, and cuts off what follows it:
// tokens pad CKA_VALUE. There is a certificate in any case.
//
// One that crypto/x509 refuses, that is longer than 64 KiB, or whose key
// [CheckPublicKey] refuses, comes with the error, and with what could be read
// of it all the same: Raw, and as far as it is intact the names, serial number,
// validity, public key and signature. With that it can be recognised and named;
// [CheckParsed] tells it from others.
//
// One whose public key has the type id-RSASSA-PSS (RFC 4055), which crypto/x509
// leaves out, has it as an *rsa.PublicKey; its PublicKeyAlgorithm is
// x509.UnknownPublicKeyAlgorithm.
func ParseCertificate(der []byte) (*x509.Certificate, error) {
	var first asn1.RawValue
	if _, err := asn1.Unmarshal(der, &first); err == nil {
		der = first.FullBytes
	}
	if len(der) > maxCertificate {
		return &x509.Certificate{Raw: slices.Clone(der)}, errLongCertificate
	}
	certificate, err := parseBounded(der)
	if err != nil {
		certificate = partOf(der)
	} else if certificate.PublicKey == nil {
		certificate.PublicKey = pssKey(certificate.RawSubjectPublicKeyInfo)
	}
	return certificate, err
}

var errLongCertificate = fmt.Errorf("it is longer than %d bytes", maxCertificate)

// parseBounded parses a certificate with a key that can be used.
func parseBounded(der []byte) (*x509.Certificate, error) {
	if len(der) > maxCertificate {
		return nil, errLongCertificate
	}
	certificate, err := x509.ParseCertificate(der)
	if err == nil {
		err = CheckPublicKey(certificate.PublicKey)
	}
	return certificate, err
}

// CheckParsed returns the error with which [ParseCertificate] returned a
// certificate.
func CheckParsed(certificate *x509.Certificate) error {
	if certificate.Version > 0 { // which every certificate has that crypto/x509 parsed
		return nil
	}
	_, err := parseBounded(certificate.Raw)
	return err
}

// partOf reads of a certificate what can be read (RFC 5280, section 4.1).
func partOf(der []byte) *x509.Certificate {
	part := &x509.Certificate{Raw: slices.Clone(der)}
	var outer struct {
		TBS       asn1.RawValue
		Algorithm asn1.RawValue
		Signature asn1.BitString
	}
	if _, err := asn1.Unmarshal(part.Raw, &outer); err != nil {
		return part
	}
	part.RawTBSCertificate, part.Signature = outer.TBS.FullBytes, outer.Signature.RightAlign()
	var tbs struct {
		Version   int `asn1:"optional,explicit,default:0,tag:0"`
		Serial    *big.Int
		Algorithm asn1.RawValue
		Issuer    asn1.RawValue
		Validity  struct{ NotBefore, NotAfter time.Time }
		Subject   asn1.RawValue
		Key       asn1.RawValue
	}
	if _, err := asn1.Unmarshal(outer.TBS.FullBytes, &tbs); err != nil {
		return part
	}
	part.SerialNumber, part.NotBefore, part.NotAfter = tbs.Serial, tbs.Validity.NotBefore, tbs.Validity.NotAfter
	part.RawIssuer, part.RawSubject, part.RawSubjectPublicKeyInfo = tbs.Issuer.FullBytes, tbs.Subject.FullBytes, tbs.Key.FullBytes
	for raw, name := range map[*[]byte]*pkix.Name{&part.RawIssuer: &part.Issuer, &part.RawSubject: &part.Subject} {
		var sequence pkix.RDNSequence
		if _, err := asn1.Unmarshal(*raw, &sequence); err == nil {
			name.FillFromRDNSequence(&sequence)
		}
	}
	public, err := ParsePublicKey(part.RawSubjectPublicKeyInfo)
	if err != nil {
		public = pssKey(part.RawSubjectPublicKeyInfo)
	}
	part.PublicKey = public
	return part
}

// pssKey reads a public key of the type id-RSASSA-PSS; nil where it is another.
func pssKey(der []byte) any {
	var info struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       asn1.BitString
	}
	if _, err := asn1.Unmarshal(der, &info); err != nil || !info.Algorithm.Algorithm.Equal(asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 10}) {
		return nil
	}
	var key struct {
		Modulus, Exponent *big.Int
	}
	if _, err := asn1.Unmarshal(info.Key.RightAlign(), &key); err != nil || key.Modulus.Sign() <= 0 || key.Exponent.Sign() <= 0 {
		return nil
	}
	public, err := parseRSA(key.Modulus.Bytes(), key.Exponent.Bytes())
	if err != nil {
		return nil
	}
	return public.(*rsa.PublicKey)
}

// certificates reads the X.509 certificates among objects. Those that
// crypto/x509 refuses are as ParseCertificate returns them: a token may hold
// other people's, and whether one is needed is for others to say. Objects without
// a value (CKA_URL), those that are far too long, and those that can't be read, are
// left out.
func (v *inventory) certificates(objects []pkcs11.ObjectHandle) ([]*x509.Certificate, error) {
	var certificates []*x509.Certificate
	for _, handle := range objects {
		der, err := v.certificate(handle)
		if err != nil && !isOfOneObject(err) {
			return nil, err
		}
		if len(der) == 0 || len(der) > maxCertificate {
			continue
		}
		certificate, _ := ParseCertificate(der) // what is wrong with it, CheckParsed tells
		certificates = append(certificates, certificate)
	}
	return certificates, nil
}

// certificate reads the value of a certificate, and its name where that isn't known.
func (v *inventory) certificate(handle pkcs11.ObjectHandle) ([]byte, error) {
	o, err := v.object(handle, pkcs11.CKO_CERTIFICATE)
	if err != nil {
		return nil, err
	}
	if _, asAny := o.values[pkcs11.CKA_CLASS]; asAny { // which has no value
		o.values, o.unread = v.calls.read(v.session, handle, pkcs11.CKA_VALUE)
		v.objects[handle] = o
	}
	if der, shown := o.values[pkcs11.CKA_VALUE]; shown {
		return der, nil
	}
	return nil, o.unread
}

// allCertificates reads the certificates on the token; if those are too many, the
// ones that go with the keys, and those above them.
func (v *inventory) allCertificates(keys func() ([]object, error)) ([]*x509.Certificate, error) {
	if v.few != nil {
		return v.certificates(v.few)
	}
	handles, err := v.calls.search(v.session, ofClass(pkcs11.CKO_CERTIFICATE))
	switch {
	case err == nil:
		return v.certificates(handles)
	case !IsKind(err, KindManyObjects):
		return nil, err
	}
	named, err := keys()
	if err != nil {
		return nil, err
	}
	var list []*x509.Certificate
	for _, key := range named {
		own, err := v.namedCertificates(key)
		if err != nil {
			return nil, err
		}
		list = append(list, own...)
	}
	return v.withIssuers(list, nil)
}

// ownCertificates reads the certificates that have a key's CKA_ID or label, and those
// above them and above others from elsewhere. If the token has few, it reads them all.
func (v *inventory) ownCertificates(key object, elsewhere []*x509.Certificate) ([]*x509.Certificate, error) {
	if err := v.listCertificates(); err != nil {
		return nil, err
	}
	if v.few != nil {
		return v.certificates(v.few)
	}
	list, err := v.namedCertificates(key)
	if err != nil {
		return nil, err
	}
	return v.withIssuers(list, elsewhere)
}

// namedCertificates reads those with a key's CKA_ID or label.
func (v *inventory) namedCertificates(key object) ([]*x509.Certificate, error) {
	own, err := v.near(pkcs11.CKO_CERTIFICATE, key)
	if err != nil {
		return nil, err
	}
	return v.certificates(handlesOf(own))
}

// withIssuers adds to certificates those above them, and above others, by CKA_SUBJECT.
func (v *inventory) withIssuers(list, others []*x509.Certificate) ([]*x509.Certificate, error) {
	asked := map[string]bool{}
	below := slices.Concat(list, others)
	for i := 0; i < len(below); i++ { // which grows
		issuer := below[i].RawIssuer
		if len(issuer) == 0 || asked[string(issuer)] || bytes.Equal(issuer, below[i].RawSubject) {
			continue
		}
		asked[string(issuer)] = true
		handles, err := v.calls.search(v.session, ofClass(pkcs11.CKO_CERTIFICATE), pkcs11.NewAttribute(pkcs11.CKA_SUBJECT, issuer))
		if err != nil && !IsKind(err, KindManyObjects) {
			return nil, err
		}
		found, err := v.certificates(handles)
		if err != nil {
			return nil, err
		}
		for _, certificate := range found {
			if len(list) < maxObjects && !slices.ContainsFunc(list, certificate.Equal) {
				list, below = append(list, certificate), append(below, certificate)
			}
		}
	}
	return list, nil
}
