// SPDX-License-Identifier: Apache-2.0

package publish

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

// ledger stands in front of a registry and keeps account of the one referrers
// index that is written there: who put an entry in, who wrote it over, and
// whether that writer had been shown it. Writers are told apart by their
// User-Agent.
type ledger struct {
	host   string
	behind http.Handler
	writes sync.Mutex // held while an index is written, so that their order is the registry's

	mu       sync.Mutex
	current  entries
	author   map[digest.Digest]string   // who put the entry in first
	shown    map[string]entries         // by writer: what it read last, and wrote since
	dropper  map[digest.Digest]string   // who wrote an index without the entry last
	careless map[string][]digest.Digest // by writer: what it dropped although it had been shown it
}

type entries map[digest.Digest]bool

func newLedger(t *testing.T, backend *testenv.Registry) *ledger {
	t.Helper()
	l := &ledger{
		behind:   testenv.ProxyTo(backend),
		author:   map[digest.Digest]string{},
		shown:    map[string]entries{},
		dropper:  map[digest.Digest]string{},
		careless: map[string][]digest.Digest{},
	}
	l.host = testenv.ServeRegistry(t, l)
	return l
}

func (l *ledger) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !isIndex(r) {
		l.behind.ServeHTTP(w, r)
		return
	}
	sent, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client went away
	}
	r.Body = io.NopCloser(bytes.NewReader(sent))
	if r.Method == http.MethodPut {
		l.writes.Lock()
		defer l.writes.Unlock()
	}
	answer := httptest.NewRecorder()
	l.behind.ServeHTTP(answer, r)
	switch {
	case r.Method == http.MethodGet && answer.Code == http.StatusOK:
		l.read(r.UserAgent(), entriesOf(answer.Body.Bytes()))
	case r.Method == http.MethodPut && answer.Code == http.StatusCreated:
		l.written(r.UserAgent(), entriesOf(sent))
	}
	maps.Copy(w.Header(), answer.Header())
	w.WriteHeader(answer.Code)
	w.Write(answer.Body.Bytes())
}

func (l *ledger) read(reader string, shown entries) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.shown[reader] = shown
}

func (l *ledger) written(writer string, now entries) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for entry := range now {
		if l.author[entry] == "" {
			l.author[entry] = writer
		}
		delete(l.dropper, entry)
	}
	for entry := range l.current {
		if !now[entry] {
			l.dropper[entry] = writer
		}
	}
	for entry := range l.shown[writer] {
		if !now[entry] {
			l.careless[writer] = append(l.careless[writer], entry)
		}
	}
	l.current = now
	l.shown[writer] = maps.Clone(now)
}

// lost counts the entries of some writers that are not in the index, by who
// wrote it without them. Writers are chosen by how their name starts.
func (l *ledger) lost(author, dropper string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for entry, by := range l.dropper {
		if strings.HasPrefix(l.author[entry], author) && strings.HasPrefix(by, dropper) {
			n++
		}
	}
	return n
}

// entriesOf reads an index. One that can't be read has no entries, which shows
// as the loss of all.
func entriesOf(index []byte) entries {
	var parsed ocispec.Index
	if err := json.Unmarshal(index, &parsed); err != nil {
		return nil
	}
	e := entries{}
	for _, manifest := range parsed.Manifests {
		e[manifest.Digest] = true
	}
	return e
}
