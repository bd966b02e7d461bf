// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"fmt"
	"sync"
	"time"

	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"
)

// login is how a host is logged in to. It is looked up once, and only when the
// host asks for it, because a credential helper is a process.
type login struct {
	begin sync.Once
	done  chan struct{} // closed when the rest is set

	credential auth.Credential
	source     string // where it came from, or why there is none, as errors say it
	err        error
}

// helperLimit is after how long a credential helper is given up.
const helperLimit = 30 * time.Second

// credential implements auth.CredentialFunc. The look-up belongs to the run, not to the
// request that asks first: a request that ends must not leave behind a login that failed
// for that reason alone. [Client.Close] ends it.
func (r *Client) credential(ctx context.Context, host string) (auth.Credential, error) {
	l := r.login(host)
	l.begin.Do(func() {
		r.lookUps.Go(func() {
			defer close(l.done)
			limited, cancel := context.WithTimeout(r.ended, helperLimit)
			defer cancel()
			l.credential, l.source, l.err = r.lookUp(limited, host)
			r.sent.add(l.credential.Password, l.credential.RefreshToken, l.credential.AccessToken)
		})
	})
	select {
	case <-l.done:
		return l.credential, l.err
	case <-ctx.Done():
		return auth.EmptyCredential, fmt.Errorf("wait for Docker's credential store, or its credential helper, to answer for %s: %w", host, ctx.Err())
	}
}

func (r *Client) login(host string) *login {
	r.mu.Lock()
	defer r.mu.Unlock()
	l, ok := r.logins[host]
	if !ok {
		l = &login{done: make(chan struct{})}
		r.logins[host] = l
	}
	return l
}

// lookedUp reports whether the login is known.
func (l *login) lookedUp() bool {
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}

func (r *Client) lookUp(ctx context.Context, host string) (_ auth.Credential, source string, _ error) {
	if r.options.Username != "" {
		given := auth.Credential{Username: r.options.Username, Password: r.options.Password.Reveal()}
		return given, "from " + r.options.loginInputs(), nil
	}
	store, err := r.store()
	if err != nil {
		return auth.EmptyCredential, "", fmt.Errorf("the credentials of Docker can't be read; fix the file, or set %s: %w", r.options.loginInputs(), err)
	}
	address := credentials.ServerAddressFromHostname(host)
	helper, err := helperOf(store.ConfigPath(), address)
	var found auth.Credential
	switch {
	case err != nil:
	case helper != "":
		found, err = askHelper(ctx, helper, address)
	default:
		found, err = credentials.Credential(store)(ctx, host)
	}
	if err != nil {
		return auth.EmptyCredential, "", fmt.Errorf("the credential store of Docker (%s) fails for %s; fix the store, or set %s: %w", store.ConfigPath(), host, r.options.loginInputs(), err)
	}
	if found == auth.EmptyCredential {
		return found, "none, because " + store.ConfigPath() + " has none for " + host + " and " + r.options.loginInputs() + " are not set", nil
	}
	return found, "from " + store.ConfigPath(), nil
}

func (r *Client) openStore() (*credentials.DynamicStore, error) {
	if r.options.CredentialsFile != "" {
		return credentials.NewStore(r.options.CredentialsFile, credentials.StoreOptions{})
	}
	return credentials.NewStoreFromDocker(credentials.StoreOptions{})
}
