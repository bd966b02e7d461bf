// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"errors"
	"io"
	"net/http"
	"strings"
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
			took := testenv.AllocatedMiB(func() { _, err = r.Signatures(t.Context(), app, 100) })
			if err == nil || !strings.Contains(err.Error(), "more than 40000 manifests") || asked == 0 {
				t.Errorf("asked %d times: %v", asked, err)
			}
			if took > 40 {
				t.Errorf("it took %d MiB", took)
			}
		})
	}
}

// Likewise an index that is to be walked through.
func TestIndexOfNothingTakesNoMemory(t *testing.T) {
	body := []byte(emptyEntries("manifests", "{}"))
	var err error
	if took := testenv.AllocatedMiB(func() { _, err = listings(ocispec.MediaTypeImageIndex, body) }); took > 1 || !errors.Is(err, ErrTooLong) {
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
