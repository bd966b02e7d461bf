// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
)

// p11KitClients are the places where distributions put p11-kit's client module.
var p11KitClients = []string{
	"/usr/lib/*-linux-gnu/pkcs11/p11-kit-client.so", // Debian, Ubuntu
	"/usr/lib64/pkcs11/p11-kit-client.so",           // Fedora, RHEL, openSUSE
	"/usr/lib/pkcs11/p11-kit-client.so",             // Arch
	"/usr/local/lib/pkcs11/p11-kit-client.so",       // built from source
	"/opt/homebrew/lib/pkcs11/p11-kit-client.so",    // macOS
}

// P11Kit is a token behind p11-kit's server, reached by p11-kit's client module
// through a socket, as tokens on other machines are.
type P11Kit struct {
	Store

	server *daemon
	token  *Token
}

var serverAddress = regexp.MustCompile(`P11_KIT_SERVER_ADDRESS=([^;]+);`)

// NewP11Kit serves one token. It stays the caller's to close, after the server.
func NewP11Kit(token *Token) (*P11Kit, error) {
	store, err := newStore("p11-kit", p11KitClients)
	if err != nil {
		return nil, fmt.Errorf("serve token %q: %w", token.Label, err)
	}
	p := &P11Kit{Store: store}
	var address string
	p.server, address, err = startDaemon(append(baseEnv(), token.Env()...), serverAddress,
		"p11-kit", "server", "--foreground", "--sh", "--provider", token.Store.Module,
		"--name", filepath.Join(p.dir, "socket"), "pkcs11:serial="+token.Serial)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("serve token %q: %w", token.Label, err), p.Store.Close())
	}
	p.env = []string{"P11_KIT_SERVER_ADDRESS=" + address}
	if p.token, err = p.remote(token); err != nil {
		return nil, errors.Join(fmt.Errorf("serve token %q: %w", token.Label, err), p.Close())
	}
	return p, nil
}

// remote is the token as the client module shows it.
func (p *P11Kit) remote(token *Token) (*Token, error) {
	remote := *token
	remote.Store, remote.Keys = &p.Store, nil
	for _, key := range token.Keys {
		k := *key
		k.Token = &remote
		remote.Keys = append(remote.Keys, &k)
	}
	var err error
	remote.Slot, remote.Serial, err = p.only()
	return &remote, err
}

// Token returns the token with the keys that it had when it was served.
func (p *P11Kit) Token() *Token { return p.token }

// Stop ends the server, as if its machine went away: the client module shows no
// token then.
func (p *P11Kit) Stop() error {
	if p.server == nil {
		return nil
	}
	err := p.server.stop()
	p.server = nil
	return err
}

// Close ends the server.
func (p *P11Kit) Close() error { return errors.Join(p.Stop(), p.Store.Close()) }
