// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"cmp"
	"maps"
	"net/http"
	"net/url"
	"regexp"
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

// Redact takes the passwords and tokens of the run out of a text that a registry may
// have written. It is decoded, so that it doesn't matter which escapes a server used.
// Digests stay as they are, since a short password can be in one by chance.
func (r *Client) Redact(text string) string {
	text = queries.ReplaceAllStringFunc(text, withoutValues)
	secrets := r.sent.spelled()
	var pairs []string
	for _, secret := range secrets {
		pairs = append(pairs, secret, redacted)
	}
	replacer := strings.NewReplacer(pairs...)
	var b strings.Builder
	rest := 0
	for _, at := range digests.FindAllStringIndex(text, -1) {
		if slices.Contains(secrets, text[at[0]:at[1]]) {
			continue
		}
		b.WriteString(withoutCut(replacer.Replace(text[rest:at[0]]), secrets))
		b.WriteString(text[at[0]:at[1]])
		rest = at[1]
	}
	b.WriteString(withoutCut(replacer.Replace(text[rest:]), secrets))
	return b.String()
}

const redacted = "REDACTED"

var (
	// queries are those of URLs. Where a registry redirects to a store, they have what
	// gives access.
	queries = regexp.MustCompile(`https?://[^\s"'?]+\?[^\s"']+`)
	values  = regexp.MustCompile(`([?&])([^=&]*)=([^&]*)`)
	// shownValues are the parameters of requests that this program makes.
	shownValues = []string{"artifactType", "digest", "service", "scope", "n", "last"}
)

func withoutValues(address string) string {
	return values.ReplaceAllStringFunc(address, func(pair string) string {
		parts := values.FindStringSubmatch(pair)
		if slices.Contains(shownValues, parts[2]) {
			return pair
		}
		return parts[1] + parts[2] + "=" + redacted
	})
}

// digests are those of manifests and blobs, also as tags, and thumbprints.
var digests = regexp.MustCompile(`\b(?:sha(?:256|384|512)[:-])?[0-9a-f]{64,128}\b`)

// spelled are the secrets in all their spellings, the longest first.
func (s *sentSecrets) spelled() []string {
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
	longestFirst := func(a, b string) int { return cmp.Or(len(b)-len(a), cmp.Compare(a, b)) }
	return slices.SortedFunc(maps.Keys(spelled), longestFirst)
}

// cutMark is where a text was cut that was too long, perhaps within a secret.
const cutMark = "…"

// leastCut is the least part of a secret that is looked for before a cut.
const leastCut = 4

// withoutCut takes out the beginnings of secrets that a cut left.
func withoutCut(text string, secrets []string) string {
	parts := strings.Split(text, cutMark)
	for i, part := range parts[:len(parts)-1] {
		for _, secret := range secrets {
			for n := len(secret) - 1; n >= leastCut; n-- {
				part = strings.TrimSuffix(part, secret[:n])
			}
		}
		if len(part) < len(parts[i]) {
			parts[i] = part + redacted
		}
	}
	return strings.Join(parts, cutMark)
}

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
