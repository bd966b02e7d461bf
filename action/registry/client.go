// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
	"oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"
	"oras.land/oras-go/v2/registry/remote/errcode"
)

// What a registry may make us read.
const (
	maxManifestBytes          = 4 << 20   // a manifest, an index, a page of referrers; notation's limit too
	maxSignatureManifestBytes = 256 << 10 // notation's limit is that of any manifest; what is in use is below 2 KiB
	maxEnvelopeBytes          = 1 << 20   // a signature envelope; notation's limit is 32 MiB, what is in use is below 32 KiB
	maxOpenEnvelopeBytes      = 2 << 20   // the envelopes that are parsed at one time, which take many times the memory
	maxReferrerPages          = 100
)

// Options are what a run says about registries.
type Options struct {
	// Username and password are for the one registry that the run is about.
	// Without them Docker's credential store is asked, and where that knows
	// nothing of a registry, it is visited anonymously.
	Username string
	Password Secret

	// CredentialsFile is Docker's config.json. Empty: where Docker keeps it.
	CredentialsFile string

	// Insecure are hosts, such as "registry.internal:5000", that are spoken to
	// over plain HTTP. Those on loopback are in any case.
	Insecure []string

	// Connections is how many connections to a host are kept open for the next
	// request. Zero: two.
	Connections int

	// Signing says that artifacts get signed: what the registry says of them is
	// not relied on.
	Signing bool

	// UserAgent names this program to registries.
	UserAgent string
}

// Client are the clients of all repositories of a run. They share one
// transport, one cache of tokens and the credentials. Its methods may be called
// concurrently.
type Client struct {
	options Options
	Client  *auth.Client
	store   func() (*credentials.DynamicStore, error)
	open    *semaphore.Weighted // bytes of envelopes that are parsed
	sent    sentSecrets

	mu           sync.Mutex
	repositories map[string]*remote.Repository // by registry/repository
	logins       map[string]*login             // by host
}

// login is how a host is logged in to. It is looked up once, and only when the
// host asks for it, because a credential helper is a process.
type login struct {
	mu         sync.Mutex
	known      bool
	credential auth.Credential
	source     string // where it came from, or why there is none, as errors say it
	err        error
}

func New(options Options) *Client {
	r := &Client{
		options:      options,
		open:         semaphore.NewWeighted(maxOpenEnvelopeBytes),
		repositories: map[string]*remote.Repository{},
		logins:       map[string]*login{},
	}
	r.store = sync.OnceValues(r.openStore)
	r.Client = &auth.Client{
		Client:     &http.Client{Transport: newTransport(options, r.plain, &r.sent)},
		Cache:      auth.NewCache(),
		Credential: r.credential,
		ClientID:   "notation-pkcs11",
	}
	if options.UserAgent != "" {
		r.Client.SetUserAgent(options.UserAgent)
	}
	return r
}

// Check finds, before the first request, what is wrong with the options for the
// artifacts of the run.
func (o Options) Check(artifacts []string) error {
	if o.Username == "" {
		return nil
	}
	var hosts []string
	for _, artifact := range artifacts {
		ref, err := registry.ParseReference(artifact)
		if err != nil {
			return fmt.Errorf("artifact %q: %w", artifact, err)
		}
		hosts = append(hosts, ref.Registry)
	}
	slices.Sort(hosts)
	if hosts = slices.Compact(hosts); len(hosts) > 1 {
		return fmt.Errorf("registry_username and registry_password are for one registry, and the artifacts are on %s: log in to each with docker login instead", strings.Join(hosts, " and "))
	}
	return nil
}

