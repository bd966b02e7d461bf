// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"bytes"
	"cmp"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	contract "github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
)

// Bounds of the search. Chains in the field have two to four certificates, and
// a name has one or two certificates (a renewed or cross-signed authority).
const (
	maxChain   = 10
	maxIssuers = 16
	maxPaths   = 64
)

// findChain returns the key's certificate chain, from its certificate (the
// leaf) up to the self-signed root, out of the certificates on the token and
// those of cert_chain, in any order and among unrelated ones. It passes the
// rules of the Notary Project at the time given.
//
// A key can have several certificates: a renewed one, or the self-signed one
// that its token made. Where some are in cert_chain its user chose among those:
// none on the token takes their place, even if none of them passes. The first
// that passes is taken, in this order: issued by an authority before self-signed;
// then the latest end, then the latest beginning.
func findChain(public crypto.PublicKey, onToken, configured []*x509.Certificate, now time.Time) ([]*x509.Certificate, error) {
	p := newPool(configured, onToken)
	leaves := p.leaves(public)
	if len(leaves) == 0 {
		return nil, noLeaf(onToken, configured)
	}
	chosen := slices.DeleteFunc(slices.Clone(leaves), func(leaf *x509.Certificate) bool { return !p.chosen[leaf] })
	onlyOnToken := len(leaves) - len(chosen)
	if len(chosen) > 0 {
		leaves = chosen
	}
	chain, err := p.first(leaves, now)
	switch {
	case err == nil:
		return chain, nil
	case len(chosen) > 0 && onlyOnToken > 0:
		err = advise("Correct cert_chain, or unset it to use the certificate on the token",
			"cert_chain holds this key's certificate %s, which can't be used: %w", nameOf(chosen[0]), err)
	}
	var a advised
	errors.As(err, &a)
	return nil, advised{contract.NewValidationError(err.Error()), a.todo}
}

// isForSigning is false for certificates with which no chain passes, such
// as those by which tokens attest where a key was made: where there is another one,
// its problem is the one that a user can fix.
func isForSigning(leaf *x509.Certificate) bool {
	return leaf.KeyUsage&x509.KeyUsageDigitalSignature != 0 || pkcs11.CheckParsed(leaf) != nil
}

// first returns the chain of the first leaf that has one, else the error of the
// first: what a user would fix.
func (p *pool) first(leaves []*x509.Certificate, now time.Time) ([]*x509.Certificate, error) {
	var first error
	for _, leaf := range leaves {
		chain, err := p.chain(leaf, now)
		if err == nil {
			return chain, nil
		}
		first = cmp.Or(first, err)
	}
	if len(leaves) > 1 {
		first = fmt.Errorf("%w (of %d certificates for this key, none is better)", first, len(leaves))
	}
	return nil, first
}

// Related returns the certificates that belong to a key, out of others: its own
// first, then all that can stand above them. Where none is the key's own there
// are none.
func Related(public crypto.PublicKey, certificates []*x509.Certificate) []*x509.Certificate {
	p := newPool(nil, certificates)
	related := p.leaves(public)
	for _, leaf := range slices.Clone(related) {
		for _, path := range p.paths(leaf) {
			for _, certificate := range path {
				if !slices.Contains(related, certificate) {
					related = append(related, certificate)
				}
			}
		}
	}
	return related
}

const getCertificate = "Store the key's certificate with notation-pkcs11 import-cert, or request one with notation-pkcs11 csr"

// noLeaf explains that none of the certificates belongs to the key.
func noLeaf(onToken, configured []*x509.Certificate) error {
	seen := slices.Concat(onToken, configured)
	if len(seen) == 0 {
		return advised{contract.NewValidationError("there is no certificate for this key: none is on the token, and cert_chain is not set"), getCertificate}
	}
	slices.SortStableFunc(seen, func(a, b *x509.Certificate) int { // the likely ones first
		return compareBool(a.IsCA, b.IsCA)
	})
	const most = 4
	var names []string
	for i, cert := range seen {
		if i == most {
			names = append(names, fmt.Sprintf("and %d more", len(seen)-most))
			break
		}
		name := nameOf(cert)
		if err := pkcs11.CheckParsed(cert); err != nil {
			name += " (which can't be parsed: " + cut(err.Error(), 100) + ")"
		}
		names = append(names, name)
	}
	return advised{contract.NewValidationErrorf("there is no certificate for this key: of the %d seen (%d on the token, %d in cert_chain) none has its public key: %s",
		len(seen), len(onToken), len(configured), strings.Join(names, ", ")), getCertificate}
}

// nameOf names a certificate in errors.
func nameOf(cert *x509.Certificate) string {
	if name := cert.Subject.String(); name != "" {
		return quote(name)
	}
	if cert.SerialNumber != nil {
		return quote(fmt.Sprintf("serial number %x", cert.SerialNumber))
	}
	return fmt.Sprintf("of %d bytes", len(cert.Raw))
}

