// SPDX-License-Identifier: Apache-2.0

package registryfaults

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"slices"
	"strings"
	"sync"
)

// elsewhere is another host, of somebody who collects credentials: it keeps what
// it is sent, and asks everybody to log in.
type elsewhere struct {
	server *httptest.Server
	host   string

	mu       sync.Mutex
	requests []string
}

func newElsewhere() *elsewhere {
	e := &elsewhere{}
	e.server = httptest.NewServer(e)
	// The same name, another port: what judges by the name is taken in.
	e.host = strings.Replace(strings.TrimPrefix(e.server.URL, "http://"), "127.0.0.1", "localhost", 1)
	return e
}

func (e *elsewhere) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	dump, err := httputil.DumpRequest(r, true)
	if err != nil {
		return // the client is gone
	}
	e.mu.Lock()
	e.requests = append(e.requests, string(dump))
	e.mu.Unlock()
	if r.URL.Path == "/token" {
		fmt.Fprint(w, `{"token":"of-somebody-else"}`)
		return
	}
	w.Header().Add("WWW-Authenticate", fmt.Sprintf(`Bearer realm="http://%s/token",service="elsewhere"`, e.host))
	w.WriteHeader(http.StatusUnauthorized)
}

func (e *elsewhere) received() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.requests)
}
