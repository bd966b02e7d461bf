// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"oras.land/oras-go/v2/errdef"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

// Where advice is given, it is the one that fits.
func TestAdviceFits(t *testing.T) {
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	for _, c := range []struct {
		name   string
		answer http.HandlerFunc
		begins string // the error, behind what was done; of one without advice, its own words
	}{
		{"400", status(400), notTaken},
		{"405", status(405), notTaken},
		{"415", status(415), notTaken},
		{"404", status(404), adviceOn(404) + ": GET http://HOST/v2/app/manifests/v1: not found (and the 404 is not in a registry's form, so it may come from a proxy)"},
		{"413", status(413), adviceOn(413)},
		{"418", status(418), "the answer is not that of a registry; check the address, then run again"},
		{"to plain HTTP", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://registry.example/", http.StatusTemporaryRedirect)
		}, `Get "http://registry.example/": refused to send a request to registry.example over plain HTTP: if that is meant`},
		{"to a cloud's metadata", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://169.254.169.254/", http.StatusTemporaryRedirect)
		}, `Get "https://169.254.169.254/": refused the redirect of `},
		{"no manifest", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			io.WriteString(w, "hello")
		}, "sha256:"},
	} {
		t.Run(c.name, func(t *testing.T) {
			host := testenv.ServeRegistry(t, c.answer)
			text, begins := host+"/app:v1", strings.ReplaceAll(c.begins, "HOST", host)
			r := New(Options{CredentialsFile: os.DevNull, Signing: true})
			_, err := r.Resolve(t.Context(), text)
			if err == nil || !strings.HasPrefix(err.Error(), "resolve "+text+": "+begins) {
				t.Errorf("error: %v", err)
			}
		})
	}
}

func TestAdviceOnCertificateNamesTrust(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	r := New(Options{CredentialsFile: os.DevNull})
	r.client.Client.Transport.(*transport).withoutRetry.(tokenServerGuard).RoundTripper.(secretRecorder).RoundTripper.(*redirectGuard).plain = func(string) bool { return false }
	_, err := r.client.Client.Get(server.URL)
	if err = advise(t.Context(), err); err == nil || !strings.HasPrefix(err.Error(), untrusted) || !strings.Contains(err.Error(), "x509:") {
		t.Errorf("error: %v", err)
	}
}

// A broken file of Docker's is not the registry's fault.
func TestNoAdviceAboutTheRegistryOnDockersConfig(t *testing.T) {
	malformed := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(malformed, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	host, _ := locked(t, "robot", "pass")
	_, err := New(Options{CredentialsFile: malformed, Signing: true}).Resolve(t.Context(), host+"/app:v1")
	if err == nil || !strings.Contains(err.Error(), "fix the file") || strings.Contains(err.Error(), "run again") {
		t.Errorf("error: %v", err)
	}
}

func TestRegistryThatIsNotThereIsCalledSo(t *testing.T) {
	_, err := New(Options{CredentialsFile: os.DevNull}).Resolve(t.Context(), "localhost:1/app:v1")
	if err == nil || !strings.HasPrefix(err.Error(), "resolve localhost:1/app:v1: "+unreachable+": ") || !strings.HasSuffix(err.Error(), "connection refused") {
		t.Errorf("error: %v", err)
	}
}

func TestArtifactThatIsNotThereIsNamedOnce(t *testing.T) {
	host := testenv.ServeRegistry(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusNotFound)
		io.WriteString(w, `{"errors":[{"code":"MANIFEST_UNKNOWN"}]}`)
	}))
	_, err := New(Options{CredentialsFile: os.DevNull}).Resolve(t.Context(), host+"/app:v1")
	if want := "resolve " + host + "/app:v1: not found; check the repository, and the tag or digest"; err == nil || err.Error() != want || !errors.Is(err, errdef.ErrNotFound) {
		t.Errorf("error: %v, want %s", err, want)
	}
}

// A timeout is the registry's where the run has not ended.
func TestAdviceOnTimeoutsIsGivenWhileTheRunLasts(t *testing.T) {
	host := testenv.ServeRegistry(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	client := &http.Client{Timeout: 50 * time.Millisecond}
	_, err := client.Get("http://" + host)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("error: %v", err)
	}
	if said := advise(t.Context(), err); !strings.HasPrefix(said.Error(), unusable) {
		t.Errorf("while it lasts: %v", said)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if said := advise(ended, err); said != err {
		t.Errorf("after its end: %v", said)
	}
}