// pool is the certificates that a chain is made of, each once.
type pool struct {
	all       []*x509.Certificate
	chosen    map[*x509.Certificate]bool                // those of cert_chain
	bySubject map[string][]*x509.Certificate            // key: RawSubject
	issuersOf map[*x509.Certificate][]*x509.Certificate // what issuers found out
}

func newPool(configured, onToken []*x509.Certificate) *pool {
	p := &pool{
		chosen:    map[*x509.Certificate]bool{},
		bySubject: map[string][]*x509.Certificate{},
		issuersOf: map[*x509.Certificate][]*x509.Certificate{},
	}
	seen := map[string]bool{}
	for i, cert := range slices.Concat(configured, onToken) {
		if !seen[string(cert.Raw)] {
			seen[string(cert.Raw)] = true
			p.chosen[cert] = i < len(configured)
			p.all = append(p.all, cert)
			p.bySubject[string(cert.RawSubject)] = append(p.bySubject[string(cert.RawSubject)], cert)
		}
	}
	return p
}

// leaves returns the certificates of the key, the preferred one first.
func (p *pool) leaves(public crypto.PublicKey) []*x509.Certificate {
	key, ok := public.(interface{ Equal(crypto.PublicKey) bool })
	if !ok {
		return nil
	}
	var leaves []*x509.Certificate
	for _, cert := range p.all {
		if key.Equal(cert.PublicKey) {
			leaves = append(leaves, cert)
		}
	}
	slices.SortFunc(leaves, func(a, b *x509.Certificate) int {
		return cmp.Or(compareBool(p.chosen[b], p.chosen[a]), compareBool(isForSigning(b), isForSigning(a)),
			compareBool(isIssuedBy(a, a), isIssuedBy(b, b)), latestFirst(a, b))
	})
	return leaves
}

// chain returns the first chain above a leaf that passes the rules, else the
// error of the one that came closest.
func (p *pool) chain(leaf *x509.Certificate, now time.Time) ([]*x509.Certificate, error) {
	chain, broken, incomplete := p.judge(leaf, now)
	if chain != nil {
		return chain, nil
	}
	return nil, cmp.Or(broken, incomplete)
}

// judge returns the first chain above a leaf that passes the rules, else the
// errors of those that break one, and of those that end below a root.
func (p *pool) judge(leaf *x509.Certificate, now time.Time) (chain []*x509.Certificate, broken, incomplete error) {
	for _, chain := range p.paths(leaf) {
		top := chain[len(chain)-1]
		if !isIssuedBy(top, top) {
			incomplete = cmp.Or(incomplete, p.missingIssuer(top, len(chain)))
			continue
		}
		err := checkChain(chain, now)
		if err == nil {
			return chain, nil, nil
		}
		broken = cmp.Or(broken, err)
	}
	return nil, broken, incomplete
}

// CheckAcceptable reports, as an error, that notation accepts none of a key's
// certificates among those given, and never will: each has expired, or breaks a
// rule together with those above it. One that isn't valid yet, and one above which
// certificates are missing, can be accepted later. Others can be in the chains.
func CheckAcceptable(public crypto.PublicKey, certificates, others []*x509.Certificate, now time.Time) error {
	var first error
	p := newPool(certificates, others)
	for _, leaf := range p.leaves(public) {
		if !p.chosen[leaf] {
			continue
		}
		at := now
		if at.Before(leaf.NotBefore) {
			at = leaf.NotBefore
		}
		chain, broken, incomplete := p.judge(leaf, at)
		switch {
		case at.After(leaf.NotAfter):
			broken = checkValidity(leaf, at)
		case chain != nil || incomplete != nil:
			return nil
		}
		first = cmp.Or(first, broken)
	}
	return first
}

const addIssuers = "Add the CA's certificates, up to the root, to cert_chain or to the token"

// missingIssuer explains why a chain ends below a root.
func (p *pool) missingIssuer(top *x509.Certificate, length int) error {
	issuer := quote(top.Issuer.String())
	switch {
	case length >= maxChain:
		return advise("Check the certificates on the token and in cert_chain",
			"certificate %s: the chain has no root after %d certificates", nameOf(top), length)
	case len(p.issuers(top)) > 0:
		return advise("Add the self-signed root to cert_chain or to the token",
			"certificate %s: its issuer %s leads back to a certificate below, and the chain must go up to a self-signed root", nameOf(top), issuer)
	case len(p.bySubject[string(top.RawIssuer)]) > 0:
		return advise(addIssuers, "certificate %s: its issuer %s is missing: a certificate of that name is there but didn't sign it", nameOf(top), issuer)
	case slices.ContainsFunc(p.all, func(other *x509.Certificate) bool { return isIssuedByAlike(top, other) }):
		return advise("Ask the CA for an issuer's certificate with exactly this name, or a new certificate",
			"certificate %s: its issuer %s is there and has signed it, but its name is encoded in other bytes than in this certificate, which RFC 5280 allows and notation doesn't", nameOf(top), issuer)
	}
	return advise(addIssuers, "certificate %s: its issuer %s is missing, and the chain must go up to the self-signed root", nameOf(top), issuer)
}

