// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strings"

	"golang.org/x/net/publicsuffix"
)

// tokenServerGuard looks at how a registry wants a request authorized before oras-go
// follows it. The registry names the server that gives out tokens, and that server
// gets the password (distribution's "Token Authentication Specification"). So it must
// be one that the registry can speak for, or that the user named.
type tokenServerGuard struct {
	http.RoundTripper
	allowed hostList
}

// RoundTrip implements [http.RoundTripper].
func (g tokenServerGuard) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := g.RoundTripper.RoundTrip(req)
	if err != nil || resp.StatusCode != http.StatusUnauthorized || redirectedBy(req) != "" { // oras-go follows no other host's word
		return resp, err
	}
	challenge, err := g.choose(req.URL, challenges(resp.Header))
	if err != nil {
		resp.Body.Close()
		return nil, err
	}
	if challenge != nil {
		resp.Header.Set("WWW-Authenticate", challenge.text) // oras-go reads one
	}
	return resp, nil
}

// choose returns the challenge to answer: the first to be answered with a token of a
// server that may have the password, or else with the password itself, which the
// registry is sent then. It is nil where none can be answered.
func (g tokenServerGuard) choose(registry *url.URL, all []challenge) (*challenge, error) {
	var basic *challenge
	var refusal error
	for i, c := range all {
		switch strings.ToLower(c.scheme) {
		case "bearer":
			err := g.check(registry, c.parameters["realm"])
			if err == nil {
				return &all[i], nil
			}
			if refusal == nil {
				refusal = err
			}
		case "basic":
			if basic == nil {
				basic = &all[i]
			}
		}
	}
	if basic != nil {
		return basic, nil
	}
	return nil, refusal
}

// check refuses a token server that must not have the password of a registry.
func (g tokenServerGuard) check(registry *url.URL, realm string) error {
	server, err := url.Parse(realm)
	if err != nil || server.Host == "" {
		return refused("registry %s requires a token, and the address of its token server, %q, is not a URL", registry.Host, realm)
	}
	own := strings.EqualFold(server.Hostname(), registry.Hostname())
	switch {
	case server.Scheme != "https" && !(server.Scheme == "http" && registry.Scheme == "http" && own):
		return refused("refused to fetch a token for registry %s from %s://%s, which would get the password in the clear: the registry must name a token server with https", registry.Host, server.Scheme, server.Host)
	case own, sameDomain(server.Hostname(), registry.Hostname()), g.allowed.has(server.Host):
		return nil
	}
	return refused("refused to fetch a token for registry %s from %s, which would get the password: the registry names that server, and is of another domain; if that is meant, name %s in token_servers", registry.Host, server.Host, server.Host)
}

// sameDomain reports whether two names of hosts belong to one registrable domain.
func sameDomain(a, b string) bool {
	domainOf := func(host string) string {
		if _, err := netip.ParseAddr(host); err == nil {
			return ""
		}
		domain, err := publicsuffix.EffectiveTLDPlusOne(strings.ToLower(strings.TrimSuffix(host, ".")))
		if err != nil { // one label, or a suffix under which others register
			return ""
		}
		return domain
	}
	domain := domainOf(a)
	return domain != "" && domain == domainOf(b)
}

// challenge is a way in which a server wants a request authorized (RFC 9110 §11.6.1).
type challenge struct {
	scheme     string
	parameters map[string]string
	text       string // without those beside it
}

var (
	challengeScheme    = regexp.MustCompile("^([!#$%&'*+.^_`|~0-9A-Za-z-]+)(?:[ \t]+(.*))?$")
	challengeParameter = regexp.MustCompile("^([!#$%&'*+.^_`|~0-9A-Za-z-]+)[ \t]*=[ \t]*(?:\"((?:[^\"\\\\]|\\\\.)*)\"|([^\",; \t]*))$")
	quotedPair         = regexp.MustCompile(`\\(.)`)
)

// challenges are those of all WWW-Authenticate headers, of which each can have several.
func challenges(header http.Header) []challenge {
	var all []challenge
	for _, value := range header.Values("WWW-Authenticate") {
		for _, element := range elements(value) {
			if p := challengeParameter.FindStringSubmatch(element); p != nil {
				if len(all) > 0 {
					all[len(all)-1].add(p, element)
				}
				continue
			}
			s := challengeScheme.FindStringSubmatch(element)
			if s == nil {
				continue
			}
			all = append(all, challenge{scheme: s[1], parameters: map[string]string{}, text: s[1]})
			if p := challengeParameter.FindStringSubmatch(s[2]); p != nil {
				all[len(all)-1].add(p, s[2])
			}
		}
	}
	return all
}

func (c *challenge) add(parameter []string, text string) {
	separator := ","
	if len(c.parameters) == 0 {
		separator = " "
	}
	c.text += separator + text
	c.parameters[strings.ToLower(parameter[1])] = quotedPair.ReplaceAllString(parameter[2], "$1") + parameter[3]
}

// elements splits a list at its commas, but those in quotes.
func elements(value string) []string {
	var list []string
	begin, quoted := 0, false
	for i := 0; i < len(value); i++ {
		switch {
		case quoted && value[i] == '\\':
			i++
		case value[i] == '"':
			quoted = !quoted
		case value[i] == ',' && !quoted:
			list, begin = append(list, strings.TrimSpace(value[begin:i])), i+1
		}
	}
	return append(list, strings.TrimSpace(value[begin:]))
}
