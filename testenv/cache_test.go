// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// inOtherCheckout makes an empty checkout and a package directory in it the
// working directory.
func inOtherCheckout(t *testing.T) (root string) {
	t.Helper()
	root = t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "go.mod"), []byte("module other\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	sub := filepath.Join(root, "some", "package")
	if err := os.MkdirAll(sub, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Chdir(sub)
	return root
}

func TestCacheBuildsOnce(t *testing.T) {
	root := inOtherCheckout(t)
	var built atomic.Int32
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			dir, err := cached("kind/name", func(dir string) error {
				built.Add(1)
				time.Sleep(50 * time.Millisecond) // the others come meanwhile
				return os.WriteFile(filepath.Join(dir, "result"), nil, 0o600)
			})
			if err != nil {
				t.Error(err)
				return
			}
			if want := filepath.Join(root, ".cache", "kind", "name"); dir != want {
				t.Errorf("directory %s, want %s", dir, want)
			}
			if _, err := os.Stat(filepath.Join(dir, "result")); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if built.Load() != 1 {
		t.Errorf("built %d times", built.Load())
	}
}

func TestFailedBuildIsNotCached(t *testing.T) {
	root := inOtherCheckout(t)
	cause := errors.New("no disk")
	if _, err := cached("name", func(string) error { return cause }); !errors.Is(err, cause) {
		t.Fatalf("error %v, want %v", err, cause)
	}
	left, err := filepath.Glob(filepath.Join(root, ".cache", "*name"))
	if err != nil || len(left) != 0 {
		t.Errorf("left over: %v, %v", left, err)
	}
	if _, err := cached("name", func(string) error { return nil }); err != nil {
		t.Error(err)
	}
}
