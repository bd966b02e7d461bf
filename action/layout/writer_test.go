// SPDX-License-Identifier: Apache-2.0

package layout

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content/oci"
	orasregistry "oras.land/oras-go/v2/registry"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"

	"github.com/notation-pkcs11/notation-pkcs11/action/registry"
)

const (
	layoutTaskVariable = "NOTATION_PKCS11_TEST_LAYOUT"

	// What a process does with a layout.
	taskName       = "name"        // it lists a manifest by many names
	taskDieInBlob  = "die in blob" // it is killed in the middle of a blob
	taskDieInIndex = "die in index"
	taskHold       = "hold" // it holds the lock until it is killed
)

const namesOfATask = 40

// A test binary that finds a task in its environment does that, and is no test.
func init() {
	task, folder, found := strings.Cut(os.Getenv(layoutTaskVariable), "@")
	if !found {
		return
	}
	if err := doLayoutTask(task, folder); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func doLayoutTask(task, folder string) error {
	ctx := context.Background()
	s, err := OpenStore(ctx, folder, orasregistry.Reference{}, true)
	if err != nil {
		return err
	}
	die := func() error {
		self, err := os.FindProcess(os.Getpid())
		if err != nil {
			return err
		}
		if err := self.Kill(); err != nil {
			return err
		}
		select {} // until the signal is there
	}
	switch task {
	case taskName:
		for i := range namesOfATask {
			manifest := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":{},"layers":[],"annotations":{"of":"%d.%d"}}`, ocispec.MediaTypeImageManifest, os.Getpid(), i)
			desc := registry.DescriptorOf(ocispec.MediaTypeImageManifest, manifest)
			if err := s.Put(ctx, desc, manifest); err != nil {
				return err
			}
			if err := s.Tag(ctx, fmt.Sprintf("n%d.%d", os.Getpid(), i), desc, manifest); err != nil {
				return err
			}
		}
		return s.Close()
	case taskDieInBlob:
		half := strings.NewReader(largeBlob[:len(largeBlob)/2])
		return s.Send(ctx, largeBlobDesc, orasregistry.Reference{}, io.NopCloser(io.MultiReader(half, readerFunc(func([]byte) (int, error) { return 0, die() }))))
	case taskDieInIndex:
		return s.update(ctx, func(*indexFile) (bool, error) { return true, die() })
	case taskHold:
		return s.update(ctx, func(*indexFile) (bool, error) {
			fmt.Println("locked")
			select {}
		})
	}
	return errors.New("no such task")
}

var (
	largeBlob     = strings.Repeat("0123456789abcdef", 64<<10)
	largeBlobDesc = registry.DescriptorOf("application/octet-stream", []byte(largeBlob))
)

type readerFunc func([]byte) (int, error)

func (r readerFunc) Read(p []byte) (int, error) { return r(p) }

// layoutTask is a process that does something with a layout.
func layoutTask(t *testing.T, task, folder string) *exec.Cmd {
	t.Helper()
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), layoutTaskVariable+"="+task+"@"+folder)
	return child
}

