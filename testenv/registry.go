// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"time"

	"github.com/olareg/olareg"
	"github.com/olareg/olareg/config"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/retry"
)

// Registry is an OCI registry on a port of loopback, empty at the start, plain
// HTTP, open to everybody. It is safe for concurrent use.
type Registry struct {
	// Host is the registry's part of a reference, such as "localhost:41397".
	// notation and oras speak plain HTTP with a host of the name localhost.
	Host string

	server  *httptest.Server
	storage io.Closer

	// Not the standard one, of which any test that closes a server closes all
	// connections.
	transport *http.Transport

	mu      sync.Mutex
	journal []Request
}

// Request is one request that a [Registry] answered.
type Request struct {
	Method string // such as "PUT"
	Path   string // such as "/v2/app/manifests/v1", with the query if there is one
	Status int
}

// RegistryKinds has a registry of each kind that signatures are stored in
// differently: with the Referrers API or with the referrers tag schema, in
// memory or by the registry that is in the field.
var RegistryKinds = []struct {
	Name         string
	ReferrersAPI bool
	New          func() (*Registry, error)
}{
	{"referrers API", true, NewRegistry},
	{"referrers tag schema", false, NewTagSchemaRegistry},
	{"docker-registry", false, NewDockerRegistry},
}

// NewRegistry starts a registry in memory that has the Referrers API. Sign on it
// with "notation sign --force-referrers-tag=false": olareg takes the index of the
// tag schema, where it is byte for byte its own answer, for that answer, and its
// Referrers API then lists nothing.
func NewRegistry() (*Registry, error) { return newOlareg(true) }

// NewTagSchemaRegistry starts a registry in memory that has no Referrers API.
func NewTagSchemaRegistry() (*Registry, error) { return newOlareg(false) }

func newOlareg(referrersAPI bool) (*Registry, error) {
	yes := true
	storage := olareg.New(config.Config{
		Storage: config.ConfigStorage{
			StoreType: config.StoreMem,
			GC:        config.ConfigGC{Frequency: -1},
		},
		API: config.ConfigAPI{
			DeleteEnabled: &yes,
			Referrer:      config.ConfigAPIReferrer{Enabled: &referrersAPI},
		},
	})
	return serveRegistry(storage, storage)
}

// serveRegistry puts the journal in front of a registry's handler.
func serveRegistry(handler http.Handler, storage io.Closer) (*Registry, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start registry: %w", err), storage.Close())
	}
	r := &Registry{
		Host:      fmt.Sprintf("localhost:%d", listener.Addr().(*net.TCPAddr).Port),
		storage:   storage,
		transport: http.DefaultTransport.(*http.Transport).Clone(),
	}
	r.server = &httptest.Server{
		Listener: listener,
		Config:   &http.Server{Handler: r.record(handler), ReadHeaderTimeout: 10 * time.Second},
	}
	r.server.Start()
	return r, nil
}

// record notes each request when its answer begins, so that who has an answer
// finds it in the journal.
func (r *Registry) record(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		recorder := &recorder{ResponseWriter: w, note: func(status int) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.journal = append(r.journal, Request{req.Method, req.URL.RequestURI(), status})
		}}
		next.ServeHTTP(recorder, req)
		if !recorder.noted {
			recorder.WriteHeader(http.StatusOK)
		}
	})
}

// recorder is a response of which the status is noted once.
type recorder struct {
	http.ResponseWriter
	note  func(status int)
	noted bool
}

func (r *recorder) WriteHeader(status int) {
	if informational := status < 200; !informational {
		if r.noted { // olareg does so after an upload of one request
			return
		}
		r.noted = true
		r.note(status)
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(body []byte) (int, error) {
	if !r.noted {
		r.WriteHeader(http.StatusOK)
	}
	return r.ResponseWriter.Write(body)
}

// Unwrap is for http.ResponseController.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// Requests returns the requests that the registry has answered so far, in that
// order, those of this package's own methods too.
func (r *Registry) Requests() []Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.journal)
}

// Repository returns a client of one of the registry's repositories.
func (r *Registry) Repository(name string) (*remote.Repository, error) {
	repository, err := remote.NewRepository(r.Host + "/" + name)
	if err != nil {
		return nil, fmt.Errorf("repository %s/%s: %w", r.Host, name, err)
	}
	repository.PlainHTTP = true
	repository.Client = &auth.Client{Client: &http.Client{Transport: retry.NewTransport(r.transport)}}
	return repository, nil
}

// Close stops the registry and drops what is in it.
func (r *Registry) Close() error {
	r.transport.CloseIdleConnections()
	r.server.Close()
	if err := r.storage.Close(); err != nil {
		return fmt.Errorf("stop registry: %w", err)
	}
	return nil
}
