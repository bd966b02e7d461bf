// SPDX-License-Identifier: Apache-2.0

package action

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// A server that repeats what it was sent doesn't get a password into an error.
func TestCredentialsAreTakenOutOfErrors(t *testing.T) {
	const user, password = "robot", `p%7"ä<&+\ /9-q`
	basic := base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
	escaped, err := json.Marshal(password)
	if err != nil {
		t.Fatal(err)
	}
	written := []string{password, basic, string(escaped[1 : len(escaped)-1]), url.QueryEscape(password), url.PathEscape(password)}
	for _, status := range []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusInternalServerError} {
		for _, secret := range written {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("X-Sent", secret)
				w.WriteHeader(status)
				fmt.Fprintf(w, "you sent <%s>, user %s", secret, user)
			}))
			defer server.Close()
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.SetBasicAuth(user, password)
			resp, err := redacting{http.DefaultTransport}.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if want := "you sent <REDACTED>, user robot"; err != nil || string(body) != want || strings.Contains(resp.Header.Get("X-Sent"), secret) {
				t.Errorf("%d: %q, header %q, %v", status, body, resp.Header.Get("X-Sent"), err)
			}
		}
	}
}

func TestBearerTokenIsTakenOutOfErrors(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, r.Header.Get("Authorization")+strings.Repeat("x", 2*maxErrorBody), http.StatusForbidden)
	}))
	defer server.Close()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer token-5rQ1")
	resp, err := redacting{http.DefaultTransport}.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || !strings.HasPrefix(string(body), "Bearer REDACTEDx") || len(body) > maxErrorBody+len("REDACTED") {
		t.Errorf("%.40q of %d bytes, %v", body, len(body), err)
	}
}
