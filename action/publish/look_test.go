// SPDX-License-Identifier: Apache-2.0

package publish

import (
	"bytes"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/notation-pkcs11/notation-pkcs11/action/registry"
	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

const emptyIndex = `{"schemaVersion":2,"mediaType":"` + ocispec.MediaTypeImageIndex + `","manifests":[]}`

// lister changes a registry's answers before they reach the client.
func lister(t *testing.T, backend *testenv.Registry, change func(*http.Response)) (host string) {
	return testenv.ServeRegistry(t, &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(&url.URL{Scheme: "http", Host: backend.Host})
			p.Out.Host = p.In.Host
		},
		ModifyResponse: func(resp *http.Response) error { change(resp); return nil },
	})
}

func isReferrers(resp *http.Response) bool {
	return strings.Contains(resp.Request.URL.Path, "/referrers/")
}

func replace(resp *http.Response, status int, mediaType, body string) {
	resp.Body.Close()
	resp.StatusCode, resp.Status = status, http.StatusText(status)
	resp.Header = http.Header{"Content-Type": {mediaType}}
	resp.Body, resp.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
}

// claims answers a push as a registry does that keeps the list of referrers.
func claims(resp *http.Response) {
	if resp.Request.Method == http.MethodPut && strings.Contains(resp.Request.URL.Path, "/manifests/sha256:") {
		resp.Header.Set("OCI-Subject", resp.Request.Header.Get("Test-Subject"))
	}
}

