// SPDX-License-Identifier: Apache-2.0

package pkcs11

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"io"
	"sync"
	"sync/atomic"

	"github.com/miekg/pkcs11"
)

// KeyOptions say how a key is opened. The zero value opens keys on tokens that
// want no login.
type KeyOptions struct {
	// UserType logs in as another user than the token's normal one. Zero: UserTypeUser.
	UserType uint
	// PIN is asked if the token wants a login. Nil: there is no PIN.
	PIN PINFunc
	// AskEachTime has PIN asked for each login, with none kept in between. A key that wants
	// a login for every signature has it asked for each.
	AskEachTime bool
	// Sessions bounds how many signatures are made at once. Zero: one. A session is opened
	// when a signature waits for one, and fewer are used where the token has no more.
	Sessions int
	// Certificates may hold the key's own, from elsewhere than the token. Their
	// public keys are candidates where the private key doesn't show its own.
	Certificates []*x509.Certificate
}

// Key is a private key on a token. It implements crypto.Signer and
// crypto.MessageSigner and may be used from several goroutines. Close it
// before its module.
type Key struct {
	token        *Token
	uri          URI
	certificates []*x509.Certificate

	public     crypto.PublicKey
	candidates candidates      // where public is one of them
	proven     atomic.Bool     // public is the other half beyond doubt
	probed     atomic.Bool     // signatures were made to decide
	shown      map[uint][]byte // what the private key shows of it

	label              string
	id                 []byte
	alwaysAuthenticate bool
	allowed            []uint // CKA_ALLOWED_MECHANISMS

	looking sync.Mutex
	seen    *inventory // what opening it has read of the token. Guarded by looking, once the key is open

	sessions *sessions     // those of its siblings, too
	login    *login        // likewise
	sibling  bool          // the key that it was opened from closes them
	handle   atomic.Uint64 // a pkcs11.ObjectHandle: another one after a lost session

	mu        sync.Mutex
	preferred []uint // the token's mechanisms; once one worked, only that. Guarded by mu
}

var (
	_ crypto.Signer        = (*Key)(nil)
	_ crypto.MessageSigner = (*Key)(nil)
)

// Key opens the one private key that the URI selects on the token. It logs in
// if the token's flags want it; the PIN is tried once. If there is no such key,
// or there are several, the error (KindNoKey, KindKeys) lists the URIs of what
// there is. Where the key doesn't show its public half and several public keys can
// be that, it makes one signature to decide. After an error the session stays open
// until Module.Close.
func (t *Token) Key(ctx context.Context, u URI, o KeyOptions) (*Key, error) {
	k, err := t.newKey(u, o)
	if err != nil {
		return nil, err
	}
	if err := k.sessions.first(func(s pkcs11.SessionHandle) error { return k.enter(ctx, s) }); err != nil {
		t.calls.postpone(k.Close)
		return nil, err
	}
	return k, nil
}

// PublicKey returns the public half of the one private key that the URI
// selects. It logs in only if what it sees without leaves none or several: the
// private key's attributes, or the public keys and certificates that the URI's
// object and id select, with those of KeyOptions.Certificates beside them. A
// certificate on the token counts alone only where no other on it, but of
// authorities, has another public key. The private key itself may be
// invisible then, so a URI that selects several is noticed only by Key. The
// session that it takes stays open until Module.Close.
func (t *Token) PublicKey(ctx context.Context, u URI, o KeyOptions) (crypto.PublicKey, error) {
	k, err := t.newKey(u, o)
	if err != nil {
		return nil, err
	}
	defer t.calls.postpone(k.Close)
	err = k.sessions.first(func(s pkcs11.SessionHandle) error {
		var err error
		if k.public, err = k.peek(s); k.public != nil {
			return nil
		}
		if err != nil {
			// It may need the login, or have left a search active (C_FindObjectsFinal).
			if s, err = k.sessions.renew(); err != nil {
				return failed(err, "no session with the token %s can be opened", t.ShortURI())
			}
		}
		return k.enter(ctx, s)
	})
	return k.public, err
}

// newKey opens nothing yet.
func (t *Token) newKey(u URI, o KeyOptions) (*Key, error) {
	if kind, present := u.Value(AttrType); present && kind != "private" {
		return nil, newError(KindURI, "the key URI selects objects of type=%s; use type=private, or no type", kind)
	}
	if o.UserType == 0 {
		o.UserType = UserTypeUser
	}
	k := &Key{
		token:        t,
		uri:          u,
		certificates: o.Certificates,
		sessions:     &sessions{},
		login:        &login{token: t, user: o.UserType, ask: o.PIN, each: o.AskEachTime},
	}
	most := max(o.Sessions, 1)
	if t.maxSessions > 0 {
		most = int(min(uint(most), t.maxSessions))
	}
	k.sessions.init(t, most, k.resume)
	return k, nil
}

