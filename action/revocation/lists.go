// SPDX-License-Identifier: Apache-2.0

package revocation

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"slices"
	"time"

	"github.com/notaryproject/notation-core-go/revocation/crl"
)

// Lists are CRLs that are at hand, from files. They answer in place of the servers
// that certificates name, until they are due for their next update.
type Lists []*x509.RevocationList

// Extensions of CRLs (RFC 5280, section 5.2).
var (
	oidDeltaCRLIndicator        = asn1.ObjectIdentifier{2, 5, 29, 27}
	oidIssuingDistributionPoint = asn1.ObjectIdentifier{2, 5, 29, 28}
)

// CheckList refuses a CRL that could not stand for what a server has: one that only
// changes another, or has no time of its next update.
func CheckList(list *x509.RevocationList) error {
	switch {
	case extension(list, oidDeltaCRLIndicator) != nil:
		return errors.New("it is a delta CRL; name the base CRL")
	case list.NextUpdate.IsZero():
		return errors.New("it has no time of its next update")
	}
	return nil
}

func extension(list *x509.RevocationList, id asn1.ObjectIdentifier) []byte {
	for _, e := range list.Extensions {
		if e.Id.Equal(id) {
			return e.Value
		}
	}
	return nil
}

// find returns the newest list, not due yet, that is what a URL in a certificate of
// the chain stands for. Nil if there is none.
func (l Lists) find(chain []*x509.Certificate, url string) *x509.RevocationList {
	var newest *x509.RevocationList
	for i := range len(chain) - 1 {
		if !slices.Contains(chain[i].CRLDistributionPoints, url) {
			continue
		}
		issuer := chain[i+1]
		for _, list := range l {
			if bytes.Equal(list.RawIssuer, issuer.RawSubject) && !time.Now().After(list.NextUpdate) && covers(list, url) &&
				(newest == nil || list.ThisUpdate.After(newest.ThisUpdate)) && list.CheckSignatureFrom(issuer) == nil {
				newest = list
			}
		}
	}
	return newest
}

// covers says whether a list is the one of a URL. An issuer can have several lists,
// for parts of its certificates; such a list says of which URL it is, and counts for no
// other: a certificate that another part revokes would pass.
func covers(list *x509.RevocationList, url string) bool {
	value := extension(list, oidIssuingDistributionPoint)
	if value == nil {
		return true
	}
	var scope struct {
		Point struct {
			FullName []asn1.RawValue `asn1:"optional,tag:0"`
		} `asn1:"optional,tag:0"`
		UserCertificates      bool           `asn1:"optional,tag:1"`
		AuthorityCertificates bool           `asn1:"optional,tag:2"`
		Reasons               asn1.BitString `asn1:"optional,tag:3"`
		Indirect              bool           `asn1:"optional,tag:4"`
		AttributeCertificates bool           `asn1:"optional,tag:5"`
	}
	if rest, err := asn1.Unmarshal(value, &scope); err != nil || len(rest) > 0 {
		return false
	}
	return slices.ContainsFunc(scope.Point.FullName, func(name asn1.RawValue) bool {
		return name.Class == asn1.ClassContextSpecific && name.Tag == 6 && string(name.Bytes) == url
	})
}

// NextUpdate returns when the first list is due of those that stand for the CRLs of
// a chain, or the zero time. Only certificates that count are looked at.
func (l Lists) NextUpdate(chain []*x509.Certificate, counts func(i int) bool) (first time.Time) {
	for i, cert := range chain {
		for _, url := range cert.CRLDistributionPoints {
			if list := l.find(chain, url); list != nil && counts(i) && (first.IsZero() || list.NextUpdate.Before(first)) {
				first = list.NextUpdate
			}
		}
	}
	return first
}

// listsFirst is a crl.Fetcher that fetches what is not at hand.
type listsFirst struct {
	lists Lists
	next  crl.Fetcher
}

// askedChain is what a context has the certificate chain under that is asked about.
type askedChain struct{}

// Fetch implements crl.Fetcher.
func (f listsFirst) Fetch(ctx context.Context, url string) (*crl.Bundle, error) {
	chain, _ := ctx.Value(askedChain{}).([]*x509.Certificate)
	if list := f.lists.find(chain, url); list != nil {
		return &crl.Bundle{BaseCRL: list}, nil
	}
	return f.next.Fetch(ctx, url)
}