func openStore(t *testing.T, folder string) *Store {
	t.Helper()
	s, err := OpenStore(t.Context(), folder, orasregistry.Reference{}, true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// Many processes list what they have in one layout, which none of them has made before:
// all of it is there.
func TestWritersOfALayoutLoseNothing(t *testing.T) {
	const processes = 6
	folder := filepath.Join(t.TempDir(), "new", "layout")
	var all sync.WaitGroup
	for range processes {
		child := layoutTask(t, taskName, folder)
		all.Go(func() {
			if out, err := child.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	all.Wait()
	store, err := oci.New(folder)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	if err := store.Tags(t.Context(), "", func(tags []string) error { n += len(tags); return nil }); err != nil || n != processes*namesOfATask {
		t.Errorf("%d names are there: %v", n, err)
	}
}

// A layout that another writer makes after this one has looked for it is one.
func TestLayoutThatAnotherWriterHasJustMade(t *testing.T) {
	folder := t.TempDir()
	late := openStore(t, folder)
	manifest := []byte(`{"schemaVersion":2,"mediaType":"` + ocispec.MediaTypeImageManifest + `","config":{},"layers":[]}`)
	desc := registry.DescriptorOf(ocispec.MediaTypeImageManifest, manifest)
	if err := openStore(t, folder).Put(t.Context(), desc, manifest); err != nil {
		t.Fatal(err)
	}
	if err := openStore(t, folder).Tag(t.Context(), "v1", desc, manifest); err != nil {
		t.Fatal(err)
	}
	if err := late.checkEmpty(t.Context()); err != nil {
		t.Error(err)
	}
}

// A writer that is killed leaves the layout as it was, and unlocked.
func TestKilledWriterOfALayout(t *testing.T) {
	for _, task := range []string{taskDieInBlob, taskDieInIndex} {
		t.Run(task, func(t *testing.T) {
			_, folder := testenv.NewLayout(t)
			before, err := os.ReadFile(filepath.Join(folder, "index.json"))
			if err != nil {
				t.Fatal(err)
			}
			if err := layoutTask(t, task, folder).Run(); err == nil {
				t.Fatal("it was not killed")
			}
			if now, err := os.ReadFile(filepath.Join(folder, "index.json")); err != nil || !bytes.Equal(before, now) {
				t.Errorf("index.json is %s, %v", now, err)
			}
			left := filepath.Join(folder, ingest, "*")
			unfinished, err := filepath.Glob(left)
			if err != nil || len(unfinished) != map[string]int{taskDieInBlob: 1}[task] {
				t.Errorf("unfinished: %v, %v", unfinished, err)
			}
			for _, file := range unfinished {
				long := time.Now().Add(-2 * abandonedIngest)
				if err := os.Chtimes(file, long, long); err != nil {
					t.Fatal(err)
				}
			}
			s := openStore(t, folder)
			if there, err := s.Blobs().Exists(t.Context(), largeBlobDesc); err != nil || there {
				t.Errorf("half of the blob is there: %t, %v", there, err)
			}
			if err := s.Put(t.Context(), largeBlobDesc, []byte(largeBlob)); err != nil {
				t.Error(err)
			}
			if err := s.Keep(t.Context(), largeBlobDesc); err != nil {
				t.Error(err)
			}
			if there, err := s.Blobs().Exists(t.Context(), largeBlobDesc); err != nil || !there {
				t.Errorf("the blob is there: %t, %v", there, err)
			}
			if unfinished, err := filepath.Glob(left); err != nil || len(unfinished) > 0 {
				t.Errorf("still unfinished: %v, %v", unfinished, err)
			}
		})
	}
}

// Who waits for the lock stops when the run does, and gets it when the holder is gone.
func TestLayoutLockIsWaitedFor(t *testing.T) {
	_, folder := testenv.NewLayout(t)
	holder := layoutTask(t, taskHold, folder)
	out, err := holder.StdoutPipe()
	if err == nil {
		err = holder.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, len("locked"))); err != nil {
		t.Fatal(err)
	}
	s := openStore(t, folder)
	gone := errors.New("the run is over")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(gone)
	if err := s.Keep(ctx, largeBlobDesc); !errors.Is(err, gone) {
		t.Errorf("it waits on: %v", err)
	}
	done := make(chan error)
	go func() { done <- s.Keep(t.Context(), largeBlobDesc) }()
	if err := holder.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := holder.Wait(); err == nil {
		t.Error("it was not killed")
	}
}

// What others wrote into index.json stays, in entries that are changed, too.
func TestNamesInALayoutMove(t *testing.T) {
	a, b := "sha256:"+strings.Repeat("a", 64), "sha256:"+strings.Repeat("b", 64)
	entry := func(of, annotations string) string {
		return fmt.Sprintf(`{"mediaType":"x","digest":%q,"size":1,"platform":{"os":"linux"},"later":"<&>"%s}`, of, annotations)
	}
	name := func(name string) string { return `,"annotations":{"org.opencontainers.image.ref.name":"` + name + `"}` }
	for title, c := range map[string]struct {
		before, want string
		unchanged    bool
		refused      string
	}{
		"it has the name":             {entry(a, name("v1")), entry(a, name("v1")), true, ""},
		"it has none":                 {entry(a, ""), entry(a, name("v1")), false, ""},
		"it has another":              {entry(a, name("v0")), entry(a, name("v0")) + `,{"mediaType":"m","digest":"` + a + `","size":7` + name("v1") + `}`, false, ""},
		"another has it":              {entry(b, name("v1")) + "," + entry(a, ""), entry(b, "") + "," + entry(a, name("v1")), false, ""},
		"another of containerd":       {entry(b, `,"annotations":{"io.containerd.image.name":"v1","k":"v"}`) + "," + entry(a, ""), entry(b, `,"annotations":{"k":"v"}`) + "," + entry(a, name("v1")), false, ""},
		"two others have it":          {entry(b, name("v1")) + "," + entry("sha256:"+strings.Repeat("c", 64), name("v1")), "", true, "is that of both"},
		"nothing is there":            {"", `{"mediaType":"m","digest":"` + a + `","size":7` + name("v1") + `}`, false, ""},
		"another has it, and several": {entry(b, name("v1")) + "," + entry(b, name("v2")), entry(b, "") + "," + entry(b, name("v2")) + `,{"mediaType":"m","digest":"` + a + `","size":7` + name("v1") + `}`, false, ""},
	} {
		t.Run(title, func(t *testing.T) {
			folder := t.TempDir()
			testenv.PutFile(t, filepath.Join(folder, "oci-layout"), `{"imageLayoutVersion":"1.0.0"}`)
			index := testenv.PutFile(t, filepath.Join(folder, "index.json"), `{"schemaVersion":2,"manifests":[`+c.before+`],"annotations":{"of":"others"},"later":1}`)
			info, err := os.Stat(index)
			if err != nil {
				t.Fatal(err)
			}
			err = openStore(t, folder).Tag(t.Context(), "v1", ocispec.Descriptor{MediaType: "m", Digest: digest.Digest(a), Size: 7}, nil)
			if (err != nil) != (c.refused != "") || err != nil && !strings.Contains(err.Error(), c.refused) {
				t.Fatal(err)
			}
			now, err := os.Stat(index)
			if err != nil || os.SameFile(info, now) != c.unchanged {
				t.Errorf("it was written: %t, %v", !os.SameFile(info, now), err)
			}
			if c.unchanged {
				return
			}
			text, err := os.ReadFile(index)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := compact(t, text), compact(t, []byte(`{"schemaVersion":2,"manifests":[`+c.want+`],"annotations":{"of":"others"},"later":1}`)); got != want {
				t.Errorf("index.json is\n%s, not\n%s", got, want)
			}
			if !bytes.Contains(text, []byte("<&>")) && c.before != "" {
				t.Errorf("it is written otherwise: %s", text)
			}
		})
	}
}

// compact is a JSON text with its members in one order.
func compact(t *testing.T, text []byte) string {
	t.Helper()
	var value any
	if err := json.Unmarshal(text, &value); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	sorted, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(sorted)
}

// A blob with another digest is refused, and one that got another content is written
// again.
func TestLayoutTakesNoBlobOfAnotherDigest(t *testing.T) {
	_, folder := testenv.NewLayout(t)
	s := openStore(t, folder)
	desc := registry.DescriptorOf("x", []byte("content"))
	for _, wrong := range []string{"another", "cont", "content and more"} {
		if err := s.Put(t.Context(), desc, []byte(wrong)); err == nil {
			t.Errorf("%q was taken", wrong)
		}
	}
	if left, err := filepath.Glob(filepath.Join(folder, ingest, "*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	testenv.PutFile(t, filepath.Join(folder, blobName(desc.Digest)), "another")
	if there, err := s.Blobs().Exists(t.Context(), desc); err != nil || there {
		t.Errorf("it is there: %t, %v", there, err)
	}
	if err := s.Put(t.Context(), desc, []byte("content")); err != nil {
		t.Error(err)
	}
	if there, err := s.Blobs().Exists(t.Context(), desc); err != nil || !there {
		t.Errorf("it is not there: %t, %v", there, err)
	}
}

// Goroutines that write at once share the writing, and each hears what became of its own.
func TestChangesOfALayoutAreMadeTogether(t *testing.T) {
	_, folder := testenv.NewLayout(t)
	s := openStore(t, folder)
	begun, release := make(chan struct{}), make(chan struct{})
	first := make(chan error)
	go func() {
		first <- s.update(t.Context(), func(*indexFile) (bool, error) {
			close(begun)
			<-release
			return false, nil
		})
	}()
	<-begun
	const n = 8
	refused, over := errors.New("refused"), errors.New("the run is over")
	results := make(chan error)
	for i := range n {
		desc := registry.DescriptorOf("x", fmt.Append(nil, i))
		go func() {
			results <- s.update(t.Context(), func(x *indexFile) (bool, error) {
				if i == 0 {
					return false, refused
				}
				return x.list(desc)
			})
		}()
	}
	ended, end := context.WithCancelCause(t.Context())
	end(over)
	withdrawn := registry.DescriptorOf("x", []byte("withdrawn"))
	if err := s.update(ended, func(x *indexFile) (bool, error) { return x.list(withdrawn) }); !errors.Is(err, over) {
		t.Errorf("after the run: %v", err)
	}
	for waiting := 0; waiting < n; runtime.Gosched() {
		s.mu.Lock()
		waiting = len(s.waiting)
		s.mu.Unlock()
	}
	close(release)
	if err := <-first; err != nil {
		t.Error(err)
	}
	failed := 0
	for range n {
		if err := <-results; errors.Is(err, refused) {
			failed++
		} else if err != nil {
			t.Error(err)
		}
	}
	index, err := readIndexFile(s.root)
	if err != nil || failed != 1 || len(index.manifests) != n-1 {
		t.Errorf("%d failed, %d are listed: %v", failed, len(index.manifests), err)
	}
}

// What another process has changed is seen, whether it wrote a new index.json or into the
// old one.
func TestLayoutIsReadAgainWhenItChanges(t *testing.T) {
	store, folder := testenv.NewLayout(t)
	s := openStore(t, folder)
	if _, err := s.Resolve(t.Context(), "v1"); err == nil {
		t.Error("there is a v1")
	}
	image, err := testenv.PutImage(t.Context(), store, "an image", "v1")
	if err != nil {
		t.Fatal(err)
	}
	if found, err := s.Resolve(t.Context(), "v1"); err != nil || found.Digest != image.Digest {
		t.Errorf("%v, %v", found, err)
	}
	if err := openStore(t, folder).Tag(t.Context(), "v2", image, nil); err != nil {
		t.Fatal(err)
	}
	if found, err := s.Resolve(t.Context(), "v2"); err != nil || found.Digest != image.Digest {
		t.Errorf("%v, %v", found, err)
	}
}

// A lock that can't be one is an error, and nothing is waited for.
func TestLayoutLockThatIsNoFile(t *testing.T) {
	for name, put := range map[string]func(path string) error{
		"a link":      func(path string) error { return os.Symlink("elsewhere", path) },
		"a directory": func(path string) error { return os.Mkdir(path, 0o700) },
	} {
		t.Run(name, func(t *testing.T) {
			_, folder := testenv.NewLayout(t)
			if err := put(filepath.Join(folder, lockName)); err != nil {
				t.Fatal(err)
			}
			done := make(chan error, 1)
			s := openStore(t, folder)
			go func() { done <- s.Keep(t.Context(), largeBlobDesc) }()
			select {
			case err := <-done:
				if err == nil || !strings.Contains(err.Error(), lockName+" is no file; remove it") {
					t.Errorf("error %v", err)
				}
			case <-time.After(30 * time.Second):
				t.Fatal("it tries for ever")
			}
			if _, err := os.Lstat(filepath.Join(folder, "elsewhere")); err == nil {
				t.Error("what the link names was made")
			}
		})
	}
}
