// SPDX-License-Identifier: Apache-2.0

package publish

import (
	"errors"
	"net/http"
	"path"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

// What was copied is found by the verifier that comes along next, whatever the registry
// said when it took it.
func TestCopiedReferrersAreWhereVerifiersLook(t *testing.T) {
	layout, folder := testenv.NewLayout(t)
	b := newBuild(t, layout)
	subjects := map[string]digest.Digest{
		b.sbom.Digest.String(): b.index.Digest, b.noteOnSBOM.Digest.String(): b.sbom.Digest, b.signature.Digest.String(): b.arm64.Digest,
	}
	isReferrer := func(r *http.Request) bool {
		return r.Method == http.MethodPut && subjects[path.Base(r.URL.Path)] != ""
	}
	for name, c := range map[string]struct {
		kind   func() (*testenv.Registry, error)
		lost   bool // the first time that each of them is written
		change func(*http.Response)
		fails  error
	}{
		"entries that are lost when they are written at once": {testenv.NewRegistry, true, func(*http.Response) {}, nil},
		"OCI-Subject, and no Referrers API": {testenv.NewTagSchemaRegistry, false, func(resp *http.Response) {
			if isReferrer(resp.Request) {
				resp.Header.Set("OCI-Subject", subjects[path.Base(resp.Request.URL.Path)].String())
			}
		}, nil},
		"an empty list for ever": {testenv.NewRegistry, false, func(resp *http.Response) {
			if isReferrers(resp) {
				replace(resp, 200, ocispec.MediaTypeImageIndex, emptyIndex)
			}
		}, errUnlistedReferrer},
		"a list that can't be read": {testenv.NewRegistry, false, func(resp *http.Response) {
			if isReferrers(resp) {
				replace(resp, 403, "application/json", "{}")
			}
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			backend := testenv.Start(t, c.kind)
			var mu sync.Mutex
			lost := map[string]bool{}
			front := testenv.Front(t, backend, func(w http.ResponseWriter, r *http.Request) bool {
				mu.Lock()
				defer mu.Unlock()
				of := path.Base(r.URL.Path)
				if !c.lost || !isReferrer(r) || lost[of] {
					return false
				}
				lost[of] = true
				w.Header().Set("OCI-Subject", subjects[of].String())
				w.Header().Set("Docker-Content-Digest", of)
				w.WriteHeader(http.StatusCreated)
				return true
			})
			host := lister(t, &testenv.Registry{Host: front}, c.change)
			plan := makePlan(t, layoutSource(t, folder, b.index.Digest), everything)
			copier, to := newCopier(t, host, "app", plan)
			_, err := copier.Copy(t.Context(), plan, to)
			if !errors.Is(err, c.fails) {
				t.Fatalf("error %v", err)
			}
			if c.fails == nil {
				settleAll(t, copier.pusher)
				b.check(t, backend, "app")
			}
		})
	}
}