// paths returns every way from the leaf upwards, each to a self-signed
// certificate or to where no issuer is left.
func (p *pool) paths(leaf *x509.Certificate) [][]*x509.Certificate {
	var found [][]*x509.Certificate
	var climb func(path []*x509.Certificate)
	climb = func(path []*x509.Certificate) {
		if len(found) == maxPaths {
			return
		}
		above := p.above(path)
		for _, issuer := range above {
			climb(append(slices.Clone(path), issuer))
		}
		if len(above) == 0 {
			found = append(found, path)
		}
	}
	climb([]*x509.Certificate{leaf})
	return found
}

// above returns the certificates that can come next in a path. None of the same
// name and key comes twice: two authorities can have signed each other.
func (p *pool) above(path []*x509.Certificate) []*x509.Certificate {
	top := path[len(path)-1]
	if len(path) == maxChain || isIssuedBy(top, top) {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(p.issuers(top)), func(issuer *x509.Certificate) bool {
		return slices.ContainsFunc(path, func(below *x509.Certificate) bool { return isSameEntity(below, issuer) })
	})
}

// issuers returns the certificates that issued this one, the preferred first:
// a root before a cross-signed authority of the same name and key.
func (p *pool) issuers(cert *x509.Certificate) []*x509.Certificate {
	if known, ok := p.issuersOf[cert]; ok {
		return known
	}
	named := slices.Clone(p.bySubject[string(cert.RawIssuer)])
	slices.SortFunc(named, func(a, b *x509.Certificate) int {
		return cmp.Or(
			compareBool(hasKeyID(b, cert.AuthorityKeyId), hasKeyID(a, cert.AuthorityKeyId)),
			compareBool(bytes.Equal(b.RawSubject, b.RawIssuer), bytes.Equal(a.RawSubject, a.RawIssuer)),
			latestFirst(a, b))
	})
	named = named[:min(len(named), maxIssuers)]
	issuers := slices.DeleteFunc(named, func(issuer *x509.Certificate) bool { return !isIssuedBy(cert, issuer) })
	p.issuersOf[cert] = issuers
	return issuers
}

func hasKeyID(cert *x509.Certificate, id []byte) bool {
	return len(id) > 0 && bytes.Equal(cert.SubjectKeyId, id)
}

// isIssuedBy compares names and checks the signature, and nothing else: whether
// the issuer may issue is for the rules, which can say what is wrong. So is a
// signature or a key of an algorithm that Go refuses or doesn't know: it counts as
// good here, and no chain with it passes.
func isIssuedBy(cert, issuer *x509.Certificate) bool {
	return len(cert.RawIssuer) > 0 && bytes.Equal(cert.RawIssuer, issuer.RawSubject) && isSignedBy(cert, issuer)
}

// isIssuedByAlike is isIssuedBy for names that are the same by RFC 5280, section
// 7.1, and not by their bytes, as notation compares them.
func isIssuedByAlike(cert, issuer *x509.Certificate) bool {
	name := comparableName(cert.RawIssuer)
	return name != "" && !bytes.Equal(cert.RawIssuer, issuer.RawSubject) && name == comparableName(issuer.RawSubject) && isSignedBy(cert, issuer)
}

func isSignedBy(cert, issuer *x509.Certificate) bool {
	if pkcs11.CheckPublicKey(issuer.PublicKey) != nil {
		return false // it would take too long
	}
	if issuer.PublicKey == nil || cert.SignatureAlgorithm == x509.UnknownSignatureAlgorithm {
		return true
	}
	err := issuer.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature)
	var insecure x509.InsecureAlgorithmError
	return err == nil || errors.As(err, &insecure)
}

// comparableName writes a name so that two are equal if RFC 5280, section 7.1, has
// them match: whatever the string types, upper or lower case, and with white space
// as one blank. It is "" where the name can't be read.
func comparableName(der []byte) string {
	var sequence pkix.RDNSequence
	if rest, err := asn1.Unmarshal(der, &sequence); err != nil || len(rest) > 0 {
		return ""
	}
	var b strings.Builder
	for _, set := range sequence {
		var attributes []string
		for _, a := range set {
			value := strings.Join(strings.Fields(strings.ToLower(fmt.Sprint(a.Value))), " ")
			attributes = append(attributes, fmt.Sprintf("%v=%q", a.Type, value))
		}
		slices.Sort(attributes)
		fmt.Fprintf(&b, "%q,", attributes)
	}
	return b.String()
}

// isSameEntity reports whether two certificates are of the same name and key.
func isSameEntity(a, b *x509.Certificate) bool {
	return bytes.Equal(a.RawSubject, b.RawSubject) && bytes.Equal(a.RawSubjectPublicKeyInfo, b.RawSubjectPublicKeyInfo)
}

// latestFirst orders by the end, then by the beginning of validity. The last
// resort is the bytes, so that the same certificates give the same choice.
func latestFirst(a, b *x509.Certificate) int {
	return cmp.Or(b.NotAfter.Compare(a.NotAfter), b.NotBefore.Compare(a.NotBefore), bytes.Compare(a.Raw, b.Raw))
}

// compareBool orders false before true.
func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}
