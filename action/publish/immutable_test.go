// SPDX-License-Identifier: Apache-2.0

package publish

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

// Registries with immutable tags take the first index and no other.
func TestImmutableTag(t *testing.T) {
	for _, status := range []int{http.StatusBadRequest, http.StatusConflict, http.StatusPreconditionFailed} {
		t.Run(strconv.Itoa(status), func(t *testing.T) {
			t.Parallel()
			backend := testenv.Start(t, testenv.NewTagSchemaRegistry)
			written := false
			host := testenv.Front(t, backend, func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method != http.MethodPut || !isIndex(r) {
					return false
				}
				if !written {
					written = true
					return false
				}
				w.WriteHeader(status)
				return true
			})
			_, app := image(t, host, "v1", backend.PushImage)
			p := New(Options{})
			pushOne(t, p, app)
			start := time.Now()
			_, err := p.Push(t.Context(), app, []byte("another"), mediaTypeCOSE, thumbprints)
			var unlisted *UnlistedError
			if !errors.As(err, &unlisted) || !strings.Contains(err.Error(), "is immutable") || !strings.Contains(err.Error(), strconv.Itoa(status)) {
				t.Errorf("error %v", err)
			}
			for _, wrong := range []string{"sign again", "run again", "does not take"} {
				if strings.Contains(err.Error(), wrong) {
					t.Errorf("%q is in %v", wrong, err)
				}
			}
			if took := time.Since(start); took > 45*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
}

// A store behind a redirect may take no HEAD. The config blob is pushed then, and the
// store's address, which gives access, is in no error.
func TestStoreThatTakesNoHEAD(t *testing.T) {
	backend := testenv.Start(t, testenv.NewTagSchemaRegistry)
	store := testenv.ServeRegistry(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusForbidden)
	}))
	host := testenv.Front(t, backend, func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/blobs/sha256:") {
			return false
		}
		http.Redirect(w, r, "http://"+store+"/object?X-Amz-Signature=gives-access&Expires=1", http.StatusTemporaryRedirect)
		return true
	})
	r, app := image(t, host, "v1", backend.PushImage)
	pushed := pushOne(t, New(Options{}), app)
	found, err := r.Signatures(t.Context(), app.Afresh(), 10)
	if err != nil || len(found) != 1 || found[0].Digest != pushed.Manifest.Digest {
		t.Fatalf("%v, %v", found, err)
	}
	err = r.Envelope(t.Context(), app, found[0], func([]byte, string) {})
	if err == nil {
		t.Fatal("the store answered")
	}
	if text := r.Redact(err.Error()); !strings.Contains(err.Error(), "gives-access") || strings.Contains(text, "gives-access") {
		t.Errorf("shown: %s", text)
	}
}
