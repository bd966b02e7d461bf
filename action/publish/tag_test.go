// SPDX-License-Identifier: Apache-2.0

package publish

import (
	"net/http"
	"strings"
	"testing"

	"github.com/notation-pkcs11/notation-pkcs11/action/registry"
	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

func TestTagIsSetOnce(t *testing.T) {
	layout, folder := testenv.NewLayout(t)
	b := newBuild(t, layout)
	plan := makePlan(t, layoutSource(t, folder, b.index.Digest), nil)
	for _, kind := range testenv.RegistryKinds {
		t.Run(kind.Name, func(t *testing.T) {
			backend := testenv.Start(t, kind.New)
			copier, to := newCopier(t, backend.Host, "app", plan)
			mustCopy(t, copier, plan, to)
			tagged, err := copier.Tag(t.Context(), plan.Source, to, "v1")
			if err != nil || !tagged.Set || tagged.Before != "" {
				t.Fatalf("%+v, %v", tagged, err)
			}
			before := len(backend.Requests())
			tagged, err = copier.Tag(t.Context(), plan.Source, to, "v1")
			if err != nil || tagged.Set || tagged.Before != b.index.Digest {
				t.Errorf("again: %+v, %v", tagged, err)
			}
			if sent := writes(backend.Requests()[before:]); len(sent) > 0 {
				t.Errorf("written again: %v", sent)
			}
			repository, err := backend.Repository("app")
			if err != nil {
				t.Fatal(err)
			}
			if found, err := repository.Resolve(t.Context(), "v1"); err != nil || found.Digest != b.index.Digest {
				t.Errorf("%s, %v", found.Digest, err)
			}
		})
	}
}

// A tag whose answer is lost is set; one that is refused is not, and the error says
// what may be the reason.
func TestTagThatWasNotAnsweredIsLookedAt(t *testing.T) {
	layout, folder := testenv.NewLayout(t)
	b := newBuild(t, layout)
	plan := makePlan(t, layoutSource(t, folder, b.index.Digest), nil)
	backend := testenv.Start(t, testenv.NewRegistry)
	behind := testenv.ProxyTo(backend)
	refuse := false
	host := testenv.ServeRegistry(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPut || !strings.HasSuffix(r.URL.Path, "/manifests/v1") {
			behind.ServeHTTP(w, r)
			return
		}
		if refuse {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		behind.ServeHTTP(discarded{http.Header{}}, r)
		panic(http.ErrAbortHandler)
	}))
	copier, to := newCopier(t, host, "app", plan)
	mustCopy(t, copier, plan, to)
	if tagged, err := copier.Tag(registry.WithoutRetry(t.Context()), plan.Source, to, "v1"); err != nil || !tagged.Set {
		t.Errorf("%+v, %v", tagged, err)
	}
	refuse = true
	other := makePlan(t, layoutSource(t, folder, b.amd64.Digest), nil)
	to.Desc = other.Source.Root()
	tagged, err := copier.Tag(t.Context(), other.Source, to, "v1")
	if err == nil || tagged.Set || !strings.Contains(err.Error(), "immutable") || !strings.Contains(err.Error(), b.index.Digest.String()) {
		t.Errorf("%+v, %v", tagged, err)
	}
}

// discarded is an answer that nobody gets.
type discarded struct{ header http.Header }

func (d discarded) Header() http.Header         { return d.header }
func (d discarded) Write(p []byte) (int, error) { return len(p), nil }
func (d discarded) WriteHeader(int)             {}
