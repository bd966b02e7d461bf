// SPDX-License-Identifier: Apache-2.0

package plugin

import (
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
	// Others are the key's other certificates.
	Others []OtherCertificate
	// Problem is why notation can't sign with the key. Empty: it can.
	Problem string
	// Warning names a certificate of the chain that ends soon. Empty: none does.
	Warning string
}

// OtherCertificate is a certificate of a key that signatures don't carry.
type OtherCertificate struct {
	*x509.Certificate
	Configured bool   // it is one of cert_chain
	Why        string // it isn't used; printable
}

// Assess looks at a key and the certificates around it, with the clock at now.
func Assess(key pkcs11.KeyInfo, onToken, configured []*x509.Certificate, now time.Time) Assessment {
	if key.Public == nil {
		return Assessment{Problem: printable(problemOf(key))}
	}
	var a Assessment
	chain, err := findChain(key.Public, onToken, configured, now)
	if err == nil {
		a.Certificate = chain[0]
	} else if leaves := newPool(configured, onToken).leaves(key.Public); len(leaves) > 0 {
		a.Certificate = leaves[0]
	}
	a.Others = othersBeside(a.Certificate, key.Public, onToken, configured, now)
	a.Warning = printable(endsSoon(chain, now))
	spec, specErr := specOf(key.Public)
	switch {
	case specErr != nil:
		a.Problem = asContract(specErr).Message
	case key.Problem != nil:
		a.Problem = problemOf(key)
	case key.CheckMechanism(spec.options()) != nil:
		a.Problem = "its CKA_ALLOWED_MECHANISMS permit neither RSASSA-PSS nor ECDSA with the right hash"
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

// problemOf says in a few words why a key can sign nothing: a list has little
// room.
func problemOf(key pkcs11.KeyInfo) string {
	switch key.Problem.Kind {
	case pkcs11.KindKey:
		return "the key is " + key.Type + ", which notation can't sign with; it signs with " + keySpecNames()
	case pkcs11.KindNotPermitted:
		return "its CKA_SIGN is false"
	case pkcs11.KindPublicKey:
		return key.Problem.Message + "; so that its public half is known, " + remedyCertificate
	}
	return key.Problem.Error()
}

// othersBeside says of the certificates of a key why they are not used and one is.
func othersBeside(used *x509.Certificate, public crypto.PublicKey, onToken, configured []*x509.Certificate, now time.Time) []OtherCertificate {
	var list []OtherCertificate
	p := newPool(configured, onToken)
	for _, leaf := range p.leaves(public) {
		if leaf.Equal(used) {
			continue
		}
		other := OtherCertificate{Certificate: leaf, Configured: p.chosen[leaf]}
		_, err := p.chain(leaf, now)
		switch {
		case err != nil:
			other.Why = printable(err.Error())
		case slices.ContainsFunc(configured, used.Equal) && !other.Configured:
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
