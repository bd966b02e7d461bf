// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/content"
)

func TestImageCanBePulled(t *testing.T) {
	for _, kind := range RegistryKinds {
		t.Run(kind.Name, func(t *testing.T) {
			registry := Start(t, kind.New)
			pushed, err := registry.PushImage(t.Context(), "team/app", "v1")
			if err != nil {
				t.Fatal(err)
			}
			repository, err := registry.Repository("team/app")
			if err != nil {
				t.Fatal(err)
			}
			found, err := oras.Resolve(t.Context(), repository, "v1", oras.DefaultResolveOptions)
			if err != nil {
				t.Fatal(err)
			}
			if found.Digest != pushed.Digest {
				t.Errorf("tag v1 is %s, pushed was %s", found.Digest, pushed.Digest)
			}
			parts, err := content.Successors(t.Context(), repository, found)
			if err != nil {
				t.Fatal(err)
			}
			if len(parts) != 2 {
				t.Fatalf("%d blobs, want config and layer", len(parts))
			}
			for _, part := range parts {
				if _, err := content.FetchAll(t.Context(), repository, part); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestImagesOfOtherTagsDiffer(t *testing.T) {
	registry := Start(t, NewRegistry)
	first, err := registry.PushImage(t.Context(), "app", "v1")
	if err != nil {
		t.Fatal(err)
	}
	second, err := registry.PushImage(t.Context(), "app", "v2")
	if err != nil {
		t.Fatal(err)
	}
	if first.Digest == second.Digest {
		t.Error("both have one digest")
	}
}

func TestReferrersAPIIsThereOrNot(t *testing.T) {
	for _, kind := range RegistryKinds {
		t.Run(kind.Name, func(t *testing.T) {
			registry := Start(t, kind.New)
			image, err := registry.PushImage(t.Context(), "app", "v1")
			if err != nil {
				t.Fatal(err)
			}
			path := "/v2/app/referrers/" + image.Digest.String()
			response, err := http.Get("http://" + registry.Host + path)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			if got := response.StatusCode == http.StatusOK; got != kind.ReferrersAPI {
				t.Errorf("status %s, Referrers API %t", response.Status, kind.ReferrersAPI)
			}
			journal := registry.Requests()
			if last := journal[len(journal)-1]; last != (Request{"GET", path, response.StatusCode}) {
				t.Errorf("the journal ends with %v", last)
			}
			if !slices.Contains(journal, Request{"PUT", "/v2/app/manifests/v1", http.StatusCreated}) {
				t.Errorf("no push of the tag in the journal: %v", journal)
			}
		})
	}
}

// notation deletes the index that it has replaced.
func TestManifestsCanBeDeleted(t *testing.T) {
	for _, kind := range RegistryKinds {
		t.Run(kind.Name, func(t *testing.T) {
			registry := Start(t, kind.New)
			image, err := registry.PushImage(t.Context(), "app", "v1")
			if err != nil {
				t.Fatal(err)
			}
			repository, err := registry.Repository("app")
			if err != nil {
				t.Fatal(err)
			}
			if err := repository.Delete(t.Context(), image); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestRegistryIsGoneAfterClose(t *testing.T) {
	for _, kind := range RegistryKinds {
		t.Run(kind.Name, func(t *testing.T) {
			registry, err := kind.New()
			if err != nil {
				t.Fatal(err)
			}
			if err := registry.Close(); err != nil {
				t.Fatal(err)
			}
			if conn, err := net.DialTimeout("tcp", registry.Host, time.Second); err == nil {
				conn.Close()
				t.Error("it still listens")
			}
			docker, ok := registry.storage.(*dockerRegistry)
			if !ok {
				return
			}
			if _, err := os.Stat(docker.dir); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s is still there: %v", docker.dir, err)
			}
			if err := syscall.Kill(docker.cmd.Process.Pid, 0); !errors.Is(err, syscall.ESRCH) {
				t.Errorf("its process is still there: %v", err)
			}
		})
	}
}

// A test that times out ends without any Close.
func TestDockerRegistryEndsWithItsStarter(t *testing.T) {
	docker, address, err := startDockerRegistry()
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(docker.dir)
	docker.stdin.Close() // as the system does when a process is gone
	<-docker.log
	docker.cmd.Wait()
	if conn, err := net.DialTimeout("tcp", address, time.Second); err == nil {
		conn.Close()
		t.Error("it still listens")
	}
}

func TestMissingCommandIsNamed(t *testing.T) {
	_, err := run(nil, "no-such-command-of-testenv")
	if !errors.Is(err, exec.ErrNotFound) || !strings.Contains(err.Error(), "make setup") {
		t.Errorf("error %v does not say what to do", err)
	}
}