// peek reads the public key without a login. It is nil where it can't be known
// yet; the error is that of a call.
func (k *Key) peek(s pkcs11.SessionHandle) (crypto.PublicKey, error) {
	if !k.login.wanted() {
		return nil, nil // enter doesn't log in, and checks more
	}
	v := k.token.calls.inventory(s)
	byName, err := v.named(k.uri)
	if err != nil {
		return nil, err
	}
	private := byName.of(pkcs11.CKO_PRIVATE_KEY)
	if len(byName.objects) == 0 {
		private, err = v.find(pkcs11.CKO_PRIVATE_KEY, k.uri)
	}
	if err != nil || len(private) > 1 {
		return nil, err // enter says what is wrong
	}
	var id identity
	if len(private) == 1 {
		if id, err = k.identify(v, private[0]); err != nil || id.public != nil {
			return id.public, err
		}
	} else if id.candidates, err = k.visibleCandidates(v, byName); err != nil {
		return nil, err
	}
	list := id.candidates
	if len(list) != 1 {
		return nil, nil
	}
	if list.isSettled() {
		return list[0].public, nil
	}
	// A former key's certificate can have the name, and the key's own another.
	all, err := v.allCandidates(object{}, id.values)
	if err != nil || len(all) != 1 || !equal(all[0].public, list[0].public) {
		return nil, err
	}
	return list[0].public, nil
}

// prove makes sure of the public half, by a signature where it isn't certain.
func (k *Key) prove() error {
	if k.proven.Load() {
		return nil
	}
	return k.decide()
}

// enter logs in and settles on the key.
func (k *Key) enter(ctx context.Context, s pkcs11.SessionHandle) error {
	noPIN := k.login.logIn(ctx, s)
	if noPIN != nil && !IsKind(noPIN, KindNoPIN) { // some keys can be used without
		return noPIN
	}
	err := k.find(ctx, s)
	var e *Error
	if noPIN != nil && errors.As(err, &e) && (e.Kind == KindNoKey || e.RV == pkcs11.CKR_USER_NOT_LOGGED_IN) {
		return noPIN
	}
	return err
}

// find settles on the key, and keeps what it reads of the token.
func (k *Key) find(ctx context.Context, s pkcs11.SessionHandle) error {
	k.seen = k.token.calls.inventory(s)
	if len(k.certificates) == 0 {
		// They will be asked for, and count where the key doesn't show its public half.
		if err := k.seen.readCertificates(); err != nil {
			return asError(err, "the certificates on the token %s can't be read", k.token.ShortURI())
		}
	}
	return k.settle(ctx, k.seen)
}

// settle finds the private key, and reads what signing needs to know.
func (k *Key) settle(ctx context.Context, v *inventory) error {
	o, err := k.findOne(v)
	if err != nil {
		return err
	}
	return k.settleOn(ctx, v, o, false)
}

// settleOn reads what signing with a private key needs to know. Where its public
// half isn't certain a signature decides: if there is a choice, or if it is to be
// proven.
func (k *Key) settleOn(ctx context.Context, v *inventory, o object, prove bool) error {
	id, err := k.identify(v, o)
	if err != nil {
		return err
	}
	k.handle.Store(uint64(o.handle))
	k.label, k.id, k.public, k.candidates, k.shown = o.label, o.id, id.public, id.candidates, id.values
	// No signature needs these: one that they would forbid fails by itself.
	k.alwaysAuthenticate, k.allowed = isTrue(id.values[pkcs11.CKA_ALWAYS_AUTHENTICATE]), ulongs(id.values[pkcs11.CKA_ALLOWED_MECHANISMS])
	if sign, present := id.values[pkcs11.CKA_SIGN]; present && !isTrue(sign) {
		return notForSigning(k.called(o))
	}
	if k.alwaysAuthenticate {
		k.sessions.limit(1)
		if !k.login.each {
			if err := k.login.obtain(ctx); err != nil {
				return err
			}
		}
	}
	if id.public != nil {
		k.proven.Store(true)
		return nil
	}
	k.public = id.candidates[0].public
	if id.isSettled() && !prove {
		return nil
	}
	return k.decide()
}

func notForSigning(key URI) *Error {
	return newError(KindNotPermitted, "the key %s is not for signing: its CKA_SIGN is false", key)
}

// resume does again what a new session needs after the old ones were lost, or
// the last one closed and its login with it.
func (k *Key) resume(s pkcs11.SessionHandle) error {
	if err := k.login.checkToken(); err != nil {
		return err
	}
	if err := k.login.logIn(context.Background(), s); err != nil && !IsKind(err, KindNoPIN) {
		return err
	}
	o, err := k.findOne(k.token.calls.inventory(s))
	if err != nil {
		return err
	}
	k.handle.Store(uint64(o.handle))
	return nil
}

