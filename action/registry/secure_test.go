// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"oras.land/oras-go/v2/registry"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

// A registry on loopback may be the end of a tunnel to one that speaks TLS.
func TestTLSOnLoopback(t *testing.T) {
	backend := testenv.Start(t, testenv.NewTagSchemaRegistry)
	if _, err := backend.PushImage(t.Context(), "app", "v1"); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(testenv.ProxyTo(backend))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	host := strings.TrimPrefix(server.URL, "https://")
	for _, signing := range []bool{true, false} { // by GET and by HEAD
		client := New(Options{Signing: signing})
		_, err := client.Resolve(t.Context(), host+"/app:v1")
		if err == nil || !strings.Contains(err.Error(), untrusted) {
			t.Errorf("with a certificate of nobody: %v", err)
		}
		client = New(Options{Signing: signing})
		trust(client, server)
		app, err := client.Resolve(t.Context(), host+"/app:v1")
		if err != nil {
			t.Fatal(err)
		}
		if app.Store.TagSchema().PlainHTTP {
			t.Error("it is spoken to over plain HTTP")
		}
		if again, err := client.Resolve(t.Context(), host+"/app:v1"); err != nil || again.Store != app.Store {
			t.Errorf("another repository, %v", err)
		}
	}
}

// trust has a client trust a test server.
func trust(client *Client, server *httptest.Server) {
	guard := client.client.Client.Transport.(*transport).withoutRetry.(tokenServerGuard).RoundTripper.(secretRecorder).RoundTripper.(*redirectGuard)
	guard.direct.TLSClientConfig = server.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
}

// What speaks plain HTTP, and was not said to, leads to the input that allows it.
func TestPlainHTTPElsewhere(t *testing.T) {
	backend := testenv.Start(t, testenv.NewTagSchemaRegistry)
	if _, err := backend.PushImage(t.Context(), "app", "v1"); err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(backend.Host)
	if err != nil {
		t.Fatal(err)
	}
	reference := "registry.example:" + port + "/app:v1"
	resolve := func(insecure ...string) error {
		client := New(Options{Insecure: insecure})
		client.client.Client.Transport.(*transport).withoutRetry.(tokenServerGuard).RoundTripper.(secretRecorder).RoundTripper.(*redirectGuard).direct.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, "127.0.0.1:"+port)
		}
		_, err := client.Resolve(t.Context(), reference)
		return err
	}
	if err := resolve(); !errors.Is(err, http.ErrSchemeMismatch) || !strings.Contains(err.Error(), "insecure_registries") {
		t.Errorf("not named: %v", err)
	}
	for _, named := range []string{"registry.example:" + port, "registry.example", "Registry.Example:" + port} {
		if err := resolve(named); err != nil {
			t.Errorf("%s: %v", named, err)
		}
	}
	if err := resolve("registry.example:1"); err == nil {
		t.Error("another port is enough")
	}
}

// A list that is no index of manifests alone says so.
func TestChildThatIsNoManifest(t *testing.T) {
	child := strings.Repeat("a", 64)
	index := `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"text/plain","digest":"sha256:` + child + `","size":5}]}`
	host := testenv.ServeRegistry(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, child) {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
		io.WriteString(w, index)
	}))
	client := New(Options{Signing: true})
	root, err := client.Resolve(t.Context(), host+"/app:v1")
	if err != nil {
		t.Fatal(err)
	}
	found, err := root.Children(t.Context())
	if len(found) > 0 || err == nil || !strings.Contains(err.Error(), `calls it a "text/plain"`) || strings.Contains(err.Error(), "check the repository") {
		t.Errorf("%v, %v", found, err)
	}
	if _, err := registry.ParseReference(root.String()); err != nil {
		t.Error(err)
	}
}
