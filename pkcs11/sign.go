// SPDX-License-Identifier: Apache-2.0

package pkcs11

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"encoding/asn1"
	"fmt"
	"math/big"
	"runtime"
	"slices"
	"strings"

	"github.com/miekg/pkcs11"
)

// sign makes a signature, verifies it in software and returns it in the form that
// Sign promises. The message is nil where only its digest is known.
func (k *Key) sign(message, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	raw, m, err := k.make(k.public, message, digest, opts)
	if err != nil {
		return nil, err
	}
	signature, ok := checked(k.public, raw, digest, opts)
	if !ok {
		return nil, k.wrongSignature(raw, digest, opts, m)
	}
	k.proven.Store(true)
	return signature, nil
}

// make makes a signature, for a key whose public half is this one or may be, and
// returns it as the token did. Mechanisms are tried in turn, but only a mechanism
// error leads on to the next one. A lost session is replaced once.
func (k *Key) make(public crypto.PublicKey, message, digest []byte, opts crypto.SignerOpts) (raw []byte, used mechanism, err error) {
	candidates, err := k.candidateMechanisms(public, message != nil, opts)
	if err != nil {
		return nil, used, err
	}
	s, err := k.sessions.acquire()
	if err != nil {
		return nil, used, asError(err, "no session with the token %s can be opened", k.token.ShortURI())
	}
	// A failed C_Sign may leave its operation active: such a session ends.
	untouched := false
	defer func() { k.sessions.release(s, err == nil || untouched) }()
	if k.alwaysAuthenticate {
		defer k.login.spend() // where no mechanism came as far as the login
		if err := k.login.prepareSignature(context.Background()); err != nil {
			untouched = true
			return nil, used, asError(err, "the key %s can't sign", k.called(k.name()))
		}
	}

	var refused []string
	renewed := false
	for i := 0; i < len(candidates); {
		raw, err := k.attempt(s, candidates[i], public, message, digest, opts.HashFunc())
		call, rv := returned(err)
		switch {
		case err == nil:
			k.remember(candidates[i])
			return raw, candidates[i], nil
		case isMechanismError(rv):
			refused = append(refused, refusal(candidates[i], opts.HashFunc(), call, rv))
			i++
		case isLost(rv) && !renewed:
			renewed = true
			k.sessions.lost()
		default:
			return nil, used, asError(err, "the key %s can't sign with %v", k.called(k.name()), candidates[i])
		}
		if call != "C_SignInit" || isLost(rv) {
			if s, err = k.sessions.replace(s); err != nil {
				return nil, used, asError(err, "no session with the token %s can be opened", k.token.ShortURI())
			}
		}
	}
	return nil, used, k.refusedAll(candidates, opts.HashFunc(), refused)
}

// refusedAll says that no mechanism did, and whether the token has one at all: what
// it doesn't know nobody can permit.
func (k *Key) refusedAll(candidates []mechanism, hash crypto.Hash, refused []string) *Error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.preferred) > 0 && !slices.ContainsFunc(candidates, func(m mechanism) bool { return slices.Contains(k.preferred, m.id) }) {
		return newError(KindNoMechanism, "the token knows no mechanism for this signature (RSASSA-PSS or ECDSA, %v) with the key %s: none is in its list, and it refuses %s",
			hash, k.called(k.name()), strings.Join(refused, ", "))
	}
	return newError(KindMechanism, "the token refuses every mechanism for this signature (%v) with the key %s: %s",
		hash, k.called(k.name()), strings.Join(refused, ", "))
}

// refusal says which mechanism was refused, and with which hash where it may be
// that: keys of cloud HSMs are fixed to one.
func refusal(m mechanism, hash crypto.Hash, call string, rv uint) string {
	name := m.String()
	if m.pss != nil && rv == pkcs11.CKR_MECHANISM_PARAM_INVALID {
		name += " with " + hash.String()
	}
	return fmt.Sprintf("%s (%s: %s)", name, call, RVName(rv))
}