// Public returns the key's public half, an *rsa.PublicKey or *ecdsa.PublicKey.
func (k *Key) Public() crypto.PublicKey { return k.public }

// Probed reports whether signatures over a message of no meaning were made, to tell
// which public half is the key's.
func (k *Key) Probed() bool { return k.probed.Load() }

// URI returns the URI that selects this key wherever its token is plugged in.
func (k *Key) URI() URI { return object{label: k.label, id: k.id}.uri(k.token.URI()) }

// called is the URI by which errors name the key: as its user wrote it or, where that
// names none, by the label and the CKA_ID that it has.
func (k *Key) called(has object) URI {
	_, label := k.uri.Value(AttrObject)
	_, id := k.uri.Value(AttrID)
	if label || id {
		return k.uri.Selection()
	}
	return has.uri(k.token.ShortURI())
}

// Certificates reads all X.509 certificates on the token, in no order, as
// ParseCertificate returns them. The key's own may be among them under any CKA_ID
// or label, or not at all. Of a token with too many to be read they are those
// with the key's CKA_ID or label, and those above them. What was read when the key was
// opened is not read again, the first time.
func (k *Key) Certificates() ([]*x509.Certificate, error) {
	return k.look(func(v *inventory) ([]*x509.Certificate, error) {
		return v.allCertificates(func() ([]object, error) { return []object{k.name()}, nil })
	})
}

// OwnCertificates reads the X.509 certificates on the token that have the key's CKA_ID or
// label, and those above them and above those of KeyOptions.Certificates. They are
// found without looking at all others, which a shared partition may have hundreds of; so
// the key's own can be missing, if it has another name. Where the token has few
// certificates they are all, as of Certificates, and read as by it.
func (k *Key) OwnCertificates() ([]*x509.Certificate, error) {
	return k.look(func(v *inventory) ([]*x509.Certificate, error) { return v.ownCertificates(k.name(), k.certificates) })
}

// look reads certificates, the first time in what opening the key has seen.
func (k *Key) look(read func(*inventory) ([]*x509.Certificate, error)) ([]*x509.Certificate, error) {
	k.looking.Lock()
	defer k.looking.Unlock()
	s, err := k.sessions.acquire()
	if err != nil {
		return nil, asError(err, "no session with the token %s can be opened", k.token.ShortURI())
	}
	defer func() { k.sessions.release(s, err == nil) }()
	v := k.seen
	if k.seen = nil; v == nil || v.session != s {
		v = k.token.calls.inventory(s)
	}
	certificates, err := read(v)
	if err != nil {
		return nil, asError(err, "the certificates on the token %s can't be read", k.token.ShortURI())
	}
	return certificates, nil
}

func (k *Key) name() object { return object{label: k.label, id: k.id} }

// Sign signs a digest. The options name its hash: SHA-256, SHA-384 or SHA-512;
// for RSA keys they are *rsa.PSSOptions with a salt as long as the hash. The
// result is the RSASSA-PSS signature, or the ASN.1 DER form of the ECDSA one.
// The token's random numbers are used, or this process's; rand is ignored. Some
// tokens only sign messages, which is an error of KindMechanism: SignMessage
// works with all. Sign implements crypto.Signer.
func (k *Key) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if opts != nil && len(digest) != opts.HashFunc().Size() {
		return nil, newError(KindConfig, "the digest has %d bytes, which is not the length of %v", len(digest), opts.HashFunc())
	}
	return k.sign(nil, digest, opts)
}

// SignMessage hashes a message and signs it, with the same options and result
// as Sign. It implements crypto.MessageSigner.
func (k *Key) SignMessage(_ io.Reader, message []byte, opts crypto.SignerOpts) ([]byte, error) {
	if opts == nil || !opts.HashFunc().Available() {
		return k.sign(message, nil, opts) // whose plan has the error
	}
	h := opts.HashFunc().New()
	h.Write(message)
	return k.sign(message, h.Sum(nil), opts)
}

// AtOnce returns how many signatures it is of use to ask for at once: not many more than
// there are sessions for. It grows as the token grants sessions, up to KeyOptions.Sessions.
func (k *Key) AtOnce() int { return k.sessions.atOnce() }

// Close logs out, closes the key's sessions and forgets the PIN. It waits for
// signatures that are being made. A sibling is closed with the key that it was
// opened from, and Close does nothing.
func (k *Key) Close() error {
	if k.sibling {
		return nil
	}
	err := k.sessions.close(k.login.out)
	k.login.close()
	if err != nil {
		return failed(err, "the session with the token %s can't be closed", k.token.ShortURI())
	}
	return nil
}
