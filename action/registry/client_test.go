// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode"

	"oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/notation-pkcs11/notation-pkcs11/action/report"
	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

func TestPlainHTTPOnlyWhereItIsMeant(t *testing.T) {
	r := New(Options{Insecure: []string{"registry.internal:5000"}})
	for host, plain := range map[string]bool{
		"localhost":              true,
		"localhost:5000":         true,
		"127.0.0.1:5000":         true,
		"[::1]:5000":             true,
		"registry.internal:5000": true,
		"registry.internal":      false,
		"localhost.example.com":  false,
		"10.0.0.1:5000":          false,
		"ghcr.io":                false,
	} {
		if got := r.plain(host); got != plain {
			t.Errorf("%s: plain HTTP is %v", host, got)
		}
	}
}

// locked is a registry that wants a user and a password, by Basic authentication.
func locked(t *testing.T, user, password string) (host string, registry *testenv.Registry) {
	registry = testenv.Start(t, testenv.NewTagSchemaRegistry)
	if _, err := registry.PushImage(t.Context(), "app", "v1"); err != nil {
		t.Fatal(err)
	}
	return testenv.Front(t, registry, func(w http.ResponseWriter, r *http.Request) bool {
		u, p, ok := r.BasicAuth()
		switch {
		case !ok:
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			w.WriteHeader(http.StatusUnauthorized)
		case u != user || p != password:
			w.WriteHeader(http.StatusForbidden)
		default:
			return false
		}
		return true
	}), registry
}

func TestCredentialsAreFoundAndNamedInRefusals(t *testing.T) {
	host, _ := locked(t, "robot", "pass")
	config := func(user, password string) string {
		path := filepath.Join(t.TempDir(), "config.json")
		auth := base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
		if err := os.WriteFile(path, fmt.Appendf(nil, `{"auths":{%q:{"auth":%q}}}`, host, auth), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	malformed := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(malformed, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	good, bad, none := config("robot", "pass"), config("robot", "wrong"), filepath.Join(t.TempDir(), "config.json")
	for _, c := range []struct {
		name    string
		options Options
		says    []string // empty: it works
	}{
		{"Docker's config", Options{CredentialsFile: good}, nil},
		{"inputs", Options{CredentialsFile: none, Username: "robot", Password: NewSecret("pass")}, nil},
		{"inputs before Docker's config", Options{CredentialsFile: bad, Username: "robot", Password: NewSecret("pass")}, nil},
		{"wrong in Docker's config", Options{CredentialsFile: bad}, []string{"403", bad, "can't read "}},
		{"wrong in inputs", Options{CredentialsFile: good, Username: "robot", Password: NewSecret("wrong")}, []string{"403", "registry_password"}},
		{"none", Options{CredentialsFile: none}, []string{"401", "none", none, "registry_username"}},
		{"malformed config", Options{CredentialsFile: malformed}, []string{"the credentials of Docker can't be read", malformed}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := New(c.options).Resolve(t.Context(), host+"/app:v1")
			if len(c.says) == 0 && err != nil {
				t.Fatal(err)
			}
			for _, phrase := range c.says {
				if err == nil || !strings.Contains(err.Error(), phrase) {
					t.Errorf("the error does not say %q: %v", phrase, err)
				}
			}
			if err != nil && (strings.Contains(err.Error(), "wrong") || strings.Contains(err.Error(), `"pass"`)) {
				t.Errorf("a password is in %v", err)
			}
		})
	}
}

func TestPasswordInputGoesToOneRegistryOnly(t *testing.T) {
	options := Options{Username: "robot", Password: NewSecret("pass")}
	if err := options.Check([]string{"a.example/x:1", "a.example/y:1"}); err != nil {
		t.Error(err)
	}
	if err := options.Check([]string{"a.example/x:1", "b.example/x:1"}); err == nil || !strings.Contains(err.Error(), "docker login") {
		t.Errorf("check: %v", err)
	}
	r := New(options)
	if _, err := r.repository(registry.Reference{Registry: "a.example", Repository: "x"}); err != nil {
		t.Error(err)
	}
	if _, err := r.repository(registry.Reference{Registry: "b.example", Repository: "x"}); err == nil {
		t.Error("the password would go to b.example")
	}
}

func TestBusyRegistryIsAskedAgainWhenItSays(t *testing.T) {
	registry := testenv.Start(t, testenv.NewRegistry)
	if _, err := registry.PushImage(t.Context(), "app", "v1"); err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int64
	var after string
	host := testenv.Front(t, registry, func(w http.ResponseWriter, r *http.Request) bool {
		if asked.Add(1) > 1 {
			return false
		}
		w.Header().Set("Retry-After", after)
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	})
	r := New(Options{CredentialsFile: os.DevNull})
	after = "2"
	start := time.Now()
	if _, err := r.Resolve(t.Context(), host+"/app:v1"); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took < 2*time.Second {
		t.Errorf("it was asked again after %v", took)
	}
	asked.Store(0)
	after = "3600" // nobody waits for that
	start = time.Now()
	if _, err := r.Resolve(t.Context(), host+"/app:v1"); err == nil || time.Since(start) > time.Second {
		t.Errorf("after %v: %v", time.Since(start), err)
	}
}

func TestRedirectsLeadNotFurtherInside(t *testing.T) {
	for _, c := range []struct {
		from, to string
		refused  bool
	}{
		{"8.8.8.8", "1.1.1.1", false},
		{"8.8.8.8", "10.0.0.1", true},
		{"8.8.8.8", "100.64.0.1", true},
		{"8.8.8.8", "fd12::1", true},
		{"8.8.8.8", "127.0.0.1", true},
		{"8.8.8.8", "::ffff:127.0.0.1", true},
		{"8.8.8.8", "64:ff9b::a00:1", true},
		{"8.8.8.8", "169.254.169.254", true},
		{"10.0.0.1", "192.168.0.1", false},
		{"10.0.0.1", "8.8.8.8", false},
		{"10.0.0.1", "127.0.0.1", true},
		{"10.0.0.1", "169.254.169.254", true},
		{"127.0.0.1", "127.0.0.2", false},
		{"127.0.0.1", "10.0.0.1", false},
		{"127.0.0.1", "169.254.169.254", true},
		{"127.0.0.1", "100.100.100.200", true},
		{"127.0.0.1", "fe80::1%eth0", true},
		{"127.0.0.1", "0.0.0.0", true},
	} {
		d := dial{"elsewhere", "registry", addressScopeOf(netip.MustParseAddr(c.from))}
		if err := d.admit(netip.MustParseAddr(c.to)); (err != nil) != c.refused {
			t.Errorf("from %s to %s: %v", c.from, c.to, err)
		}
	}
}

// The registry is taken for one on the internet, and sends us to this machine: by
// address, and by a name that only the dialer resolves.
func TestRedirectToThisMachineIsRefused(t *testing.T) {
	inside := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("it was asked") }))
	defer inside.Close()
	for _, target := range []string{inside.URL, strings.Replace(inside.URL, "127.0.0.1", "localhost", 1)} {
		registry := testenv.Start(t, testenv.NewRegistry)
		var redirect bool
		host := testenv.Front(t, registry, func(w http.ResponseWriter, r *http.Request) bool {
			if redirect {
				http.Redirect(w, r, target+"/secrets", http.StatusTemporaryRedirect)
			}
			return redirect
		})
		r, _ := pushedImage(t, host, "v1", registry.PushImage)
		gate := r.client.Client.Transport.(*transport).withoutRetry.(tokenServerGuard).RoundTripper.(secretRecorder).RoundTripper.(*redirectGuard)
		gate.scopes[host] = public
		redirect = true
		if _, err := r.Resolve(t.Context(), host+"/app:v1"); err == nil || !strings.Contains(err.Error(), "on loopback") {
			t.Errorf("redirect to %s: %v", target, err)
		}
	}
}

// A connection that is kept was let through for who asked for it, and for nobody
// who redirects us.
func TestRedirectDoesNotUseAConnectionThatIsKept(t *testing.T) {
	var asked atomic.Int64
	inside := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer inside.Close()
	address := strings.Replace(inside.URL, "127.0.0.1", "localhost", 1)
	registry := testenv.Start(t, testenv.NewRegistry)
	var redirect bool
	host := testenv.Front(t, registry, func(w http.ResponseWriter, r *http.Request) bool {
		if redirect {
			http.Redirect(w, r, address+"/secrets", http.StatusTemporaryRedirect)
		}
		return redirect
	})
	r, _ := pushedImage(t, host, "v1", registry.PushImage)
	resp, err := r.client.Client.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Fatal(err)
	}
	r.client.Client.Transport.(*transport).withoutRetry.(tokenServerGuard).RoundTripper.(secretRecorder).RoundTripper.(*redirectGuard).scopes[host] = public
	redirect = true
	if _, err := r.Resolve(t.Context(), host+"/app:v1"); err == nil || !strings.Contains(err.Error(), "on loopback") || asked.Load() != 1 {
		t.Errorf("asked %d times, %v", asked.Load(), err)
	}
}

func TestRedirectToPlainHTTPIsRefused(t *testing.T) {
	registry := testenv.Start(t, testenv.NewRegistry)
	host := testenv.Front(t, registry, func(w http.ResponseWriter, r *http.Request) bool {
		http.Redirect(w, r, "http://example.com/v2/", http.StatusTemporaryRedirect)
		return true
	})
	r := New(Options{CredentialsFile: os.DevNull})
	if _, err := r.Resolve(t.Context(), host+"/app:v1"); err == nil || !strings.Contains(err.Error(), "plain HTTP") {
		t.Errorf("resolve: %v", err)
	}
}

// FuzzRefusal reads hostile answers of a registry. Whatever is in one, its error
// keeps the status and asks for no wait that is over, and stays a line of
// bounded length where it is shown.
func FuzzRefusal(f *testing.F) {
	for _, status := range []int{400, 401, 403, 404, 408, 409, 413, 429, 500, 503} {
		f.Add(status, "", []byte(`{"errors":[{"code":"DENIED","message":"no\u001b[2J","detail":{"a":[1]}}]}`))
	}
	for _, after := range []string{"5", "-1", "99999999999999999999", "Fri, 31 Dec 9999 23:59:59 GMT", "soon"} {
		f.Add(429, after, []byte(`{"errors":null}`))
	}
	f.Add(418, "", []byte(`{"errors":[{"code":"`+strings.Repeat("A", 9000)+`"}]}`))
	f.Fuzz(func(t *testing.T, status int, after string, body []byte) {
		request := httptest.NewRequest(http.MethodPut, "https://registry.example/v2/app/manifests/v1", nil)
		resp := &http.Response{StatusCode: status, Request: request, Header: http.Header{"Retry-After": {after}}, Body: io.NopCloser(bytes.NewReader(body))}
		err := refusal(resp)
		var response *errcode.ErrorResponse
		if !errors.As(err, &response) || response.StatusCode != status {
			t.Fatalf("%#v", err)
		}
		var busy *BusyError
		if errors.As(err, &busy) && busy.After < 0 {
			t.Errorf("it is to be waited for %v", busy.After)
		}
		shown := report.Terminal(report.Message(err))
		if len(shown) > 3*(8<<10) || strings.ContainsFunc(shown, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%d bytes are shown: %.200q", len(shown), shown)
		}
	})
}

func TestRefusalOfGitHubsRegistryNamesThePermission(t *testing.T) {
	for pushing, permission := range map[bool]string{true: `"packages: write"`, false: `"packages: read"`} {
		err := &accessError{403, registry.Reference{Registry: "ghcr.io", Repository: "me/app"}, pushing, true, "registry_username", "none", errors.New("denied")}
		if !strings.Contains(err.Error(), permission) {
			t.Errorf("it does not name %s: %v", permission, err)
		}
	}
}

// A registry, or a firewall before it, may refuse without asking who it is. A user
// who gave credentials isn't told to give some.
func TestRefusalWithoutAQuestionSaysThatCredentialsWereNotSent(t *testing.T) {
	host := testenv.Front(t, testenv.Start(t, testenv.NewRegistry), func(w http.ResponseWriter, r *http.Request) bool {
		w.WriteHeader(http.StatusForbidden)
		return true
	})
	r := New(Options{Username: "ci", Password: NewSecret("s3cret")})
	defer r.Close()
	_, err := r.Resolve(t.Context(), host+"/app:v1")
	if err == nil || !strings.Contains(err.Error(), "answered 403 (credentials: from registry_username and registry_password, not sent, because the registry asked for none); check that they are valid") {
		t.Errorf("resolve: %v", err)
	}
}

// The credentials of a source are named where they lack.
func TestErrorsNameTheInputsOfTheSource(t *testing.T) {
	options := Options{Username: "robot", Password: NewSecret("x"), LoginInputs: "source_registry_username and source_registry_password"}
	err := options.Check([]string{"one.example/app:v1", "two.example/app:v1"})
	if err == nil || !strings.Contains(err.Error(), "source_registry_username") {
		t.Error(err)
	}
}