// candidateMechanisms lists the mechanisms to try, best first.
func (k *Key) candidateMechanisms(public crypto.PublicKey, haveMessage bool, opts crypto.SignerOpts) ([]mechanism, error) {
	candidates, err := plan(public, opts)
	if err != nil {
		return nil, newError(KindKey, "the key %s can't sign like this: %v", k.called(k.name()), err)
	}
	if err := checkAllowed(k.called(k.name()), candidates, k.allowed); err != nil {
		return nil, err
	}
	candidates = allowed(candidates, k.allowed)
	if !haveMessage {
		candidates = slices.DeleteFunc(slices.Clone(candidates), func(m mechanism) bool { return m.input == inputMessage })
		if len(candidates) == 0 {
			return nil, newError(KindMechanism, "the key %s signs whole messages only, not digests (use SignMessage)", k.called(k.name()))
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.preferred == nil {
		// What the list says only orders the tries, so one that can't be had does
		// no harm.
		list, _ := k.token.calls.mechanisms(k.token.SlotID)
		k.preferred = []uint{}
		for _, m := range list {
			k.preferred = append(k.preferred, m.Mechanism)
		}
	}
	return preferred(candidates, k.preferred), nil
}

// Mechanisms names the mechanisms with which a message can be signed, such as
// CKM_ECDSA, in the order in which they are tried. Once there is a signature,
// the first is the one that made it.
func (k *Key) Mechanisms(opts crypto.SignerOpts) ([]string, error) {
	candidates, err := k.candidateMechanisms(k.public, true, opts)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(candidates))
	for i, m := range candidates {
		names[i] = m.String()
	}
	return names, nil
}

// remember makes the mechanism that worked the only preferred one.
func (k *Key) remember(m mechanism) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.preferred = []uint{m.id}
}

// attempt makes one signature with one mechanism.
func (k *Key) attempt(s pkcs11.SessionHandle, m mechanism, public crypto.PublicKey, message, digest []byte, hash crypto.Hash) ([]byte, error) {
	data := digest
	switch m.input {
	case inputMessage:
		data = message
	case inputEncoded:
		encoded, err := encodePSS(rand.Reader, hash, digest, public.(*rsa.PublicKey).N.BitLen())
		if err != nil {
			return nil, newError(KindKey, "the key %s can't sign like this: %v", k.called(k.name()), err)
		}
		data = encoded
	}
	// Nothing may come between these calls, from no session (YubiKey, slot 9c):
	// a key that wants the login has one session only.
	var parameters runtime.Pinner
	defer parameters.Unpin()
	if m.pss != nil {
		parameters.Pin(&m.pss[0])
	}
	if k.alwaysAuthenticate { // that of the mechanism before is spent
		if err := k.login.prepareSignature(context.Background()); err != nil {
			return nil, err
		}
	}
	if err := k.token.calls.signInit(s, m, pkcs11.ObjectHandle(k.handle.Load())); err != nil {
		return nil, err
	}
	if k.alwaysAuthenticate {
		if err := k.login.logInForSignature(context.Background(), s); err != nil {
			return nil, err
		}
	}
	return k.token.calls.sign(s, data, signatureSize(public))
}

// signatureSize is how long a token's signature is: as the modulus, or as twice the
// order of the curve.
func signatureSize(public crypto.PublicKey) uint {
	switch key := public.(type) {
	case *rsa.PublicKey:
		return uint(key.Size())
	case *ecdsa.PublicKey:
		return 2 * uint((key.Curve.Params().N.BitLen()+7)/8)
	}
	return 0
}

// checked checks a token's signature in software and returns it in the form that
// Sign promises.
func checked(public crypto.PublicKey, raw, digest []byte, opts crypto.SignerOpts) (signature []byte, ok bool) {
	switch public := public.(type) {
	case *rsa.PublicKey:
		hash := opts.HashFunc()
		return raw, rsa.VerifyPSS(public, hash, digest, raw, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: hash}) == nil
	case *ecdsa.PublicKey:
		// Section 2.3.1 of the mechanisms specification: r and s, each as long as
		// the other.
		if len(raw) == 0 || len(raw)%2 != 0 {
			return nil, false
		}
		der, err := asn1.Marshal(struct{ R, S *big.Int }{
			new(big.Int).SetBytes(raw[:len(raw)/2]), new(big.Int).SetBytes(raw[len(raw)/2:]),
		})
		return der, err == nil && ecdsa.VerifyASN1(public, digest, der)
	}
	return nil, false
}
