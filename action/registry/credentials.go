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
	mu         sync.Mutex
	known      bool
	credential auth.Credential
	source     string // where it came from, or why there is none, as errors say it
	err        error
}

// credential implements auth.CredentialFunc.
func (r *Client) credential(ctx context.Context, host string) (auth.Credential, error) {
	l := r.login(host)
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.known {
		l.credential, l.source, l.err = r.lookUp(ctx, host)
		l.known = true
		r.sent.add(l.credential.Password, l.credential.RefreshToken, l.credential.AccessToken)
	}
	return l.credential, l.err
}

func (r *Client) login(host string) *login {
	r.mu.Lock()
	defer r.mu.Unlock()
	l, ok := r.logins[host]
	if !ok {
		l = &login{}
		r.logins[host] = l
	}
	return l
}

func (r *Client) lookUp(ctx context.Context, host string) (_ auth.Credential, source string, _ error) {
	if r.options.Username != "" {
		given := auth.Credential{Username: r.options.Username, Password: r.options.Password.Reveal()}
		return given, "from " + r.options.loginInputs(), nil
	}
	store, err := r.store()
	if err != nil {
		return auth.EmptyCredential, "", fmt.Errorf("read Docker's credentials: %w: mend the file, or set %s", err, r.options.loginInputs())
	}
	// A helper that hangs is given up; a run that is cancelled must not leave
	// behind a login that failed for that reason alone.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	found, err := credentials.Credential(store)(ctx, host)
	if err != nil {
		return auth.EmptyCredential, "", fmt.Errorf("ask Docker's credential store of %s for %s: %w: mend it, or set %s", store.ConfigPath(), host, err, r.options.loginInputs())
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
