// SPDX-License-Identifier: Apache-2.0

package pkcs11

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"

	"github.com/miekg/pkcs11"
)

// SessionOptions say how a session is opened. The zero value is one for tokens
// that want no login.
type SessionOptions struct {
	// UserType and PIN are as in KeyOptions.
	UserType uint
	PIN      PINFunc
	// Write says that objects will be made on the token.
	Write bool
	// NoLogin leaves the token as it is: only what everybody may see is seen.
	NoLogin bool
}

// Session is one session with a token, to look at what it holds and to add to
// it. Signing is a [Key]'s. It must not be used by two goroutines at once.
// Close it before its module, after its keys.
type Session struct {
	token  *Token
	handle pkcs11.SessionHandle
	login  login
}

// Open opens a session and logs in, if the token's flags want it; the PIN is
// tried once. Where there is no PIN the error is of KindNoPIN.
func (t *Token) Open(ctx context.Context, o SessionOptions) (*Session, error) {
	s := &Session{token: t, login: login{token: t, user: cmp.Or(o.UserType, UserTypeUser), ask: o.PIN}}
	open := t.openSession
	if o.Write {
		open = t.openWritable
	}
	var err error
	if s.handle, err = open(); err != nil {
		return nil, failed(err, "no session with the token %s can be opened", t.URI())
	}
	if o.NoLogin {
		return s, nil
	}
	if err := s.login.logIn(ctx, s.handle); err != nil {
		t.calls.postpone(s.Close)
		return nil, err
	}
	return s, nil
}

// openWritable opens a read-write session, in which objects can be made.
func (t *Token) openWritable() (pkcs11.SessionHandle, error) {
	return t.openFirst(readWrite)
}

// LoggedIn reports whether the session has logged in. There may have been no
// need to.
func (s *Session) LoggedIn() bool { return s.login.done }

// Key opens the one private key that the URI selects, as Token.Key does, with
// the session's login: there is no second one.
func (s *Session) Key(ctx context.Context, u URI, o KeyOptions) (*Key, error) {
	k, err := s.token.newKey(u, o)
	if err != nil {
		return nil, err
	}
	*k.login = s.login
	k.login.done = false // the session logs out
	if err := k.sessions.first(func(h pkcs11.SessionHandle) error { return k.settle(ctx, s.token.calls.inventory(h)) }); err != nil {
		s.token.calls.postpone(k.Close)
		return nil, err
	}
	return k, nil
}

// Certificates reads all X.509 certificates that the session sees, in no order,
// as ParseCertificate returns them. Of a token with too many to be read they are
// those with the CKA_ID or label of a private key, and those above them.
func (s *Session) Certificates() ([]*x509.Certificate, error) {
	v := s.token.calls.inventory(s.handle)
	certificates, err := v.allCertificates(func() ([]object, error) { return v.find(pkcs11.CKO_PRIVATE_KEY, URI{}) })
	if err != nil {
		return nil, asError(err, "the certificates on the token %s can't be read", s.token.URI())
	}
	return certificates, nil
}

// restart ends the session, has the module forget what it keeps of its tokens, and
// opens the session anew, with another login.
func (s *Session) restart() error {
	calls := s.token.calls
	// What fails here is over with the module's end.
	_ = s.login.out(s.handle)
	_ = calls.closeSession(s.handle)
	s.handle = noSession
	if err := s.token.module.restart(); err != nil {
		return err
	}
	if _, err := calls.slots(); err != nil { // some modules know no slot before it
		return err
	}
	var err error
	if s.handle, err = s.token.openWritable(); err != nil {
		return err
	}
	return s.login.logIn(context.Background(), s.handle)
}

// Close logs out, ends the session and forgets the PIN. To close it again does
// nothing: the module may have given its handle to another session.
func (s *Session) Close() error {
	if s.handle == noSession {
		return nil
	}
	err := errors.Join(s.login.out(s.handle), s.token.calls.closeSession(s.handle))
	s.handle = noSession
	s.login.close()
	if err != nil {
		return failed(err, "the session with the token %s can't be closed", s.token.URI())
	}
	return nil
}
