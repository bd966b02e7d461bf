// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"cmp"
	"crypto"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
)

// Assessment says whether notation can sign with a key, as far as can be told
// without a signature.
type Assessment struct {
	// Certificate is the key's own: of several the one that notation gets, or
	// else the one that comes closest. Nil: there is none.
	Certificate *x509.Certificate
	// InUse describes it, and Others the key's other certificates.
	InUse  *CertificateUse
	Others []CertificateUse
	// Problem is why notation can't sign with the key. Empty: it can.
	Problem string
	// Warning names a certificate of the chain that ends soon. Empty: none does.
	Warning string
}

// CertificateUse is a certificate of a key, as the JSON of commands has it. Texts
// are as the certificate has them, but for Why.
type CertificateUse struct {
	Subject      string    `json:"subject"`
	Name         string    `json:"name"`         // the subject's common name, or all of it where there is none
	SerialNumber string    `json:"serialNumber"` // in hexadecimal
	NotBefore    time.Time `json:"notBefore"`
	NotAfter     time.Time `json:"notAfter"`
	// Source is "cert_chain" or "token".
	Source string `json:"source"`
	// Why says why signatures don't carry it; printable. Empty: they do, or would
	// if it had no problem.
	Why string `json:"notUsed,omitempty"`
	// Unusable is true where Why is a fault of its own, and not that another one
	// comes first.
	Unusable bool `json:"-"`
}

// Sources of certificates.
const (
	SourceChain = "cert_chain"
	SourceToken = "token"
)

func (p *pool) use(cert *x509.Certificate) CertificateUse {
	u := CertificateUse{
		Subject: cert.Subject.String(), Name: cert.Subject.CommonName,
		NotBefore: utc(cert.NotBefore), NotAfter: utc(cert.NotAfter), Source: SourceToken,
	}
	u.Name = cmp.Or(u.Name, u.Subject)
	if cert.SerialNumber != nil {
		u.SerialNumber = cert.SerialNumber.Text(16)
	}
	if p.chosen[cert] {
		u.Source = SourceChain
	}
	return u
}

// utc returns a certificate's time in UTC, or as it is where that would be in the
// year 10000: JSON has no such year, and a certificate's own is at most 9999.
func utc(t time.Time) time.Time {
	if u := t.UTC(); u.Year() <= 9999 {
		return u
	}
	return t
}

// Assess looks at a key and the certificates around it, with the clock at now.
func Assess(key pkcs11.KeyInfo, onToken, configured []*x509.Certificate, now time.Time) Assessment {
	if key.Public == nil {
		return Assessment{Problem: printable(problemOf(key))}
	}
	var a Assessment
	chain, err := findChain(key.Public, onToken, configured, now)
	p := newPool(configured, onToken)
	if leaves := p.leaves(key.Public); err == nil {
		a.Certificate = chain[0]
	} else if len(leaves) > 0 {
		a.Certificate = leaves[0]
	}
	if a.Certificate != nil {
		use := p.use(a.Certificate)
		a.InUse, a.Others = &use, p.usesBeside(a.Certificate, key.Public, now)
	}
	a.Warning = printable(endsSoon(chain, now))
	spec, specErr := specOf(key.Public)
	switch {
	case specErr != nil:
		a.Problem = asContract(specErr).Message
	case key.Problem != nil:
		a.Problem = problemOf(key)
	case key.CheckMechanism(spec.options()) != nil:
		a.Problem = restricted
	case err != nil && a.Certificate == nil:
		a.Problem = "no certificate"
	case err != nil && now.After(a.Certificate.NotAfter):
		a.Problem = "the certificate expired on " + day(a.Certificate.NotAfter)
	case err != nil && now.Before(a.Certificate.NotBefore):
		a.Problem = "the certificate is not valid before " + day(a.Certificate.NotBefore)
	case err != nil:
		a.Problem = asContract(err).Message
	}
	a.Problem = printable(a.Problem)
	return a
}

// restricted is the problem of a key that may sign, but nothing for notation.
const restricted = "its CKA_ALLOWED_MECHANISMS permit neither RSASSA-PSS nor ECDSA with the right hash"

// problemOf says in a few words why a key can sign nothing: a list has little
// room.
func problemOf(key pkcs11.KeyInfo) string {
	switch key.Problem.Kind {
	case pkcs11.KindKey:
		return "the key is " + key.Type + ", which notation can't sign with; it signs with " + keySpecNames()
	case pkcs11.KindNotPermitted:
		return "its CKA_SIGN is false"
	case pkcs11.KindMechanism:
		if len(key.Mechanisms) > 0 {
			return restricted
		}
	case pkcs11.KindPublicKey:
		return key.Problem.Message + "; to make its public half known, import its certificate with notation-pkcs11 import-cert, or set cert_chain"
	}
	return key.Problem.Error()
}

// usesBeside says of the other certificates of a key why they are not used.
func (p *pool) usesBeside(used *x509.Certificate, public crypto.PublicKey, now time.Time) []CertificateUse {
	var list []CertificateUse
	for _, leaf := range p.leaves(public) {
		if leaf == used {
			continue
		}
		other := p.use(leaf)
		_, err := p.chain(leaf, now)
		switch {
		case err != nil:
			other.Why, other.Unusable = printable(err.Error()), true
		case p.chosen[used] && !p.chosen[leaf]:
			other.Why = "cert_chain holds the one in use"
		case isIssuedBy(leaf, leaf) && !isIssuedBy(used, used):
			other.Why = "it is self-signed, and the one in use was issued by an authority"
		case leaf.NotAfter.Before(used.NotAfter):
			other.Why = "it ends earlier than the one in use, on " + day(leaf.NotAfter)
		default:
			other.Why = "the one in use began later, or is as good"
		}
		list = append(list, other)
	}
	return list
}

// othersLeaf returns a certificate of cert_chain that looks as if its user took it
// for the key's: an end-entity certificate, where none is the key's own. Nil: there
// is none. An old root without basic constraints that the chain needs is not meant.
func othersLeaf(configured, chain []*x509.Certificate) *x509.Certificate {
	if slices.ContainsFunc(configured, chain[0].Equal) {
		return nil
	}
	for _, c := range configured {
		if !c.IsCA && !slices.ContainsFunc(chain, c.Equal) {
			return c
		}
	}
	return nil
}

// soon is how long before its end a certificate is called to mind.
const soon = 30 * 24 * time.Hour

// endsSoon names the certificates of a chain that end soon; "" if none does.
func endsSoon(chain []*x509.Certificate, now time.Time) string {
	var ending []string
	for _, cert := range chain {
		if left := cert.NotAfter.Sub(now); left <= soon {
			ending = append(ending, fmt.Sprintf("the certificate %s ends on %s, in %d days", nameOf(cert), day(cert.NotAfter), int(left/(24*time.Hour))))
		}
	}
	return strings.Join(ending, "; ")
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }
