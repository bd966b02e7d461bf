// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"oras.land/oras-go/v2/registry/remote/errcode"
)

// escapeAll writes a text in JSON with an escape for every character.
func escapeAll(text string) string {
	var b strings.Builder
	for _, r := range text {
		fmt.Fprintf(&b, `\u%04X`, r)
	}
	return b.String()
}

// escapeSlash does what PHP does.
func escapeSlash(text string) string {
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`, "/", `\/`).Replace(text)
}

// A server that repeats what it was sent, however it writes it, doesn't get a
// password or a token into an error.
func TestCredentialsAreTakenOutOfErrors(t *testing.T) {
	const user, password, refresh, access = "robot", `p%7"ä<&+\ /9-q`, "refresh/5rQ1+==", "access_5rQ1/+=="
	basic := base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
	echo := func(w http.ResponseWriter, status int, sent string) {
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"errors":[{"code":"DENIED","message":"%s","detail":{"sent":["%s"]}},{"code":"%[1]s"}]}`, escapeSlash(sent), escapeAll(sent))
	}
	for _, c := range []struct {
		name    string
		config  string // Docker's
		serve   func(w http.ResponseWriter, r *http.Request, status int)
		secrets []string
	}{
		{"Basic", `{"auth":"` + basic + `"}`, func(w http.ResponseWriter, r *http.Request, status int) {
			if _, sent, _ := r.BasicAuth(); sent == password {
				echo(w, status, r.Header.Get("Authorization")+" "+password+" "+url.QueryEscape(password))
				return
			}
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			w.WriteHeader(http.StatusUnauthorized)
		}, []string{password, basic, url.QueryEscape(password), `p%7\"ä<&+\\ /9-q`}},
		{"Bearer", `{"registrytoken":"` + access + `"}`, func(w http.ResponseWriter, r *http.Request, status int) {
			if r.Header.Get("Authorization") != "" {
				echo(w, status, r.Header.Get("Authorization"))
				return
			}
			w.Header().Set("WWW-Authenticate", `Bearer realm="http://`+r.Host+`/token"`)
			w.WriteHeader(http.StatusUnauthorized)
		}, []string{access, "access 5rq1"}},
		{"token request", `{"identitytoken":"` + refresh + `"}`, func(w http.ResponseWriter, r *http.Request, status int) {
			if r.URL.Path == "/token" {
				form, _ := io.ReadAll(r.Body) // what came of it is seen below
				echo(w, status, string(form)+" "+refresh)
				return
			}
			w.Header().Set("WWW-Authenticate", `Bearer realm="http://`+r.Host+`/token"`)
			w.WriteHeader(http.StatusUnauthorized)
		}, []string{refresh, url.QueryEscape(refresh)}},
	} {
		for _, status := range []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusBadRequest} {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { c.serve(w, r, status) }))
			defer server.Close()
			host := strings.Replace(server.Listener.Addr().String(), "127.0.0.1", "localhost", 1)
			config := filepath.Join(t.TempDir(), "config.json")
			if err := os.WriteFile(config, []byte(`{"auths":{"`+host+`":`+c.config+`}}`), 0o600); err != nil {
				t.Fatal(err)
			}
			client := New(Options{CredentialsFile: config, Signing: true})
			_, err := client.Resolve(t.Context(), host+"/app:v1")
			var response *errcode.ErrorResponse
			if !errors.As(err, &response) || response.StatusCode != status || strings.Count(client.Redact(err.Error()), "REDACTED") < 3 {
				t.Errorf("%s, %d: %v", c.name, status, err)
				continue
			}
			text := client.Redact(err.Error())
			for _, secret := range c.secrets {
				if strings.Contains(text, secret) {
					t.Errorf("%s, %d: %q is in: %s", c.name, status, secret, text)
				}
			}
		}
	}
}

// A digest is no secret, though a short password may be in it; and a secret that was
// cut off is one.
func TestRedactedTexts(t *testing.T) {
	token := strings.Repeat("0123456789abcdef", 4) // as long as a SHA-256
	client := New(Options{})
	client.sent.add("ab12", token)
	sum := "sha256:" + strings.Repeat("ab12", 16)
	for text, want := range map[string]string{
		"it is ab12":          "it is REDACTED",
		"of app@" + sum + ".": "of app@" + sum + ".",
		"index " + strings.Replace(sum, ":", "-", 1): "index " + strings.Replace(sum, ":", "-", 1),
		sum[7:] + " ab12":             sum[7:] + " REDACTED",
		"token " + token:              "token REDACTED",
		"token " + token[:40] + "…":   "token REDACTED…",
		`"` + token[:40] + `…": more`: `"REDACTED…": more`,
		"nothing…":                    "nothing…",
	} {
		if got := client.Redact(text); got != want {
			t.Errorf("%q became %q, not %q", text, got, want)
		}
	}
}
