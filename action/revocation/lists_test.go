// SPDX-License-Identifier: Apache-2.0

package revocation

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/notaryproject/notation-core-go/revocation"
	"github.com/notaryproject/notation-core-go/revocation/result"

	"github.com/notation-pkcs11/notation-pkcs11/testenv/pki"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/signed"
)

// newList makes the CRL of an authority, which may revoke a certificate.
func newList(t *testing.T, issuer, revoked *pki.Certificate, change func(*x509.RevocationList)) *x509.RevocationList {
	t.Helper()
	now := time.Now()
	list := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: now.Add(-time.Hour), NextUpdate: now.Add(time.Hour)}
	if revoked != nil {
		list.RevokedCertificateEntries = []x509.RevocationListEntry{{SerialNumber: revoked.Cert.SerialNumber, RevocationTime: now.Add(-time.Hour)}}
	}
	if change != nil {
		change(list)
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, issuer.Cert, issuer.Key)
	if err != nil {
		t.Fatal(err)
	}
	if list, err = x509.ParseRevocationList(der); err != nil {
		t.Fatal(err)
	}
	return list
}

// scopeOf is an issuing distribution point with one URL.
func scopeOf(t *testing.T, url string) func(*x509.RevocationList) {
	t.Helper()
	wrap := func(class, tag int, compound bool, content []byte) []byte {
		der, err := asn1.Marshal(asn1.RawValue{Class: class, Tag: tag, IsCompound: compound, Bytes: content})
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	name := wrap(asn1.ClassContextSpecific, 6, false, []byte(url))
	point := wrap(asn1.ClassContextSpecific, 0, true, wrap(asn1.ClassContextSpecific, 0, true, name))
	value := wrap(asn1.ClassUniversal, asn1.TagSequence, true, point)
	return func(list *x509.RevocationList) {
		list.ExtraExtensions = []pkix.Extension{{Id: oidIssuingDistributionPoint, Critical: true, Value: value}}
	}
}

// A list at hand answers in place of the server, if it is what the server has.
func TestListAtHandAnswers(t *testing.T) {
	w := signed.NewWorld(t)
	url := w.Servers.URL + "/crl/acme%20intermediate"
	signer := pki.New(t, "signer", w.Intermediate, pki.WithCRL(url, pki.AsSigner))
	w.Servers.Revoke(signer) // so the server's answer is another than that of a list
	impostor := pki.New(t, "acme intermediate", w.Root, pki.AsAuthority)
	at := func(this, next time.Duration) func(*x509.RevocationList) {
		return func(l *x509.RevocationList) { l.ThisUpdate, l.NextUpdate = time.Now().Add(this), time.Now().Add(next) }
	}
	const good, revoked = result.ResultOK, result.ResultRevoked
	for name, c := range map[string]struct {
		lists    Lists
		want     result.Result
		requests int
	}{
		"none":                     {nil, revoked, 1},
		"good":                     {Lists{newList(t, w.Intermediate, nil, nil)}, good, 0},
		"revoked":                  {Lists{newList(t, w.Intermediate, signer, nil)}, revoked, 0},
		"due":                      {Lists{newList(t, w.Intermediate, nil, at(-2*time.Hour, -time.Hour))}, revoked, 1},
		"the newest counts":        {Lists{newList(t, w.Intermediate, nil, at(-2*time.Hour, time.Hour)), newList(t, w.Intermediate, signer, nil)}, revoked, 0},
		"the newest counts, first": {Lists{newList(t, w.Intermediate, nil, nil), newList(t, w.Intermediate, signer, at(-2*time.Hour, time.Hour))}, good, 0},
		"another issuer":           {Lists{newList(t, w.Root, nil, nil)}, revoked, 1},
		"another key, same name":   {Lists{newList(t, impostor, nil, nil)}, revoked, 1},
		"of this URL":              {Lists{newList(t, w.Intermediate, nil, scopeOf(t, url))}, good, 0},
		"of another URL":           {Lists{newList(t, w.Intermediate, nil, scopeOf(t, url+"2"))}, revoked, 1},
		"of authorities alone": {Lists{newList(t, w.Intermediate, nil, func(l *x509.RevocationList) {
			l.ExtraExtensions = []pkix.Extension{{Id: oidIssuingDistributionPoint, Critical: true, Value: []byte{0x30, 0x03, 0x82, 0x01, 0xff}}}
		})}, revoked, 1},
	} {
		t.Run(name, func(t *testing.T) {
			codeSigning, _, err := New(http.DefaultTransport, c.lists)
			if err != nil {
				t.Fatal(err)
			}
			before := w.Servers.Count()
			results, err := codeSigning.ValidateContext(t.Context(), revocation.ValidateContextOptions{CertChain: signer.Chain()})
			if err != nil || results[0].Result != c.want || w.Servers.Count()-before != c.requests {
				t.Errorf("%v, %v after %d requests, want %v after %d", results[0].Result, err, w.Servers.Count()-before, c.want, c.requests)
			}
			due := c.lists.NextUpdate(signer.Chain(), func(int) bool { return true })
			if due.IsZero() != (c.requests == 1) || !c.lists.NextUpdate(signer.Chain(), func(int) bool { return false }).IsZero() {
				t.Errorf("due on %v", due)
			}
		})
	}
}

func TestListThatCannotStandForAServersIsRefused(t *testing.T) {
	root := pki.New(t, "root", nil, pki.AsAuthority)
	delta := newList(t, root, nil, func(l *x509.RevocationList) {
		l.ExtraExtensions = []pkix.Extension{{Id: oidDeltaCRLIndicator, Critical: true, Value: []byte{2, 1, 1}}}
	})
	if err := CheckList(delta); err == nil || !strings.Contains(err.Error(), "delta") {
		t.Error(err)
	}
	if err := CheckList(&x509.RevocationList{}); err == nil || !strings.Contains(err.Error(), "next update") {
		t.Error(err)
	}
	if err := CheckList(newList(t, root, nil, nil)); err != nil {
		t.Error(err)
	}
}
