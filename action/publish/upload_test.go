// SPDX-License-Identifier: Apache-2.0

package publish

import (
	"net/http"
	"testing"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

// A registry that does not take a blob with the first request gets it as before, and is
// asked for that once.
func TestRegistryThatTakesNoSinglePost(t *testing.T) {
	for _, status := range []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusRequestEntityTooLarge, http.StatusNotImplemented} {
		backend := testenv.Start(t, testenv.NewTagSchemaRegistry)
		refused, begun := 0, 0
		host := testenv.Front(t, backend, func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodPost {
				return false
			}
			if r.URL.Query().Has("digest") {
				refused++
				w.WriteHeader(status)
				return true
			}
			if r.ContentLength > 0 {
				t.Errorf("%d: %d bytes are sent to begin an upload", status, r.ContentLength)
			}
			begun++
			return false
		})
		_, app := image(t, host, "v1", backend.PushImage)
		p := New(Options{})
		pushOne(t, p, app)
		pushOne(t, p, app)
		settleAll(t, p)
		if got := listed(t, app); len(got) != 2 || refused != 1 || begun != 3 {
			t.Errorf("%d: %d listed, %d refused, %d begun", status, len(got), refused, begun)
		}
	}
}
