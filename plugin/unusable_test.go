// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"bytes"
	"crypto"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"math/big"
	"strings"
	"testing"
	"time"

	contract "github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
)

// Certificates that authorities issue and Go, and so notation, can't use: they are
// named where they are needed, and don't matter where they aren't.

// altered returns a certificate with some bytes changed, signed again by an issuer
// with an EC key on P-256.
func altered(t *testing.T, cert *x509.Certificate, from, to string, issuer entity) *x509.Certificate {
	t.Helper()
	before, err := hex.DecodeString(from)
	if err != nil {
		t.Fatal(err)
	}
	after, err := hex.DecodeString(to)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Count(cert.RawTBSCertificate, before) != 1 {
		t.Fatalf("%s is not in the certificate once", from)
	}
	tbs := bytes.Replace(cert.RawTBSCertificate, before, after, 1)
	h := crypto.SHA256.New()
	h.Write(tbs)
	signature, err := issuer.key.Sign(rand.Reader, h.Sum(nil), crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	der, err := asn1.Marshal(struct {
		TBS       asn1.RawValue
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}{asn1.RawValue{FullBytes: tbs}, pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}}, asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)}})
	if err != nil {
		t.Fatal(err)
	}
	changed, _ := pkcs11.ParseCertificate(der)
	return changed
}

func serial(n int64) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.SerialNumber = big.NewInt(n) }
}

// asPSS changes the type of an RSA key in a certificate to id-RSASSA-PSS.
func asPSS(t *testing.T, cert *x509.Certificate, issuer entity) *x509.Certificate {
	const oid = "06092a864886f70d0101"
	return altered(t, cert, oid+"010500", oid+"0a0500", issuer)
}

func newRSAEntity(t *testing.T, name string) entity {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return entity{t, name, key}
}

func TestCertificateThatCannotBeUsedIsNamedWithTheReason(t *testing.T) {
	root, key, rsaKey, rsaCA := newEntity(t, "root"), newEntity(t, "signer"), newRSAEntity(t, "signer"), newRSAEntity(t, "issuing")
	rootCert := root.certify(root)
	negative := func(cert *x509.Certificate) *x509.Certificate {
		return altered(t, cert, "02024321", "0202c321", root)
	}
	for name, test := range map[string]struct {
		public  crypto.PublicKey
		certs   []*x509.Certificate
		phrases []string
	}{
		"leaf with a negative serial number":   {key.public(), []*x509.Certificate{negative(key.certify(root, asLeaf, serial(0x4321))), rootCert}, []string{`certificate "CN=signer"`, "negative serial number"}},
		"issuer with a negative serial number": {key.public(), []*x509.Certificate{key.certify(root, asLeaf), negative(root.certify(root, serial(0x4321)))}, []string{`certificate "CN=root"`, "negative serial number"}},
		"leaf of the type id-RSASSA-PSS":       {rsaKey.public(), []*x509.Certificate{asPSS(t, rsaKey.certify(root, asLeaf), root), rootCert}, []string{`certificate "CN=signer"`, "id-RSASSA-PSS", "rsaEncryption"}},
		"issuer of the type id-RSASSA-PSS":     {key.public(), []*x509.Certificate{key.certify(rsaCA, asLeaf), asPSS(t, rsaCA.certify(root), root), rootCert}, []string{`certificate "CN=issuing"`, "id-RSASSA-PSS"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := findChain(test.public, test.certs, nil, time.Now())
			checkError(t, err, contract.ErrorCodeValidation, test.phrases...)
		})
	}
}

