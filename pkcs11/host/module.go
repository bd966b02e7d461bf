// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"crypto/x509"
	"fmt"

	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
)

// Module is a PKCS#11 module in a process of its own, for people who look at
// what tokens hold, and add to it. Its steps are those of Open, one at a time,
// and in this order: Load, Token, Login, Key. Its methods must not be called
// from two goroutines at once. Close it when done, which ends the process.
//
// When the context of a method ends first, the process is killed and the Module
// is of no more use. Errors are those that Open has.
type Module struct {
	process *process
}

// Load starts a module host and loads the module. The URI of the configuration
// selects the token and key of all that follows; PublicOnly is ignored.
func Load(ctx context.Context, c Config) (*Module, pkcs11.ModuleInfo, error) {
	p, err := c.start(ctx)
	if err != nil {
		return nil, pkcs11.ModuleInfo{}, err
	}
	m := &Module{process: p}
	var info pkcs11.ModuleInfo
	if err := p.call(ctx, opLoad, c.parameters(), &info); err != nil {
		err = p.explain(err)
		m.Close()
		return nil, pkcs11.ModuleInfo{}, err
	}
	return m, info, nil
}

// Survey describes all tokens of the module without a login.
func (m *Module) Survey(ctx context.Context) (tokens []pkcs11.TokenStatus, err error) {
	err = m.process.call(ctx, opSurvey, struct{}{}, &tokens)
	return tokens, m.process.explain(err)
}

// Token finds the one token that the URI selects. Its objects are not counted.
func (m *Module) Token(ctx context.Context) (token pkcs11.TokenStatus, err error) {
	err = m.process.call(ctx, opToken, struct{}{}, &token)
	return token, m.process.explain(err)
}

// Login opens a session with the token, to add to what it holds if write is
// true, and logs in if the token wants it.
func (m *Module) Login(ctx context.Context, write bool) error {
	return m.process.call(ctx, opLogin, loginParameters{write}, &struct{}{})
}

// Listing is what a token shows.
type Listing struct {
	Token        pkcs11.TokenStatus // without a count of its objects
	LoggedIn     bool
	Keys         []pkcs11.KeyInfo
	Certificates []*x509.Certificate
}

// Keys lists the keys and certificates on the token after Login; if the URI selects
// none of its keys, the error is of KindNoKey. Without Login
// before, it lists what all tokens show that the URI selects.
func (m *Module) Keys(ctx context.Context) ([]Listing, error) {
	var result []listed
	if err := m.process.call(ctx, opKeys, struct{}{}, &result); err != nil {
		return nil, err
	}
	listings := make([]Listing, len(result))
	for i, l := range result {
		listings[i] = Listing{Token: l.Token, LoggedIn: l.LoggedIn, Certificates: parseCertificates(l.Certificates)}
		for _, key := range l.Keys {
			info := pkcs11.KeyInfo{URI: key.URI, Type: key.Type, Problem: key.Problem, Mechanisms: key.Mechanisms}
			if len(key.PublicKey) > 0 {
				var err error
				if info.Public, err = pkcs11.ParsePublicKey(key.PublicKey); err != nil {
					return nil, fmt.Errorf("the public half of the key %s can't be parsed: %w", key.URI, err)
				}
			}
			listings[i].Keys = append(listings[i].Keys, info)
		}
	}
	return listings, nil
}

// Key opens the one private key that the URI selects, after Login.
func (m *Module) Key(ctx context.Context) (*Key, error) {
	var result opened
	if err := m.process.call(ctx, opKey, struct{}{}, &result); err != nil {
		return nil, err
	}
	k := &Key{process: m.process, borrowed: true, turns: &turns{limit: 1}}
	return k, k.parse(result)
}

// Generate makes a key pair under the URI's name, after Login with write, as
// pkcs11.Session.Generate does.
func (m *Module) Generate(ctx context.Context, keyType string) (pkcs11.Generated, error) {
	var result generated
	if err := m.process.call(ctx, opGenerate, generateParameters{keyType}, &result); err != nil {
		return pkcs11.Generated{}, err
	}
	public, err := pkcs11.ParsePublicKey(result.PublicKey)
	return pkcs11.Generated{URI: result.URI, Public: public, Warnings: result.Warnings}, err
}

// Import stores certificates on the token of the key, after Login with write
// and Key, as pkcs11.Session.Import does.
func (m *Module) Import(ctx context.Context, certificates []*x509.Certificate) (stored []bool, err error) {
	err = m.process.call(ctx, opImport, importParameters{encodeCertificates(certificates)}, &stored)
	return stored, err
}

// Close logs out, finalizes the module and ends its process, as Key.Close does.
func (m *Module) Close() error { return m.process.stop() }
