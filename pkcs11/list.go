// SPDX-License-Identifier: Apache-2.0

package pkcs11

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"slices"

	"github.com/miekg/pkcs11"
)

// TokenStatus is a token and what it shows of itself to everybody.
type TokenStatus struct {
	TokenInfo
	// URI selects the token among those of its module, by its label and, only
	// where that is not enough, by more.
	URI URI
	// Objects counts what is visible without a login. Nil: the token was never
	// initialized, or Problem says why it shows nothing.
	Objects *ObjectCount `json:",omitempty"`
	Problem *Error       `json:",omitempty"`
}

// ObjectCount counts the objects on a token by class.
type ObjectCount struct {
	PrivateKeys, PublicKeys, Certificates int
}

// Survey describes all tokens of the module without logging in to any.
func (m *Module) Survey() ([]TokenStatus, error) {
	tokens, err := m.Tokens()
	if err != nil {
		return nil, err
	}
	list := make([]TokenStatus, len(tokens))
	for i, t := range tokens {
		list[i] = TokenStatus{TokenInfo: t.TokenInfo, URI: t.ShortURI()}
		if !t.Has(FlagInitialized) {
			continue
		}
		count, err := t.count()
		if errors.As(err, &list[i].Problem) {
			continue
		}
		list[i].Objects = &count
	}
	return list, nil
}

// count counts the objects that are visible without a login. Its errors are
// *Error.
func (t *Token) count() (n ObjectCount, err error) {
	handle, err := t.openSession()
	if err != nil {
		return n, failed(err, "no session with the token %s can be opened", t.ShortURI())
	}
	defer t.calls.closeSession(handle)
	for class, n := range map[uint]*int{
		pkcs11.CKO_PRIVATE_KEY: &n.PrivateKeys,
		pkcs11.CKO_PUBLIC_KEY:  &n.PublicKeys,
		pkcs11.CKO_CERTIFICATE: &n.Certificates,
	} {
		found, err := t.calls.search(handle, pkcs11.NewAttribute(pkcs11.CKA_CLASS, class))
		if err != nil {
			return ObjectCount{}, asError(err, "the objects on the token %s can't be listed", t.ShortURI())
		}
		*n = len(found)
	}
	return n, nil
}

// Select returns the initialized tokens that the URI selects; there may be none.
// Module.Token wants exactly one.
func (m *Module) Select(u URI) ([]*Token, error) {
	if err := m.checkLibrary(u); err != nil {
		return nil, err
	}
	all, err := m.Tokens()
	if err != nil {
		return nil, err
	}
	var selected []*Token
	for _, t := range all {
		if t.Has(FlagInitialized) && u.matches(t.attributes()) {
			selected = append(selected, t)
		}
	}
	return selected, nil
}

// KeyInfo describes a private key on a token, for people who look for one.
type KeyInfo struct {
	// URI selects exactly this key: by its label, by its CKA_ID, or by both. Two
	// keys that have both in common have the same one, which selects both.
	URI URI
	// Type is the type and size, such as RSA-3072, EC-256 or Ed25519.
	Type string
	// Public is the key's public half beyond doubt; nil where Problem says why it
	// isn't known.
	Public crypto.PublicKey
	// Problem is why the key can sign nothing.
	Problem *Error
	// Mechanisms is CKA_ALLOWED_MECHANISMS, if the key is restricted.
	Mechanisms []uint
}

// CheckMechanism reports, as an error of KindMechanism or KindKey, whether the
// key is restricted so that no such signature can be made.
func (k KeyInfo) CheckMechanism(opts crypto.SignerOpts) error {
	candidates, err := plan(k.Public, opts)
	if err != nil {
		return newError(KindKey, "the key %s can't sign like this: %v", k.URI, err)
	}
	return checkAllowed(k.URI, candidates, k.Mechanisms)
}

// Keys describes the private keys that the session sees and the URI selects by
// object and id. If there are keys, and it selects none, the error is of KindNoKey.
// Certificates from elsewhere than the token help to learn public keys, as those of
// KeyOptions do. A key that doesn't show its public half makes one signature.
func (s *Session) Keys(u URI, certificates []*x509.Certificate) ([]KeyInfo, error) {
	v, token := s.token.calls.inventory(s.handle), s.token.ShortURI()
	found, err := v.find(pkcs11.CKO_PRIVATE_KEY, URI{})
	if err != nil {
		return nil, asError(err, "the private keys on the token %s can't be listed", token)
	}
	var keys []KeyInfo
	uris := objectURIs(s.token, found, found)
	for i, o := range found {
		if !u.matches(o.attributes()) {
			continue
		}
		key, err := s.describe(v, o, uris[i], certificates)
		if err != nil {
			return nil, err
		}
		if key.Problem == nil && slices.ContainsFunc(found, func(other object) bool { return other.handle != o.handle && other.isNamedAlike(o) }) {
			key.Problem = sameName(key.URI)
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 && len(found) > 0 {
		return nil, noKey(u, s.token, found)
	}
	return keys, nil
}

// describe describes one private key. That it can't be used is no error. A public
// half that isn't certain is proven by a signature: a list that says which keys
// can sign doesn't guess.
func (s *Session) describe(v *inventory, o object, uri URI, certificates []*x509.Certificate) (KeyInfo, error) {
	info := KeyInfo{URI: uri, Type: o.keyType(), Mechanisms: ulongs(o.values[pkcs11.CKA_ALLOWED_MECHANISMS])}
	k, err := s.token.newKey(uri, KeyOptions{Certificates: certificates})
	if err != nil {
		return info, err
	}
	id, err := k.identify(v, o)
	if err != nil && (!errors.As(err, &info.Problem) || info.Problem.Kind == KindCall) {
		return info, err
	}
	info.Public = id.public
	if sign, present := id.values[pkcs11.CKA_SIGN]; present && !isTrue(sign) {
		info.Problem = notForSigning(uri)
	}
	if info.Public == nil && info.Problem == nil {
		if err := s.prove(k, v, o, id); err != nil {
			errors.As(err, &info.Problem)
		} else {
			info.Public = k.public
		}
	}
	return info, nil
}

// prove has a key that isn't open sign, so that its public half is certain. Its
// errors are *Error.
func (s *Session) prove(k *Key, v *inventory, o object, id identity) error {
	if s.login.wanted() && !s.login.done {
		return newError(KindPublicKey, "the token doesn't show the public half of the key %s without a login; it may be that of %v", o.uri(s.token.ShortURI()), id.candidates)
	}
	// The key borrows the session: tokens with one alone have no other.
	*k.login, k.sessions.idle, k.sessions.places, k.sessions.ready = s.login, []pkcs11.SessionHandle{s.handle}, 1, true
	err := k.settleOn(context.Background(), v, o, true)
	s.login = *k.login
	var lost error
	if s.handle, lost = k.sessions.acquire(); lost != nil { // another one, if a failure ended it
		return asError(lost, "no session with the token %s can be opened", s.token.ShortURI())
	}
	if err != nil {
		return asError(err, "the key %s can't sign", k.called(o))
	}
	return nil
}
