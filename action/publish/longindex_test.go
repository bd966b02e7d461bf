// SPDX-License-Identifier: Apache-2.0

package publish

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

// An index that is too long is as long the next time: a push that needs it fails at
// once, and says what to do.
func TestIndexThatIsTooLongIsAskedForOnce(t *testing.T) {
	backend := testenv.Start(t, testenv.NewTagSchemaRegistry)
	var asked atomic.Int64
	host := testenv.Front(t, backend, func(w http.ResponseWriter, r *http.Request) bool {
		if !isIndex(r) || r.Method != http.MethodGet {
			return false
		}
		asked.Add(1)
		w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
		io.WriteString(w, `{"schemaVersion":2,"manifests":[`+strings.Repeat("{},", 40_000+1)+`{}]}`)
		return true
	})
	_, app := image(t, host, "v1", backend.PushImage)
	_, err := New(Options{}).Push(t.Context(), app, []byte("envelope"), mediaTypeCOSE, thumbprints)
	if n := asked.Load(); n != 1 || err == nil || !strings.Contains(err.Error(), "more than 40000 manifests, which is the limit; delete") || strings.Contains(err.Error(), "run again") {
		t.Errorf("asked %d times: %v", n, err)
	}
}

// And what a registry shows in place of a signature that an earlier run has noted.
func TestOrphanOfNothingTakesNoMemory(t *testing.T) {
	backend := testenv.Start(t, testenv.NewRegistry)
	page := `{"layers":[` + strings.Repeat("{},", 1<<20) + `{}]}`
	noted := entry("signature")
	host := testenv.Front(t, backend, func(w http.ResponseWriter, r *http.Request) bool {
		asked := strings.HasSuffix(r.URL.Path, noted.Digest.String())
		if asked {
			w.Header().Set("Content-Type", ocispec.MediaTypeImageManifest)
			io.WriteString(w, page)
		}
		return asked
	})
	_, app := image(t, host, "v1", backend.PushImage)
	var err error
	took := testenv.AllocatedMiB(func() { _, err = isStored(t.Context(), app, noted) })
	if took > 40 || err == nil || !strings.Contains(err.Error(), "something else") {
		t.Errorf("it took %d MiB: %v", took, err)
	}
}
