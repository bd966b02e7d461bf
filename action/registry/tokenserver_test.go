// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

func TestTokenServersThatMayHaveThePassword(t *testing.T) {
	guard := tokenServerGuard{allowed: []string{"auth.example.net", "tokens.example.org:8443"}}
	for _, c := range []struct {
		registry, realm string
		good            bool
	}{
		{"https://registry.example.com", "https://registry.example.com/token", true},
		{"https://registry.example.com:5000", "https://REGISTRY.example.com:5001/token", true},
		{"https://registry-1.docker.io", "https://auth.docker.io/token", true},
		{"https://registry.example.co.uk", "https://auth.example.co.uk/token", true},
		{"https://registry.example.co.uk", "https://auth.evil.co.uk/token", false},
		{"https://registry.example.com", "https://auth.example.net/token", true},
		{"https://registry.example.com", "https://Auth.Example.Net:444/token", true},
		{"https://registry.example.com", "https://tokens.example.org:8443/token", true},
		{"https://registry.example.com", "https://tokens.example.org/token", false},
		{"https://registry.example.com", "https://example.com.evil.net/token", false},
		{"https://registry.example.com", "https://registry.example.com@evil.net/token", false},
		{"https://one.github.io", "https://two.github.io/token", false},
		{"https://10.1.0.1", "https://10.2.0.1/token", false},
		{"https://10.1.0.1", "https://10.1.0.1:444/token", true},
		{"https://registry", "https://auth/token", false},
		{"https://registry.example.com", "http://registry.example.com/token", false},
		{"http://registry.example.com", "http://registry.example.com:81/token", true},
		{"http://registry.example.com", "http://auth.example.com/token", false},
		{"http://registry.example.com", "http://auth.example.net/token", false},
		{"https://registry.example.com", "ftp://registry.example.com/token", false},
		{"https://registry.example.com", "/token", false},
		{"https://registry.example.com", "", false},
	} {
		registry, err := url.Parse(c.registry)
		if err != nil {
			t.Fatal(err)
		}
		err = guard.check(registry, c.realm)
		if (err == nil) != c.good {
			t.Errorf("%s, of %s: %v", c.realm, c.registry, err)
		}
		if err != nil && !errors.As(err, new(guardError)) {
			t.Errorf("%s, of %s: %T", c.realm, c.registry, err)
		}
	}
}

// The password of a registry goes to no server that the user has not agreed to, and
// what to do about it is said.
func TestPasswordForAnotherTokenServer(t *testing.T) {
	registry := testenv.Start(t, testenv.NewTagSchemaRegistry)
	if _, err := registry.PushImage(t.Context(), "app", "v1"); err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int64
	tokens := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		fmt.Fprint(w, `{"token":"t"}`)
	}))
	t.Cleanup(tokens.Close)
	elsewhere := strings.TrimPrefix(tokens.URL, "https://")
	host := testenv.Front(t, registry, func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Authorization") == "Bearer t" {
			return false
		}
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s/token",service="s"`, tokens.URL))
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
	options := Options{Username: "robot", Password: NewSecret("pass")}
	_, err := New(options).Resolve(t.Context(), host+"/app:v1")
	for _, phrase := range []string{host, elsewhere, "would get the password", "token_servers"} {
		if err == nil || !strings.Contains(err.Error(), phrase) {
			t.Errorf("no %q in %v", phrase, err)
		}
	}
	if asked.Load() > 0 {
		t.Errorf("it was asked for a token")
	}
	options.TokenServers = []string{elsewhere}
	if _, err := New(options).Resolve(t.Context(), host+"/app:v1"); err == nil || strings.Contains(err.Error(), "token_servers") {
		t.Errorf("with token_servers: %v", err) // but the certificate, and loopback, which oras-go blocks
	}
}

func TestSeveralChallenges(t *testing.T) {
	bearer := `Bearer realm="https://registry.example/token",service="a,b \"c\"",scope="repository:app:pull,push"`
	for _, c := range []struct {
		headers []string
		want    string
	}{
		{[]string{bearer}, bearer},
		{[]string{`Basic realm="x"`}, `Basic realm="x"`},
		{[]string{"Negotiate", bearer}, bearer},
		{[]string{"Negotiate, " + bearer + `, Basic realm="x, y"`}, bearer},
		{[]string{`Basic realm="x", ` + bearer}, bearer},
		{[]string{`Basic realm="x"`, `Bearer realm="https://evil.net/token"`}, `Basic realm="x"`},
		{[]string{`Bearer realm="https://evil.net/token"`, bearer}, bearer},
		{[]string{"Negotiate YII=, basic"}, "basic"},
		{[]string{"Negotiate"}, ""},
		{[]string{",,=,"}, ""},
		{nil, ""},
	} {
		got, err := tokenServerGuard{}.choose(&url.URL{Scheme: "https", Host: "registry.example"}, challenges(http.Header{"Www-Authenticate": c.headers}))
		if err != nil || (got == nil) != (c.want == "") || got != nil && got.text != c.want {
			t.Errorf("%q: %v, %v", c.headers, got, err)
		}
	}
}
