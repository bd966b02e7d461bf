// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"

	"oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"
)

// What a registry may make us read.
const (
	maxManifestBytes     = 4 << 20  // a manifest, an index, a page of referrers; notation's limit too
	maxEnvelopeBytes     = 32 << 20 // a signature envelope; notation's limit too
	maxOpenEnvelope      = 1 << 20  // one that is opened; what is in use is below 32 KiB
	maxOpenEnvelopeBytes = 2 << 20  // what is parsed at one time, which takes many times the memory
	maxReferrerPages     = 100
)

// Options are what a run says about registries.
type Options struct {
	// Username and password are for the one registry that the run is about.
	// Without them Docker's credential store is asked, and where that knows
	// nothing of a registry, it is visited anonymously.
	Username string
	Password Secret

	// LoginInputs is how a user calls username and password. Empty: those of
	// targets.
	LoginInputs string

	// CredentialsFile is Docker's config.json. Empty: where Docker keeps it.
	CredentialsFile string

	// Insecure are hosts, such as "registry.internal:5000", that are spoken to
	// over plain HTTP; without a port, on all ports. Those on loopback are in any
	// case.
	Insecure []string

	// TokenServers are hosts that give out tokens for registries of other domains,
	// written likewise. They get the password.
	TokenServers []string

	// Connections is how many connections to a host are kept open for the next
	// request. Zero: two.
	Connections int

	// Signing says that artifacts get signed: what the registry says of them is
	// not relied on.
	Signing bool

	// Layouts are those that targets are in, by their cleaned paths.
	Layouts map[string]Layout

	// UserAgent names this program to registries.
	UserAgent string
}

func (o Options) loginInputs() string {
	return cmp.Or(o.LoginInputs, "registry_username and registry_password")
}

// Client speaks to all repositories of a run. They share one transport, one cache of
// tokens and the credentials. Its methods may be called concurrently.
type Client struct {
	options   Options
	client    *auth.Client
	store     func() (*credentials.DynamicStore, error)
	envelopes *EnvelopeReader
	sent      sentSecrets

	ended   context.Context // of the run; what credential helpers live in
	end     context.CancelFunc
	lookUps sync.WaitGroup

	mu           sync.Mutex
	repositories map[string]*repository // by registry/repository
	secure       map[string]bool        // hosts that speak TLS, although plain HTTP would be allowed
	logins       map[string]*login      // by host
}

// New returns a client. It sends no request, and asks for credentials when the first
// registry does. Close it at the end of the run.
func New(options Options) *Client {
	r := &Client{
		options:      options,
		envelopes:    NewEnvelopeReader(),
		repositories: map[string]*repository{},
		secure:       map[string]bool{},
		logins:       map[string]*login{},
	}
	r.ended, r.end = context.WithCancel(context.Background())
	r.store = sync.OnceValues(r.openStore)
	r.client = &auth.Client{
		Client:     &http.Client{Transport: newTransport(options, r.plain, &r.sent)},
		Cache:      auth.NewCache(),
		Credential: r.credential,
		ClientID:   "notation-pkcs11",
	}
	if options.UserAgent != "" {
		r.client.SetUserAgent(options.UserAgent)
	}
	return r
}

// Close ends the credential helpers that the client has started.
func (r *Client) Close() {
	r.end()
	r.lookUps.Wait()
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
		return fmt.Errorf("%s are for one registry, and the artifacts are on %s; log in to each with docker login", o.loginInputs(), strings.Join(hosts, " and "))
	}
	return nil
}

// repository returns the store of a reference's repository, always the same one:
// it remembers whether the registry has the Referrers API.
func (r *Client) repository(ref registry.Reference) (*repository, error) {
	ref.Reference = ""
	if err := ref.ValidateRegistry(); err != nil {
		return nil, err
	}
	if err := ref.ValidateRepository(); err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	plain := r.plain(ref.Host()) && !r.secure[ref.Host()]
	if known, ok := r.repositories[ref.String()]; ok && known.remote.PlainHTTP == plain {
		return known, nil
	}
	if r.options.Username != "" {
		for _, other := range r.repositories {
			if other.remote.Reference.Registry != ref.Registry {
				// Else an artifact's name would decide where a password goes.
				return nil, fmt.Errorf("%s were for %s, not for %s too; log in to each with docker login", r.options.loginInputs(), other.remote.Reference.Registry, ref.Registry)
			}
		}
	}
	made := r.newRepository(ref, plain)
	r.repositories[ref.String()] = made
	return made, nil
}

func (r *Client) newRemote(ref registry.Reference, plain bool) *remote.Repository {
	return &remote.Repository{
		Client:               r.client,
		Reference:            ref,
		PlainHTTP:            plain,
		MaxMetadataBytes:     maxManifestBytes,
		ReferrerListMaxPages: maxReferrerPages,
		SkipReferrersGC:      true, // see docs/guarantees.md
	}
}

// plain reports whether a host may be spoken to over plain HTTP.
func (r *Client) plain(host string) bool {
	if hostList(r.options.Insecure).has(host) {
		return true
	}
	name := hostname(host)
	return strings.EqualFold(name, "localhost") || net.ParseIP(name).IsLoopback()
}
