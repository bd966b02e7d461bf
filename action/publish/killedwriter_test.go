// SPDX-License-Identifier: Apache-2.0

package publish

import (
	"bytes"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/notation-pkcs11/notation-pkcs11/action/registry"

	"github.com/opencontainers/go-digest"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

func TestKilledRunIsFinishedByTheNext(t *testing.T) {
	backend := testenv.Start(t, testenv.NewDockerRegistry)
	killed := make(chan struct{})
	var once sync.Once
	var child *exec.Cmd
	started := make(chan struct{})
	host := testenv.Front(t, backend, func(w http.ResponseWriter, r *http.Request) bool {
		if isIndex(r) { // the manifest is stored by now
			once.Do(func() {
				<-started
				if err := child.Process.Kill(); err != nil {
					t.Error(err)
				}
				close(killed)
			})
		}
		return false
	})
	_, app := image(t, host, "v1", backend.PushImage)
	journal := t.TempDir()
	var stdout, stderr bytes.Buffer
	child = startWriter(t, writerTask{app.String(), 1, 1, journal}, &stdout, &stderr)
	close(started)
	child.Wait() // it was killed
	<-killed
	var orphan string
	for _, request := range backend.Requests() {
		if _, d, found := strings.Cut(request.Path, "/manifests/sha256:"); request.Method == "PUT" && found {
			orphan = "sha256:" + d
		}
	}
	if got := listed(t, app); len(got) != 0 || orphan == "" {
		t.Fatalf("the run was not killed between manifest %q and index: %v are listed", orphan, got)
	}

	r := registry.New(registry.Options{CredentialsFile: os.DevNull})
	app, err := r.Resolve(t.Context(), app.String())
	if err != nil {
		t.Fatal(err)
	}
	p := New(Options{Journal: journal})
	result := pushOne(t, p, app)
	settleAll(t, p)
	want := []digest.Digest{digest.Digest(orphan), result.Manifest.Digest}
	slices.Sort(want)
	if got := listed(t, app); !slices.Equal(got, want) {
		t.Errorf("listed are %v, not %v", got, want)
	}
	if len(result.Warnings) != 1 || !strings.Contains(result.Warnings[0], orphan) {
		t.Errorf("it says %q", result.Warnings)
	}
	if left, err := os.ReadDir(journal); err != nil || len(left) > 0 {
		t.Errorf("%d notes are left in the journal: %v", len(left), err)
	}
}
