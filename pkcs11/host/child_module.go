// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"crypto/x509"

	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
)

// Operations of a Module, in the child. Each but the first takes up where
// another has left off.

// errTooEarly is what an operation gives that needs one before it.
var errTooEarly = &pkcs11.Error{Kind: pkcs11.KindClosed, Message: "the module host was asked for a key before a login"}

// errNotLoaded is what an operation gives that needs a module.
var errNotLoaded = &pkcs11.Error{Kind: pkcs11.KindClosed, Message: "the module host was asked for a token before it had loaded a module"}

func (c *child) load(p loadParameters) (any, error) {
	if err := c.prepare(p); err != nil {
		return nil, err
	}
	return c.module.Info()
}

func (c *child) survey(struct{}) (any, error) {
	if c.module == nil {
		return nil, errNotLoaded
	}
	return c.module.Survey()
}

func (c *child) selectToken(struct{}) (any, error) {
	if c.module == nil {
		return nil, errNotLoaded
	}
	var err error
	if c.token, err = c.module.Token(c.uri); err != nil {
		return nil, err
	}
	return pkcs11.TokenStatus{TokenInfo: c.token.TokenInfo, URI: c.token.ShortURI()}, nil
}

func (c *child) login(p loginParameters) (any, error) {
	if c.token == nil {
		return nil, errTooEarly
	}
	var err error
	c.session, err = c.token.Open(context.Background(), pkcs11.SessionOptions{UserType: c.options.UserType, PIN: c.options.PIN, Write: p.Write})
	return struct{}{}, err
}

// keys lists the keys of the session, if there is one, and else what the tokens
// show without a login.
func (c *child) keys(struct{}) (any, error) {
	if c.session != nil {
		one, err := c.list(c.token, c.session)
		return []listed{one}, err
	}
	if c.module == nil {
		return nil, errNotLoaded
	}
	tokens, err := c.module.Select(c.uri)
	if err != nil {
		return nil, err
	}
	all := []listed{}
	for _, token := range tokens {
		one, err := c.listWithoutLogin(token)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, nil
}

func (c *child) listWithoutLogin(token *pkcs11.Token) (listed, error) {
	session, err := token.Open(context.Background(), pkcs11.SessionOptions{NoLogin: true})
	if err != nil {
		return listed{}, err
	}
	defer session.Close()
	return c.list(token, session)
}

func (c *child) list(token *pkcs11.Token, session *pkcs11.Session) (listed, error) {
	l := listed{
		Token:    pkcs11.TokenStatus{TokenInfo: token.TokenInfo, URI: token.ShortURI()},
		LoggedIn: session.LoggedIn(),
		Keys:     []listedKey{},
	}
	certificates, err := session.Certificates()
	if err != nil {
		return listed{}, err
	}
	l.Certificates = encodeCertificates(certificates)
	keys, err := session.Keys(c.uri, c.options.Certificates)
	if err != nil && (session.LoggedIn() || !pkcs11.IsKind(err, pkcs11.KindNoKey)) { // it may be one that isn't seen
		return listed{}, err
	}
	for _, key := range keys {
		entry := listedKey{URI: key.URI, Type: key.Type, Problem: key.Problem, Mechanisms: key.Mechanisms}
		if key.Public != nil {
			if entry.PublicKey, err = x509.MarshalPKIXPublicKey(key.Public); err != nil {
				return listed{}, err
			}
		}
		l.Keys = append(l.Keys, entry)
	}
	return l, nil
}

func (c *child) openKey(struct{}) (any, error) {
	if c.session == nil {
		return nil, errTooEarly
	}
	var err error
	if c.key, err = c.session.Key(context.Background(), c.uri, c.options); err != nil {
		return nil, err
	}
	return describeKey(c.key, false)
}

func (c *child) mechanisms(p signParameters) (any, error) {
	key, err := c.keyOf(p.Sibling)
	if err != nil {
		return nil, err
	}
	return key.Mechanisms(p.options())
}

func (c *child) generate(p generateParameters) (any, error) {
	if c.session == nil {
		return nil, errTooEarly
	}
	made, err := c.session.Generate(c.uri, p.Type)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKIXPublicKey(made.Public)
	return generated{made.URI, der, made.Warnings}, err
}

func (c *child) importCertificates(p importParameters) (any, error) {
	if c.key == nil {
		return nil, errNoKey
	}
	return c.session.Import(c.key, parseCertificates(p.Certificates))
}
