// SPDX-License-Identifier: Apache-2.0

package pkcs11

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/pkcs11"
)

// issue makes a certificate for a new key; the issuer nil stands for itself.
func issue(t *testing.T, name string, issuer *x509.Certificate, signer *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(0x4321), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour)}
	if issuer == nil {
		issuer, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}

func TestPaddedCertificateIsReadWithoutThePadding(t *testing.T) {
	cert, _ := issue(t, "signer", nil, nil)
	for _, padding := range [][]byte{nil, make([]byte, 300), bytes.Repeat([]byte{0xff}, 7)} {
		got, err := ParseCertificate(slices.Concat(cert.Raw, padding))
		if err != nil || !got.Equal(cert) || CheckParsed(got) != nil {
			t.Errorf("padded with %d bytes: %v", len(padding), err)
		}
	}
}

func TestCertificateThatGoRefusesIsReadInPart(t *testing.T) {
	cert, key := issue(t, "signer", nil, nil)
	der := bytes.Replace(cert.Raw, []byte{2, 2, 0x43, 0x21}, []byte{2, 2, 0xC3, 0x21}, 1)
	got, err := ParseCertificate(der)
	if err == nil || !strings.Contains(err.Error(), "negative") || CheckParsed(got) == nil {
		t.Fatalf("errors %v, %v", err, CheckParsed(got))
	}
	if got.Subject.CommonName != "signer" || got.Issuer.CommonName != "signer" || !key.PublicKey.Equal(got.PublicKey) || got.SerialNumber.Sign() >= 0 ||
		!got.NotAfter.Equal(cert.NotAfter) || !bytes.Equal(got.Raw, der) || !bytes.Equal(got.Signature, cert.Signature) {
		t.Errorf("got %+v", got)
	}
	for _, garbage := range [][]byte{nil, {0x30}, cert.Raw[:100], []byte("no certificate")} {
		if got, err := ParseCertificate(garbage); err == nil || got == nil || CheckParsed(got) == nil {
			t.Errorf("%x: %v, %v", garbage, got, err)
		}
	}
}

// Verifying a signature with a key of any size can take hours. Such a key is not
// taken, whichever way it comes.
func TestKeysOfAnySizeAreNotTaken(t *testing.T) {
	_, signer := issue(t, "signer", nil, nil)
	ones := func(bits uint) *big.Int {
		n := new(big.Int).Lsh(big.NewInt(1), bits)
		return n.Sub(n, big.NewInt(1))
	}
	for name, test := range map[string]struct {
		key  rsa.PublicKey
		says string
	}{
		"the longest":     {rsa.PublicKey{N: ones(8192), E: 65537}, ""},
		"a bit longer":    {rsa.PublicKey{N: ones(8193), E: 65537}, "longer than 8192 bits"},
		"a long exponent": {rsa.PublicKey{N: ones(2048), E: 1<<31 - 1}, "exponent is too large"},
		"256 KiB":         {rsa.PublicKey{N: ones(8 * 256 << 10), E: 1<<31 - 1}, "longer than 65536 bytes"},
	} {
		template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour)}
		der, err := x509.CreateCertificate(rand.Reader, template, template, &test.key, signer)
		if err != nil {
			t.Fatal(err)
		}
		spki, err := x509.MarshalPKIXPublicKey(&test.key)
		if err != nil {
			t.Fatal(err)
		}
		certificate, err := ParseCertificate(der)
		_, keyErr := ParsePublicKey(spki)
		if test.says == "" {
			if err != nil || keyErr != nil || CheckParsed(certificate) != nil || !test.key.Equal(certificate.PublicKey) {
				t.Errorf("%s: errors %v, %v", name, err, keyErr)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), test.says) || keyErr == nil || certificate.PublicKey != nil || CheckParsed(certificate) == nil {
			t.Errorf("%s: errors %v, %v, key %T", name, err, keyErr, certificate.PublicKey)
		}
	}
}

