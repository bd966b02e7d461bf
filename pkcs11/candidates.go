// SPDX-License-Identifier: Apache-2.0

package pkcs11

import (
	"cmp"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/pkcs11"
)

// Which public key is the other half of a private key is certain only where the
// private key's own attributes say it. Elsewhere there are candidates: objects
// that share its CKA_ID or label, which repeat and are left behind when keys are
// replaced, and certificates from elsewhere. A signature decides among them.

// candidate is a public key that may be a private key's other half.
type candidate struct {
	public crypto.PublicKey
	// from says where it was seen, for errors.
	from []string
	// vouched is false for one that is known from nothing but certificates on the
	// token: those of former keys stay behind.
	vouched bool
}

// candidates are distinct public keys, the likeliest first.
type candidates []candidate

// add adds a public key, if it fits the attributes of the private key.
func (list *candidates) add(values map[uint][]byte, public crypto.PublicKey, from string, vouched bool) {
	if !fits(values, public) {
		return
	}
	i := slices.IndexFunc(*list, func(c candidate) bool { return equal(c.public, public) })
	if i < 0 {
		i = len(*list)
		*list = append(*list, candidate{public: public})
	}
	known := &(*list)[i]
	known.vouched = known.vouched || vouched
	if !slices.Contains(known.from, from) {
		known.from = append(known.from, from)
	}
}

// addCertificates adds the public keys of certificates; those of authorities only
// where nothing else is a candidate, since tokens and bundles have them beside the
// key's own.
func (list *candidates) addCertificates(values map[uint][]byte, certificates []*x509.Certificate, where string, vouched bool) {
	for _, authorities := range []bool{false, true} {
		if authorities && len(*list) > 0 {
			return
		}
		for _, c := range certificates {
			if c.IsCA == authorities {
				list.add(values, c.PublicKey, fmt.Sprintf("the certificate %q %s", shorten(c.Subject.String()), where), vouched)
			}
		}
	}
}

// isSettled reports whether there is one candidate, and no need of a signature.
func (list candidates) isSettled() bool { return len(list) == 1 && list[0].vouched }

// String names the candidates by where they were seen.
func (list candidates) String() string {
	const most = 6
	var from []string
	for _, c := range list {
		from = append(from, c.from...)
	}
	if len(from) > most {
		from = append(from[:most], fmt.Sprintf("%d more", len(from)-most))
	}
	return strings.Join(from, ", ")
}

// candidatesOf reads the public keys of public key objects and of certificates.
// Those of types that can't be used, and objects that can't be read, are left out.
func (v *inventory) candidatesOf(values map[uint][]byte, publicKeys, certificates []object) (candidates, error) {
	var list candidates
	for _, o := range publicKeys {
		if public, err := parsePublicKey(o.values); err == nil {
			list.add(values, public, "the public key "+o.uri(URI{}).String()+" on the token", true)
		}
	}
	found, err := v.certificates(handlesOf(certificates))
	list.addCertificates(values, found, "on the token", false)
	return list, err
}

func handlesOf(objects []object) []pkcs11.ObjectHandle {
	handles := make([]pkcs11.ObjectHandle, len(objects))
	for i, o := range objects {
		handles[i] = o.handle
	}
	return handles
}

// identity is what a private key shows of itself, and what its public half is or
// may be.
type identity struct {
	values map[uint][]byte
	public crypto.PublicKey // nil where it isn't certain
	candidates
}

// identify takes a private key's own attributes and, where they don't say what
// the public half is, looks for candidates.
func (k *Key) identify(v *inventory, o object) (identity, error) {
	uri := k.called(o)
	// What can't be read here is looked for elsewhere, or told by the signature.
	id := identity{values: o.values}
	var why error
	switch id.public, why = parsePublicKey(id.values); {
	case why == nil:
		return id, nil
	case !errors.Is(why, errNoPublicHalf):
		return id, newError(KindKey, "the key %s can't be used: %v", uri, why)
	}
	var err error
	if id.candidates, err = k.findCandidates(v, o); err != nil {
		return id, asError(err, "the public half of the key %s can't be read", uri)
	}
	if len(id.candidates) == 0 {
		shown := ""
		if u := unreadable(""); errors.As(why, &u) {
			shown = u.Error() + ", and "
		}
		return id, newError(KindPublicKey, "the token doesn't show the public half of the key %s: %s"+
			"no public key and no certificate on the token can be its own, nor one from elsewhere", uri, shown)
	}
	if len(id.values[pkcs11.CKA_MODULUS]) > 0 && len(id.candidates) == 1 {
		id.public = id.candidates[0].public // nobody else has this modulus
	}
	return id, nil
}

// findCandidates looks at what has the private key's CKA_ID or label and at the
// certificates from elsewhere, and only where that is nothing at the whole token.
func (k *Key) findCandidates(v *inventory, o object) (candidates, error) {
	publicKeys, err := v.near(pkcs11.CKO_PUBLIC_KEY, o)
	if err != nil {
		return nil, err
	}
	certificates, err := v.near(pkcs11.CKO_CERTIFICATE, o)
	if err != nil {
		return nil, err
	}
	list, err := v.candidatesOf(o.values, publicKeys, certificates)
	if err != nil {
		return nil, err
	}
	list.addCertificates(o.values, k.certificates, "from elsewhere", true)
	if len(list) > 0 {
		return list, nil
	}
	return v.allCandidates(o, o.values)
}

