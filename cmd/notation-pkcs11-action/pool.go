// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"sync"

	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
	"github.com/notation-pkcs11/notation-pkcs11/plugin"
)

// pool is a plugin.Opener that keeps keys open for a whole run: one module host,
// one login, one look at the certificates. What it hands out is a share of the
// key, to be closed at will.
type pool struct {
	opener plugin.Opener

	mu   sync.Mutex
	keys map[keyName]*sharedKey
}

// keyName tells keys apart.
type keyName struct {
	uri, module, initArgs string
	userType              uint
}

func newPool(opener plugin.Opener) *pool {
	return &pool{opener: opener, keys: map[keyName]*sharedKey{}}
}

// Open implements plugin.Opener. A key that could not be opened is not tried
// again: that could lock its token.
func (p *pool) Open(ctx context.Context, s plugin.Settings) (plugin.Key, error) {
	key := p.key(s)
	current, _, err := key.current(ctx, 0)
	if err != nil {
		return nil, err
	}
	return &share{key, current.Public()}, nil
}

func (p *pool) key(s plugin.Settings) *sharedKey {
	s.PublicOnly = false // the run is going to sign
	name := keyName{s.URI.String(), s.Module, s.InitArgs, s.UserType}
	p.mu.Lock()
	defer p.mu.Unlock()
	key := p.keys[name]
	if key == nil {
		key = &sharedKey{opener: p.opener, settings: s}
		p.keys[name] = key
	}
	return key
}

// Close closes the keys.
func (p *pool) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var err error
	for _, key := range p.keys {
		err = errors.Join(err, key.close())
	}
	clear(p.keys)
	return err
}

// sharedKey is a key that many use. If the process that holds its module dies,
// it is opened again, once.
type sharedKey struct {
	opener   plugin.Opener
	settings plugin.Settings

	mu     sync.Mutex // held while the key is opened
	opened int        // how often it was
	key    plugin.Key // nil: it could not be opened
	err    error      // why
	dead   int        // the last opening of which the key died

	look     sync.Mutex // held while certificates are read
	own, all []*x509.Certificate
}

// maxOpenings: the first, and one more.
const maxOpenings = 2

// current returns the key if it was opened more than after times; else it opens
// it.
func (k *sharedKey) current(ctx context.Context, after int) (key plugin.Key, opened int, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.opened <= after {
		if k.key != nil {
			k.key.Close() // dead: what it says means nothing
		}
		k.opened++
		k.key, k.err = k.opener.Open(ctx, k.settings)
	}
	return k.key, k.opened, k.err
}

// use lends the key out, and if it dies of that, once more.
func (k *sharedKey) use(ctx context.Context, do func(plugin.Key) error) error {
	key, opened, err := k.current(ctx, 0)
	if err != nil {
		return err
	}
	err = k.lend(key, opened, do)
	if !died(err) || ctx.Err() != nil || opened == maxOpenings {
		return err
	}
	if key, opened, err = k.current(ctx, opened); err != nil {
		return err
	}
	return k.lend(key, opened, do)
}

func (k *sharedKey) lend(key plugin.Key, opened int, do func(plugin.Key) error) error {
	err := do(key)
	if died(err) {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.dead = max(k.dead, opened)
	}
	return err
}

// died says whether a key is of no more use.
func died(err error) bool {
	return pkcs11.IsKind(err, pkcs11.KindCrash) || pkcs11.IsKind(err, pkcs11.KindTimeout) || pkcs11.IsKind(err, pkcs11.KindClosed)
}

func (k *sharedKey) sign(ctx context.Context, message []byte, opts crypto.SignerOpts) (signature []byte, err error) {
	err = k.use(ctx, func(key plugin.Key) (err error) {
		signature, err = key.SignMessage(ctx, message, opts)
		return err
	})
	return signature, err
}

// certificates reads certificates on the token into what is seen of them, if it is empty;
// they are as they were at the first look.
func (k *sharedKey) certificates(ctx context.Context, seen *[]*x509.Certificate, read func(plugin.Key, context.Context) ([]*x509.Certificate, error)) ([]*x509.Certificate, error) {
	k.look.Lock()
	defer k.look.Unlock()
	if *seen != nil {
		return *seen, nil
	}
	err := k.use(ctx, func(key plugin.Key) error {
		certificates, err := read(key, ctx)
		if err == nil {
			*seen = append([]*x509.Certificate{}, certificates...) // not nil
		}
		return err
	})
	return *seen, err
}

func (k *sharedKey) close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.key == nil {
		return nil
	}
	err := k.key.Close()
	if k.dead == k.opened {
		err = nil // it was said before, with the signature that it cost
	}
	k.key, k.err = nil, &pkcs11.Error{Kind: pkcs11.KindClosed, Message: "the key was closed"}
	return err
}

// shown is what an audited key shows; the zero URI of others.
func (k *sharedKey) shown() (shown pkcs11.URI) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if key, ok := k.key.(plugin.AuditedKey); ok {
		shown = key.Shown()
	}
	return shown
}

// mechanisms are those of an audited key; none of others. A key that is dead is not
// opened again for that.
func (k *sharedKey) mechanisms(ctx context.Context, opts crypto.SignerOpts) (names []string, err error) {
	key, opened, err := k.current(ctx, 0)
	if err != nil {
		return nil, err
	}
	err = k.lend(key, opened, func(key plugin.Key) (err error) {
		if key, ok := key.(plugin.AuditedKey); ok {
			names, err = key.Mechanisms(ctx, opts)
		}
		return err
	})
	return names, err
}

// share is a plugin.Key that is one user's share of a sharedKey.
type share struct {
	key    *sharedKey
	public crypto.PublicKey
}

// Public implements plugin.Key.
func (s *share) Public() crypto.PublicKey { return s.public }

var _ plugin.AuditedKey = (*share)(nil)

// SignMessage implements plugin.Key.
func (s *share) SignMessage(ctx context.Context, message []byte, opts crypto.SignerOpts) ([]byte, error) {
	return s.key.sign(ctx, message, opts)
}

// Certificates implements plugin.Key.
func (s *share) Certificates(ctx context.Context) ([]*x509.Certificate, error) {
	return s.key.certificates(ctx, &s.key.all, plugin.Key.Certificates)
}

// OwnCertificates implements plugin.Key.
func (s *share) OwnCertificates(ctx context.Context) ([]*x509.Certificate, error) {
	return s.key.certificates(ctx, &s.key.own, plugin.Key.OwnCertificates)
}

// Shown implements plugin.AuditedKey.
func (s *share) Shown() pkcs11.URI { return s.key.shown() }

// Mechanisms implements plugin.AuditedKey.
func (s *share) Mechanisms(ctx context.Context, opts crypto.SignerOpts) ([]string, error) {
	return s.key.mechanisms(ctx, opts)
}

// Close implements plugin.Key. The key stays open for others.
func (s *share) Close() error { return nil }