// FuzzCertificate holds that whatever a token or a file has, there is a
// certificate, and an error if and only if CheckParsed has one for its bytes.
func FuzzCertificate(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{0x30, 0x03, 0x02, 0x01, 0x01})
	f.Fuzz(func(t *testing.T, der []byte) {
		cert, err := ParseCertificate(der)
		if cert == nil || (err == nil) != (CheckParsed(cert) == nil) {
			t.Fatalf("%v, %v", cert, err)
		}
		again, errAgain := ParseCertificate(cert.Raw)
		if !again.Equal(cert) || (err == nil) != (errAgain == nil) {
			t.Errorf("its bytes are another: %v, %v", again, errAgain)
		}
	})
}

// crowded is a token with more certificates than are read. Those that it finds by
// other attributes than their class are the few that were put there by name.
type crowded struct {
	binding
	named []crowdedCertificate
	found []pkcs11.ObjectHandle
}

type crowdedCertificate struct {
	label, id string
	cert      *x509.Certificate
}

func (c *crowded) FindObjectsInit(_ pkcs11.SessionHandle, template []*pkcs11.Attribute) error {
	c.found = nil
	last := template[len(template)-1]
	if last.Type == pkcs11.CKA_CLASS {
		c.found = make([]pkcs11.ObjectHandle, maxObjects+1)
		return nil
	}
	for i, n := range c.named {
		has := map[uint][]byte{pkcs11.CKA_LABEL: []byte(n.label), pkcs11.CKA_ID: []byte(n.id), pkcs11.CKA_SUBJECT: n.cert.RawSubject}
		if bytes.Equal(has[last.Type], last.Value) {
			c.found = append(c.found, pkcs11.ObjectHandle(i))
		}
	}
	return nil
}

func (c *crowded) FindObjects(_ pkcs11.SessionHandle, most int) ([]pkcs11.ObjectHandle, bool, error) {
	n := min(most, len(c.found))
	some := c.found[:n]
	c.found = c.found[n:]
	return some, false, nil
}

func (*crowded) FindObjectsFinal(pkcs11.SessionHandle) error { return nil }

func (c *crowded) GetAttributeValues(_ pkcs11.SessionHandle, o pkcs11.ObjectHandle, attributes, _ []uint) ([]answered, error) {
	n := c.named[o]
	has := map[uint][]byte{
		pkcs11.CKA_CLASS: pkcs11.NewAttribute(0, pkcs11.CKO_CERTIFICATE).Value,
		pkcs11.CKA_LABEL: []byte(n.label), pkcs11.CKA_ID: []byte(n.id), pkcs11.CKA_VALUE: n.cert.Raw,
	}
	list := make([]answered, len(attributes))
	for i, a := range attributes {
		list[i] = answered{has[a], has[a] == nil}
	}
	return list, nil
}

// A shared partition can hold thousands of certificates.
func TestChainIsFoundAmongMoreCertificatesThanCanBeRead(t *testing.T) {
	root, rootKey := issue(t, "root", nil, nil)
	intermediate, intermediateKey := issue(t, "intermediate", root, rootKey)
	leaf, _ := issue(t, "leaf", intermediate, intermediateKey)
	other, _ := issue(t, "other", root, rootKey)
	c := &calls{module: &crowded{named: []crowdedCertificate{
		{"root", "", root}, {"other", "\x02", other}, {"intermediate", "", intermediate}, {"signing", "\x01", leaf},
	}}}
	for name, key := range map[string]object{"by its id": {id: []byte{1}}, "by its label": {label: "signing"}, "by both": {label: "signing", id: []byte{1}}} {
		got, err := c.inventory(0).allCertificates(func() ([]object, error) { return []object{key}, nil })
		if err != nil || !slices.EqualFunc(got, []*x509.Certificate{leaf, intermediate, root}, (*x509.Certificate).Equal) {
			t.Errorf("%s: %d certificates, %v", name, len(got), err)
		}
	}
}