func TestCertificateThatCannotBeUsedIsPassedOverForOneThatCan(t *testing.T) {
	root, key := newEntity(t, "root"), newEntity(t, "signer")
	certs := []*x509.Certificate{
		altered(t, key.certify(root, asLeaf, named("negative"), serial(0x4321), validFor(900*time.Hour)), "02024321", "0202c321", root),
		altered(t, root.certify(root, serial(0x4321), validFor(900*time.Hour)), "02024321", "0202c321", root),
		key.certify(root, asLeaf, named("wanted")), root.certify(root),
	}
	chain, err := findChain(key.public(), certs, nil, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	checkNames(t, chain, "wanted", "root")
	a := Assess(pkcs11.KeyInfo{Public: key.public()}, certs, nil, time.Now())
	if len(a.Others) != 1 || !strings.Contains(a.Others[0].Why, "negative serial number") {
		t.Errorf("others: %+v", a.Others)
	}
}

// nameIn writes CN=… in a type of string, as its ASN.1 tag.
func nameIn(t *testing.T, tag int, cn string) []byte {
	t.Helper()
	type attribute struct {
		Type  asn1.ObjectIdentifier
		Value asn1.RawValue
	}
	der, err := asn1.Marshal([]any{asn1.RawValue{Class: asn1.ClassUniversal, Tag: asn1.TagSet, IsCompound: true, Bytes: func() []byte {
		der, err := asn1.Marshal(attribute{asn1.ObjectIdentifier{2, 5, 4, 3}, asn1.RawValue{Tag: tag, Bytes: []byte(cn)}})
		if err != nil {
			t.Fatal(err)
		}
		return der
	}()}})
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// Notation compares names by their bytes: such a chain verifies with OpenSSL and
// not with notation, and the user must not be sent to look for a certificate.
func TestIssuerWhoseNameIsEncodedOtherwiseIsNotCalledMissing(t *testing.T) {
	root, key := newEntity(t, "Root"), newEntity(t, "signer")
	utf8 := func(c *x509.Certificate) { c.RawSubject = nameIn(t, asn1.TagUTF8String, "ROOT ") }
	rootCert := root.certify(root, utf8)
	leaf := key.certify(root, asLeaf)
	_, err := findChain(key.public(), []*x509.Certificate{leaf, rootCert}, nil, time.Now())
	checkError(t, err, contract.ErrorCodeValidation, `certificate "CN=signer"`, `its issuer "CN=Root" is there`, "encoded in other bytes")

	stranger := entity{t, "Root", newEC(elliptic.P256())()}
	other := stranger.certify(stranger, utf8)
	_, err = findChain(key.public(), []*x509.Certificate{leaf, other}, nil, time.Now())
	checkError(t, err, contract.ErrorCodeValidation, "is missing")
}

func TestCertificateInCertChainComesFirst(t *testing.T) {
	root, key := newEntity(t, "root"), newEntity(t, "signer")
	rootCert := root.certify(root)
	renewed := key.certify(root, asLeaf, named("renewed"), validFor(2*time.Hour))
	onToken := []*x509.Certificate{key.certify(root, asLeaf, named("revoked"), validFor(1000*time.Hour)), rootCert}
	chain, err := findChain(key.public(), onToken, []*x509.Certificate{renewed}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	checkNames(t, chain, "renewed", "root")

	a := Assess(pkcs11.KeyInfo{Public: key.public()}, onToken, []*x509.Certificate{renewed}, time.Now())
	if a.InUse.Name != "renewed" || a.InUse.Source != SourceChain || len(a.Others) != 1 || a.Others[0].Name != "revoked" ||
		a.Others[0].Source != SourceToken || !strings.Contains(a.Others[0].Why, "cert_chain") {
		t.Errorf("in use %+v, others %+v", a.InUse, a.Others)
	}
	if !strings.Contains(a.Warning, `"CN=renewed" ends on`) || !strings.Contains(a.Warning, "in 0 days") {
		t.Errorf("warning %q", a.Warning)
	}
	a = Assess(pkcs11.KeyInfo{Public: key.public()}, []*x509.Certificate{renewed, onToken[0], rootCert}, nil, time.Now())
	if a.InUse.Name != "revoked" || len(a.Others) != 1 || !strings.Contains(a.Others[0].Why, "ends earlier") {
		t.Errorf("in use %+v, others %+v", a.InUse, a.Others)
	}
}

// Who names a certificate in cert_chain must not get signatures with another one.
func TestCertificateInCertChainIsReplacedByNone(t *testing.T) {
	root, key := newEntity(t, "root"), newEntity(t, "signer")
	rootCert := root.certify(root)
	onToken := []*x509.Certificate{key.certify(root, asLeaf, named("older")), rootCert}
	for name, test := range map[string]struct {
		change func(*x509.Certificate)
		why    string
	}{
		"expired":    {func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }, "it expired"},
		"serverAuth": {func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }, "ServerAuth"},
	} {
		t.Run(name, func(t *testing.T) {
			chosen := key.certify(root, asLeaf, named("chosen"), test.change)
			_, err := findChain(key.public(), onToken, []*x509.Certificate{chosen, rootCert}, time.Now())
			checkError(t, err, contract.ErrorCodeValidation, `cert_chain holds this key's certificate "CN=chosen", which can't be used`, test.why, "Correct cert_chain")
			a := Assess(pkcs11.KeyInfo{Public: key.public()}, onToken, []*x509.Certificate{chosen, rootCert}, time.Now())
			if a.Problem == "" || a.InUse.Name != "chosen" {
				t.Errorf("assessed as %+v", a)
			}
		})
	}
}

func TestCertificateThatEndsLateIsNotWarnedOf(t *testing.T) {
	now := time.Now()
	for days, want := range map[time.Duration]bool{29: true, 31: false} {
		warning := endsSoon([]*x509.Certificate{{NotAfter: now.Add(days * 24 * time.Hour), SerialNumber: big.NewInt(1)}}, now)
		if (warning != "") != want {
			t.Errorf("%d days: %q", days, warning)
		}
	}
}

// What may still become a chain is acceptable: a renewed certificate is stored
// before the old one ends, and its issuers may come after it.
func TestAcceptableIsWhatCanBecomeAChain(t *testing.T) {
	root, key, stranger := newEntity(t, "root"), newEntity(t, "signer"), newEntity(t, "stranger")
	rootCert := root.certify(root)
	expired := func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }
	server := func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }
	later := func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) }
	good := key.certify(root, asLeaf, named("good"))
	for name, test := range map[string]struct {
		certificates []*x509.Certificate
		why          string // "" is acceptable
	}{
		"good":                     {[]*x509.Certificate{good}, ""},
		"not valid yet":            {[]*x509.Certificate{key.certify(root, asLeaf, later)}, ""},
		"without its issuer":       {[]*x509.Certificate{key.certify(stranger, asLeaf)}, ""},
		"one of two":               {[]*x509.Certificate{key.certify(root, asLeaf, server), good}, ""},
		"expired":                  {[]*x509.Certificate{key.certify(root, asLeaf, expired)}, "expired on"},
		"expired, and without one": {[]*x509.Certificate{key.certify(stranger, asLeaf, expired)}, "expired on"},
		"for servers":              {[]*x509.Certificate{key.certify(root, asLeaf, server)}, "ServerAuth"},
	} {
		t.Run(name, func(t *testing.T) {
			err := CheckAcceptable(key.public(), test.certificates, []*x509.Certificate{good, rootCert}, time.Now())
			if (err == nil) != (test.why == "") || err != nil && !strings.Contains(err.Error(), test.why) {
				t.Errorf("error %v, want %q", err, test.why)
			}
		})
	}
}
