// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"cmp"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// sentSecrets are the credentials and tokens that a run has sent. Some registries, and
// proxies before them, repeat the request when they refuse it; that would go into
// the log, the summary and the report. Its methods may be called concurrently.
type sentSecrets struct {
	mu  sync.Mutex
	all map[string]bool
}

func (s *sentSecrets) add(secrets ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = map[string]bool{}
	}
	for _, secret := range secrets {
		if secret != "" {
			s.all[secret] = true
		}
	}
}

// redact takes the secrets out of the text of an error, which is decoded, so that it
// doesn't matter which escapes a server used.
func (s *sentSecrets) redact(err error) error {
	if err == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	spelled := map[string]bool{}
	for secret := range s.all {
		quoted := strconv.Quote(secret)
		spelled[secret] = true
		spelled[quoted[1:len(quoted)-1]] = true
		spelled[url.QueryEscape(secret)] = true                               // in the form of a token request
		spelled[strings.ToLower(strings.ReplaceAll(secret, "_", " "))] = true // as oras-go shows an error's code
	}
	var pairs []string
	longestFirst := func(a, b string) int { return cmp.Or(len(b)-len(a), cmp.Compare(a, b)) }
	for _, text := range slices.SortedFunc(maps.Keys(spelled), longestFirst) {
		pairs = append(pairs, text, "REDACTED")
	}
	text := err.Error()
	if redacted := strings.NewReplacer(pairs...).Replace(text); redacted != text {
		return &redactedError{redacted, err}
	}
	return err
}

// redactedError is an error of which the text is shown without secrets.
type redactedError struct {
	text string
	err  error
}

func (e *redactedError) Error() string { return e.text }
func (e *redactedError) Unwrap() error { return e.err }

// secretRecorder notes the secrets that requests are authorized with: tokens are fetched by
// oras-go, and known nowhere else.
type secretRecorder struct {
	http.RoundTripper
	sent *sentSecrets
}

// RoundTrip implements [http.RoundTripper].
func (n secretRecorder) RoundTrip(req *http.Request) (*http.Response, error) {
	_, token, _ := strings.Cut(req.Header.Get("Authorization"), " ")
	n.sent.add(token)
	return n.RoundTripper.RoundTrip(req)
}