// allCandidates looks at all that is on the token. Where some of it has the
// private key's CKA_ID or label after all, since the token can't search by them,
// only that counts.
func (v *inventory) allCandidates(o object, values map[uint][]byte) (candidates, error) {
	var all, near [2][]object
	for i, class := range []uint{pkcs11.CKO_PUBLIC_KEY, pkcs11.CKO_CERTIFICATE} {
		found, err := v.matching(class, URI{})
		if err != nil && !IsKind(err, KindManyObjects) { // too many are as good as none
			return nil, err
		}
		all[i] = nearestFirst(o, found)
		for _, f := range all[i] {
			if slices.ContainsFunc(o.siblings(), func(u URI) bool { return u.matches(f.attributes()) }) {
				near[i] = append(near[i], f)
			}
		}
	}
	list, err := v.candidatesOf(values, near[0], near[1])
	if err != nil || len(list) > 0 {
		return list, err
	}
	list, err = v.candidatesOf(values, all[0], all[1])
	for i := range list {
		list[i].vouched = false // nothing says that it is this key's
	}
	return list, err
}

// visibleCandidates are those that are seen without the private key: the public
// keys and certificates that the URI selects, and beside such certificates from
// elsewhere. Alone these don't count: nothing says that they are this key's.
func (k *Key) visibleCandidates(v *inventory, byName named) (list candidates, err error) {
	publicKeys, certificates := byName.of(pkcs11.CKO_PUBLIC_KEY), byName.of(pkcs11.CKO_CERTIFICATE)
	if len(byName.objects) == 0 {
		if publicKeys, err = v.find(pkcs11.CKO_PUBLIC_KEY, k.uri); err != nil {
			return nil, err
		}
		if certificates, err = v.find(pkcs11.CKO_CERTIFICATE, k.uri); err != nil {
			return nil, err
		}
	}
	list, err = v.candidatesOf(nil, publicKeys, certificates)
	if len(list) > 0 {
		list.addCertificates(nil, k.certificates, "from elsewhere", true)
	}
	return list, err
}

// trialMessage is what is signed to decide among candidates: nothing that a
// verifier could take for anything.
var trialMessage = []byte("this signature means nothing: it shows which public key belongs to a private key")

// decide has the key make one signature, and takes the candidate that it verifies
// with; if there is none, one from the whole token.
func (k *Key) decide() error {
	opts, raw, err := k.trial()
	if err != nil {
		return err
	}
	if k.accept(k.candidates, raw, opts) {
		return nil
	}
	all, err := k.elsewhere()
	if err != nil {
		return err
	}
	if k.accept(all, raw, opts) {
		return nil
	}
	for _, c := range all {
		for _, from := range c.from {
			k.candidates.add(k.shown, c.public, from, c.vouched)
		}
	}
	return newError(KindPublicKey, "the key %s signs, but with none of the public keys that can be its own: %v", k.called(k.name()), k.candidates)
}

// elsewhere lists the candidates of the whole token.
func (k *Key) elsewhere() (candidates, error) {
	s, err := k.sessions.acquire()
	if err != nil {
		return nil, asError(err, "no session with the token %s can be opened", k.token.ShortURI())
	}
	all, err := k.token.calls.inventory(s).allCandidates(object{}, k.shown)
	k.sessions.release(s, err == nil)
	if err != nil {
		return nil, asError(err, "the public half of the key %s can't be read", k.called(k.name()))
	}
	return all, nil
}

// accept takes the candidate that the signature verifies with.
func (k *Key) accept(list candidates, raw []byte, opts crypto.SignerOpts) bool {
	for _, c := range list {
		if _, ok := checked(c.public, raw, digestOf(trialMessage, opts), opts); ok {
			k.public = c.public
			k.proven.Store(true)
			return true
		}
	}
	return false
}

// trial makes the signature. Keys can be fixed to a hash, and candidates differ in
// type and size: where no mechanism takes what one needs, the next has its turn.
func (k *Key) trial() (opts crypto.SignerOpts, raw []byte, err error) {
	var first error
	k.probed.Store(true)
	for _, c := range k.candidates {
		opts = usualOptions(c.public)
		raw, _, err = k.make(c.public, trialMessage, digestOf(trialMessage, opts), opts)
		if !IsKind(err, KindMechanism) {
			return opts, raw, err
		}
		first = cmp.Or(first, err)
	}
	return opts, nil, first
}

func digestOf(message []byte, opts crypto.SignerOpts) []byte {
	h := opts.HashFunc().New()
	h.Write(message)
	return h.Sum(nil)
}

// wrongSignature is the error for a signature that doesn't verify. Where the
// public half was never certain that need not be the token's fault.
func (k *Key) wrongSignature(raw, digest []byte, opts crypto.SignerOpts, m mechanism) error {
	wrong := newError(KindSignature, "nothing was signed: the token returned a wrong signature for the key %s with %v", k.called(k.name()), m)
	if k.proven.Load() {
		return wrong
	}
	all, err := k.elsewhere()
	if err != nil {
		return wrong
	}
	for _, c := range all {
		if _, ok := checked(c.public, raw, digest, opts); ok {
			return newError(KindPublicKey, "the key %s has the public half of %v, not of %v, which has its name", k.called(k.name()), candidates{c}, k.candidates)
		}
	}
	wrong.Message += fmt.Sprintf(", or its public half is not that of %v", k.candidates)
	return wrong.withTodo("Check that one of these is the key's own, and not a former key's")
}