// What a run calls signed is found by the verifier that comes along next, whatever
// the registry says of its list.
func TestSignatureIsWhereVerifiersLook(t *testing.T) {
	late := 0
	for _, c := range []struct {
		name   string
		kind   func() (*testenv.Registry, error)
		change func(*http.Response)
		tag    bool // that lists it
		fails  bool
	}{
		{"OCI-Subject, and no Referrers API", testenv.NewTagSchemaRegistry, nil, true, false},
		{"an empty list for ever", testenv.NewTagSchemaRegistry, func(resp *http.Response) {
			if isReferrers(resp) {
				replace(resp, 200, ocispec.MediaTypeImageIndex, emptyIndex)
			}
		}, true, true},
		{"OCI-Subject, and an empty list for ever", testenv.NewRegistry, func(resp *http.Response) {
			if isReferrers(resp) {
				replace(resp, 200, ocispec.MediaTypeImageIndex, emptyIndex)
			}
		}, false, true},
		{"a list that is late", testenv.NewRegistry, func(resp *http.Response) {
			if isReferrers(resp) && late < 2 {
				late++
				replace(resp, 200, ocispec.MediaTypeImageIndex, emptyIndex)
			}
		}, false, false},
		{"a list of another type", testenv.NewRegistry, func(resp *http.Response) {
			if isReferrers(resp) {
				resp.Header.Set("Content-Type", "text/plain")
			}
		}, true, false},
		{"a list whose type has a parameter", testenv.NewRegistry, func(resp *http.Response) {
			if isReferrers(resp) {
				resp.Header.Set("Content-Type", ocispec.MediaTypeImageIndex+"; charset=utf-8")
			}
		}, true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			backend := testenv.Start(t, c.kind)
			host := lister(t, backend, func(resp *http.Response) {
				if c.change == nil {
					claims(resp)
				} else {
					c.change(resp)
				}
			})
			_, app := image(t, host, "v1", backend.PushImage)
			if c.change == nil {
				app.Store.TagSchema().Client = withSubject{app.Store.TagSchema().Client, app.Desc.Digest}
			}
			p := New(Options{})
			pushed, err := p.Push(t.Context(), app, []byte("envelope"), mediaTypeCOSE, thumbprints)
			if (pushed.IndexTag != "") != c.tag {
				t.Errorf("listed under %q", pushed.IndexTag)
			}
			if c.fails {
				var unlisted *UnlistedError
				if !errors.As(err, &unlisted) || !errors.Is(err, errListsNothing) || !strings.Contains(err.Error(), "use another one") {
					t.Errorf("error %v", err)
				}
				if err := p.Listable(t.Context(), app); !errors.Is(err, errListsNothing) {
					t.Errorf("the next one: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			settleAll(t, p)
			if got := listed(t, app); !slices.Equal(got, []digest.Digest{pushed.Manifest.Digest}) {
				t.Errorf("a verifier finds %v", got)
			}
		})
	}
}

// withSubject tells the registry's front what a push is of.
type withSubject struct {
	client interface {
		Do(*http.Request) (*http.Response, error)
	}
	subject digest.Digest
}

func (c withSubject) Do(req *http.Request) (*http.Response, error) {
	req.Header.Set("Test-Subject", c.subject.String())
	return c.client.Do(req)
}

// A registry that takes an index and answers with the artifact under its tag keeps
// none. That is said at once.
func TestTagThatIsTheArtifactItself(t *testing.T) {
	backend := testenv.Start(t, testenv.NewTagSchemaRegistry)
	host := testenv.Front(t, backend, func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodGet {
			r.URL.Path = strings.Replace(r.URL.Path, "/manifests/sha256-", "/manifests/sha256:", 1)
		}
		return false
	})
	_, app := image(t, host, "v1", backend.PushImage)
	p := New(Options{})
	pushOne(t, p, app)
	start := time.Now()
	errs := p.Settle(t.Context())
	if len(errs) != 1 || !errors.Is(errs[0], errSubjectInstead) {
		t.Errorf("errors %v", errs)
	}
	if took := time.Since(start); took > 30*time.Second {
		t.Errorf("it took %v to say so", took)
	}
}

// subjectBy resolves an image by a digest of another algorithm. Its index is at a tag
// of that digest; no registry at hand has it as a manifest.
func subjectBy(app registry.Target, algorithm digest.Algorithm) registry.Target {
	app.Desc.Digest = algorithm.FromString("an image")
	return app
}

// The specification cuts the tag of a SHA-384 digest, and oras-go does not.
func TestSubjectWithALongDigest(t *testing.T) {
	backend := testenv.Start(t, testenv.NewTagSchemaRegistry)
	r, app := image(t, backend.Host, "v1", backend.PushImage)
	p := New(Options{})
	app = subjectBy(app, digest.SHA384)
	if err := p.Listable(t.Context(), app); err != nil {
		t.Fatal(err)
	}
	pushed := pushOne(t, p, app)
	settleAll(t, p)
	found, err := r.Signatures(t.Context(), app.Afresh(), 10)
	if err != nil || len(found) != 1 || found[0].Digest != pushed.Manifest.Digest {
		t.Errorf("by oras-go %v, %v", found, err)
	}
	cut := "sha384-" + app.Desc.Digest.Encoded()[:64]
	answer, err := registry.GetManifest(t.Context(), app.Store.TagSchema(), cut, registry.AnyManifest)
	if err != nil {
		t.Fatal(err)
	}
	var index ocispec.Index
	if err := json.Unmarshal(answer.Body, &index); err != nil || len(index.Manifests) != 1 || pushed.IndexTag != cut {
		t.Errorf("%s lists %v, %v", pushed.IndexTag, index.Manifests, err)
	}

	sum := sha512.Sum512([]byte("an image"))
	app = subjectBy(app, digest.SHA512)
	if app.Desc.Digest.Encoded() != hex.EncodeToString(sum[:]) {
		t.Fatal("not that digest")
	}
	before := len(backend.Requests())
	if err := p.Listable(t.Context(), app); !errors.Is(err, registry.ErrUnlistable) {
		t.Errorf("SHA-512: %v", err)
	}
	if _, err := r.Signatures(t.Context(), app.Afresh(), 10); !errors.Is(err, registry.ErrUnlistable) {
		t.Errorf("SHA-512: %v", err)
	}
	for _, request := range backend.Requests()[before:] {
		if request.Method != http.MethodGet {
			t.Errorf("sent %s %s", request.Method, request.Path)
		}
	}
	if withAPI := testenv.Start(t, testenv.NewRegistry); true {
		_, app := image(t, withAPI.Host, "v1", withAPI.PushImage)
		if err := New(Options{}).Listable(t.Context(), subjectBy(app, digest.SHA512)); err != nil {
			t.Errorf("SHA-512 with the Referrers API: %v", err)
		}
	}
}

// An index must not be, byte for byte, what a registry with the Referrers API keeps as
// its own: one of the kinds in our tests loses the list then.
func TestIndexIsNoOneElses(t *testing.T) {
	text, err := (&referrersIndex{}).with([]ocispec.Descriptor{{Digest: digest.FromString("a")}})
	if err != nil {
		t.Fatal(err)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, text); err != nil || bytes.Equal(compact.Bytes(), text) {
		t.Errorf("it is %q, %v", text, err)
	}
}