// repository returns the client of a reference's repository, always the same one:
// it remembers whether the registry has the Referrers API.
func (r *Client) repository(ref registry.Reference) (*remote.Repository, error) {
	ref.Reference = ""
	if err := ref.ValidateRegistry(); err != nil {
		return nil, err
	}
	if err := ref.ValidateRepository(); err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if known, ok := r.repositories[ref.String()]; ok {
		return known, nil
	}
	if r.options.Username != "" {
		for _, other := range r.repositories {
			if other.Reference.Registry != ref.Registry {
				// Or a password would go to whoever an artifact is named after.
				return nil, fmt.Errorf("registry_username and registry_password were for %s, not for %s too: log in to each with docker login instead", other.Reference.Registry, ref.Registry)
			}
		}
	}
	repository := &remote.Repository{
		Client:               r.Client,
		Reference:            ref,
		PlainHTTP:            r.plain(ref.Host()),
		MaxMetadataBytes:     maxManifestBytes,
		ReferrerListMaxPages: maxReferrerPages,
		SkipReferrersGC:      true, // see docs/guarantees.md
	}
	r.repositories[ref.String()] = repository
	return repository, nil
}

// plain reports whether a host is spoken to over plain HTTP.
func (r *Client) plain(host string) bool {
	if slices.Contains(r.options.Insecure, host) {
		return true
	}
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	ip := net.ParseIP(strings.Trim(name, "[]"))
	return name == "localhost" || ip.IsLoopback()
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
		return given, "from registry_username and registry_password", nil
	}
	store, err := r.store()
	if err != nil {
		return auth.EmptyCredential, "", fmt.Errorf("read Docker's credentials: %w: mend the file, or set registry_username and registry_password", err)
	}
	// A helper that hangs is given up; a run that is cancelled must not leave
	// behind a login that failed for that reason alone.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	found, err := credentials.Credential(store)(ctx, host)
	if err != nil {
		return auth.EmptyCredential, "", fmt.Errorf("ask Docker's credential store of %s for %s: %w: mend it, or set registry_username and registry_password", store.ConfigPath(), host, err)
	}
	if found == auth.EmptyCredential {
		return found, "none, because " + store.ConfigPath() + " has none for " + host + " and registry_username and registry_password are not set", nil
	}
	return found, "from " + store.ConfigPath(), nil
}

func (r *Client) openStore() (*credentials.DynamicStore, error) {
	if r.options.CredentialsFile != "" {
		return credentials.NewStore(r.options.CredentialsFile, credentials.StoreOptions{})
	}
	return credentials.NewStoreFromDocker(credentials.StoreOptions{})
}

// accessError is a registry's refusal, with what one needs to know to mend it.
type accessError struct {
	Status     int // 401 or 403
	Repository registry.Reference
	Pushing    bool
	Anonymous  bool   // no credentials were sent
	Source     string // of the credentials, or why there are none
	Err        error
}

func (e *accessError) Error() string {
	todo, lacks := "reading", "the right to read it"
	if e.Pushing {
		todo, lacks = "pushing to", "the right to push"
		if e.Repository.Registry == "ghcr.io" {
			lacks = "\"packages: write\" in the job's permissions"
		}
	} else if e.Repository.Registry == "ghcr.io" {
		lacks = "\"packages: read\" in the job's permissions"
	}
	if e.Anonymous {
		lacks = "a login (registry_username and registry_password, or docker login before), then " + lacks
	}
	return fmt.Sprintf("the registry refused %s %s (%d); credentials: %s; what usually lacks is %s: %v", todo, e.Repository, e.Status, e.Source, lacks, e.Err)
}

func (e *accessError) Unwrap() error { return e.Err }

// Explain takes secrets out of a registry's error, and adds what to do, and to a
// refusal where the credentials came from.
func (r *Client) Explain(ctx context.Context, repository registry.Reference, pushing bool, err error) error {
	err = r.sent.redact(err)
	status := http.StatusUnauthorized
	var response *errcode.ErrorResponse
	var explained *accessError
	switch {
	case errors.As(err, &explained):
		return err
	case errors.Is(err, auth.ErrBasicCredentialNotFound):
	case errors.As(err, &response) && (response.StatusCode == http.StatusUnauthorized || response.StatusCode == http.StatusForbidden):
		status = response.StatusCode
	default:
		return advise(ctx, err)
	}
	repository.Reference = ""
	l := r.login(repository.Host())
	l.mu.Lock()
	defer l.mu.Unlock()
	source := "none, the registry did not ask for any"
	if l.known {
		source = l.source
	}
	return &accessError{status, repository, pushing, l.credential == auth.EmptyCredential, source, err}
}
