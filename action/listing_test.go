// SPDX-License-Identifier: Apache-2.0

package action

import (
	"errors"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

// emptyEntries returns a text of the largest size with a list of entries that say
// nothing.
func emptyEntries(member, entry string) string {
	head, tail := `{"schemaVersion":2,"`+member+`":[`, entry+"]}"
	return head + strings.Repeat(entry+",", (maxManifestBytes-len(head)-len(tail))/(len(entry)+1)) + tail
}

// allocated returns how many MiB a function allocates.
func allocated(do func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	do()
	runtime.ReadMemStats(&after)
	return (after.TotalAlloc - before.TotalAlloc) >> 20
}

// A page within the limit of bytes can be one of a million entries that say
// nothing. Nobody decodes that.
func TestListingOfNothingTakesNoMemory(t *testing.T) {
	for name, entry := range map[string]string{"empty objects": "{}", "null": "null", "numbers": "1"} {
		t.Run(name, func(t *testing.T) {
			page := emptyEntries("manifests", entry)
			asked := 0
			r, app := referrersOf(t, func(w http.ResponseWriter, r *http.Request) {
				asked++
				w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
				io.WriteString(w, page)
			})
			var err error
			took := allocated(func() { _, err = r.signatures(t.Context(), app, 100) })
			if err == nil || !strings.Contains(err.Error(), "more than 40000 manifests") || asked == 0 {
				t.Errorf("asked %d times: %v", asked, err)
			}
			if took > 40 {
				t.Errorf("it took %d MiB", took)
			}
		})
	}
}

// An index that is too long is as long the next time: a push that needs it fails at
// once, and says what to do.
func TestIndexThatIsTooLongIsAskedForOnce(t *testing.T) {
	registry := testenv.Start(t, testenv.NewTagSchemaRegistry)
	var asked atomic.Int64
	host := front(t, registry, func(w http.ResponseWriter, r *http.Request) bool {
		if !isIndex(r) || r.Method != http.MethodGet {
			return false
		}
		asked.Add(1)
		w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
		io.WriteString(w, `{"schemaVersion":2,"manifests":[`+strings.Repeat("{},", maxListed+1)+`{}]}`)
		return true
	})
	r, app := image(t, host, "v1", registry.PushImage)
	_, err := newPusher(pushOptions{registries: r}).push(t.Context(), app, []byte("envelope"), mediaTypeCOSE, thumbprints)
	if n := asked.Load(); n != 1 || err == nil || !strings.Contains(err.Error(), "more than 40000 manifests, which nobody reads: delete") || strings.Contains(err.Error(), "run again") {
		t.Errorf("asked %d times: %v", n, err)
	}
}

// Likewise an index that is to be walked through.
func TestIndexOfNothingTakesNoMemory(t *testing.T) {
	body := []byte(emptyEntries("manifests", "{}"))
	var err error
	if took := allocated(func() { _, err = listings(ocispec.MediaTypeImageIndex, body) }); took > 1 || !errors.Is(err, errTooLong) {
		t.Errorf("it took %d MiB: %v", took, err)
	}
}

// And what a registry shows in place of a signature that an earlier run has noted.
func TestOrphanOfNothingTakesNoMemory(t *testing.T) {
	registry := testenv.Start(t, testenv.NewRegistry)
	page := emptyEntries("layers", "{}")
	noted := entry("signature")
	host := front(t, registry, func(w http.ResponseWriter, r *http.Request) bool {
		asked := strings.HasSuffix(r.URL.Path, noted.Digest.String())
		if asked {
			w.Header().Set("Content-Type", ocispec.MediaTypeImageManifest)
			io.WriteString(w, page)
		}
		return asked
	})
	_, app := image(t, host, "v1", registry.PushImage)
	var err error
	took := allocated(func() { _, err = isStored(t.Context(), app, noted) })
	if took > 40 || err == nil || !strings.Contains(err.Error(), "something else") {
		t.Errorf("it took %d MiB: %v", took, err)
	}
}

// Only what the lists of the outermost object have is counted, whatever stands in
// strings, and however the text comes in.
func TestListedIsCounted(t *testing.T) {
	for text, commas := range map[string]int{
		`{"manifests":[{},{},{}]}`:                                       2,
		`{"manifests":[{"a":[1,2,3,4],"b":{"c":1,"d":2}},{}],"x":1}`:     1,
		`{"manifests":[{"a":"],{\",{"},{"b":"\\"},{}],"annotations":{}}`: 2,
	} {
		for _, left := range []int{commas, commas - 1} {
			body := &listingBody{ReadCloser: io.NopCloser(iotest.OneByteReader(strings.NewReader(text))), left: left}
			got, err := io.ReadAll(body)
			if refused := left < commas; (err != nil) != refused || !refused && string(got) != text {
				t.Errorf("%s with %d left: %q, %v", text, left, got, err)
			}
		}
	}
}
