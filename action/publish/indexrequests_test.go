// SPDX-License-Identifier: Apache-2.0

package publish

import (
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/notation-pkcs11/notation-pkcs11/action/registry"
	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

// An index write must not be repeated as it is: what it would write over may be
// newer by then.
func TestIndexIsReadAgainAfterABusyAnswer(t *testing.T) {
	backend := testenv.Start(t, testenv.NewTagSchemaRegistry)
	var mu sync.Mutex
	var requests []string
	busy := 2
	host := testenv.Front(t, backend, func(w http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		if !isIndex(r) {
			return false
		}
		requests = append(requests, r.Method)
		if r.Method == http.MethodPut && busy > 0 {
			busy--
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
			return true
		}
		return false
	})
	_, app := image(t, host, "v1", backend.PushImage)
	start := time.Now()
	p := New(Options{})
	pushOne(t, p, app)
	if got := strings.Join(requests, " "); got != "GET PUT GET PUT GET PUT" {
		t.Errorf("requests: %s", got)
	}
	if took := time.Since(start); took < 2*time.Second {
		t.Errorf("it did not wait as long as it was asked to, but %v", took)
	}
	settleAll(t, p)
}

// While a token is fetched for the write, another writer adds an entry.
func TestIndexIsReadAgainAfterATokenWasFetched(t *testing.T) {
	for _, c := range []struct {
		name, scope string
	}{
		{"a token that expired", "repository:app:pull,push"},
		{"a registry that asks each time", "repository:app:*"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			backend := testenv.Start(t, testenv.NewDockerRegistry)
			var writes atomic.Int64 // that got through
			var between sync.Once
			var another func()
			host := testenv.Front(t, backend, func(w http.ResponseWriter, r *http.Request) bool {
				switch {
				case r.URL.Path == "/token":
					between.Do(another)
					fmt.Fprint(w, `{"token":"new"}`)
					return true
				case isIndex(r) && r.Method == http.MethodPut && r.Header.Get("Authorization") == "":
					w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="http://%s/token",service="x",scope=%q`, r.Host, c.scope))
					w.WriteHeader(http.StatusUnauthorized)
					return true
				case isIndex(r) && r.Method == http.MethodPut:
					writes.Add(1)
				}
				return false
			})
			_, app := image(t, host, "v1", backend.PushImage)
			_, direct := image(t, backend.Host, "v1", backend.PushImage)
			var theirs Pushed
			another = func() { theirs = pushOne(t, New(Options{}), direct) }
			p := New(Options{})
			ours := pushOne(t, p, app)
			want := []digest.Digest{ours.Manifest.Digest, theirs.Manifest.Digest}
			slices.Sort(want)
			if got := listed(t, direct); !slices.Equal(got, want) {
				t.Errorf("listed are %v, not %v", got, want)
			}
			if writes.Load() != 1 {
				t.Errorf("%d writes", writes.Load())
			}
			settleAll(t, p)
		})
	}
}

// Another writer comes between our read and our write, and never looks again. A
// registry that honours conditional requests tells us.
func TestConditionalRequestsKeepWhatOthersAdd(t *testing.T) {
	backend := testenv.Start(t, testenv.NewTagSchemaRegistry)
	var mu sync.Mutex
	version, refused := 0, 0 // of the one index
	etag := func() string { return fmt.Sprintf(`"%d"`, version) }
	var between func() // is called once, before our next write
	behind := &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(&url.URL{Scheme: "http", Host: backend.Host}) },
		ModifyResponse: func(resp *http.Response) error {
			resp.Header.Set("ETag", etag())
			return nil
		},
	}
	host := testenv.Front(t, backend, func(w http.ResponseWriter, r *http.Request) bool {
		if !isIndex(r) {
			return false
		}
		mu.Lock()
		defer mu.Unlock()
		if r.Method == http.MethodPut {
			if between != nil {
				between()
				between = nil
				version++
			}
			match, none := r.Header.Get("If-Match"), r.Header.Get("If-None-Match")
			if match != "" && match != etag() || none == "*" && version > 0 {
				refused++
				w.WriteHeader(http.StatusPreconditionFailed)
				return true
			}
			version++
		}
		behind.ServeHTTP(w, r)
		return true
	})
	_, app := image(t, host, "v1", backend.PushImage)
	direct, err := backend.Repository("app")
	if err != nil {
		t.Fatal(err)
	}
	direct.Client = app.Store.TagSchema().Client
	p := New(Options{})
	var want []ocispec.Descriptor
	for i := range 2 { // over no index, and over one
		other, err := backend.PushImage(t.Context(), "app", fmt.Sprintf("other%d", i))
		if err != nil {
			t.Fatal(err)
		}
		between = func() {
			tag := &registryTag{repo: direct, subject: app.Desc.Digest, tag: registry.ReferrersTag(app.Desc.Digest), unconditional: true}
			was, err := tag.read(t.Context())
			if err != nil {
				t.Error(err)
			}
			next, err := was.index.with([]ocispec.Descriptor{other})
			if err != nil {
				t.Error(err)
			}
			if err := tag.write(t.Context(), next, was); err != nil {
				t.Error(err)
			}
		}
		want = append(want, other, pushOne(t, p, app).Manifest)
	}
	settleAll(t, p)
	found, err := (&registryTag{repo: direct, subject: app.Desc.Digest, tag: registry.ReferrersTag(app.Desc.Digest)}).read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if missing := found.index.lacks(want); len(missing) > 0 || refused != 2 {
		t.Errorf("%d writes were refused; missing are %v", refused, missing)
	}
}

// A registry, or a proxy before it, that says "changed" when nothing has, must not
// keep us from signing.
func TestBrokenConditionalRequestsAreDoneWithout(t *testing.T) {
	for _, status := range []int{http.StatusPreconditionFailed, http.StatusNotImplemented, http.StatusBadRequest} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			t.Parallel()
			backend := testenv.Start(t, testenv.NewTagSchemaRegistry)
			host := testenv.Front(t, backend, func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method == http.MethodPut && (r.Header.Get("If-Match") != "" || r.Header.Get("If-None-Match") != "") {
					w.WriteHeader(status)
					return true
				}
				return false
			})
			_, app := image(t, host, "v1", backend.PushImage)
			p := New(Options{})
			pushOne(t, p, app)
			pushOne(t, p, app)
			settleAll(t, p)
			if got := listed(t, app); len(got) != 2 {
				t.Errorf("%d of 2 are listed", len(got))
			}
		})
	}
}
