// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
)

// Front is a proxy in front of a registry, in which a test can do something
// before a request goes on.
func Front(tb testing.TB, registry *Registry, before func(w http.ResponseWriter, r *http.Request) (done bool)) (host string) {
	tb.Helper()
	behind := ProxyTo(registry)
	return ServeRegistry(tb, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !before(w, r) {
			behind.ServeHTTP(w, r)
		}
	}))
}

// ProxyTo hands requests on to a registry.
func ProxyTo(registry *Registry) http.Handler {
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: registry.Host})
			r.Out.Host = r.In.Host
		},
		ErrorLog: log.New(io.Discard, "", 0), // of clients that were killed
	}
}

// ServeRegistry serves a handler under a name that notation and oras speak plain HTTP
// with.
func ServeRegistry(tb testing.TB, handler http.Handler) (host string) {
	tb.Helper()
	server := httptest.NewServer(handler)
	tb.Cleanup(server.Close)
	return strings.Replace(strings.TrimPrefix(server.URL, "http://"), "127.0.0.1", "localhost", 1)
}
