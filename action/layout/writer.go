// SPDX-License-Identifier: Apache-2.0

package layout

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"os"
	"path"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"
	orasregistry "oras.land/oras-go/v2/registry"
)

// A layout has no server that keeps its writers apart. Blobs are written under another
// name until they are whole. All that is found by index.json is written while a lock is
// held, and the new index.json takes the place of the old one in one step. Whatever a
// writer is killed at, the layout is as before, or as after.

const (
	lockName = "index.json.lock" // which BuildKit locks, too
	ingest   = "ingest"          // where oras-go, too, has blobs until they are whole

	// abandonedIngest is the age at which an unfinished blob counts as left behind: a
	// transfer in which no byte moves ends after a minute.
	abandonedIngest = time.Hour

	lockPause = 5 * time.Millisecond
)

// Send implements [registry.Store].
func (s *Store) Send(ctx context.Context, desc ocispec.Descriptor, _ orasregistry.Reference, blob io.ReadCloser) (err error) {
	defer func() { err = errors.Join(err, blob.Close()) }()
	return s.store(ctx, desc, blob)
}

// Put implements [registry.Store].
func (s *Store) Put(ctx context.Context, desc ocispec.Descriptor, blob []byte) error {
	return s.store(ctx, desc, bytes.NewReader(blob))
}

// PutManifest implements [registry.Store]. What refers to nothing is listed by Tag or Keep, when
// all that is to be found with it is there.
func (s *Store) PutManifest(ctx context.Context, desc ocispec.Descriptor, content []byte, subject digest.Digest) (lists bool, err error) {
	if err := s.Put(ctx, desc, content); err != nil || subject == "" {
		return false, err
	}
	return true, s.Keep(ctx, desc)
}

// Tag implements [registry.Store].
func (s *Store) Tag(ctx context.Context, tag string, desc ocispec.Descriptor, _ []byte) error {
	return s.update(ctx, func(x *indexFile) (bool, error) { return x.name(desc, tag) })
}

// Keep implements [registry.Store]: it lists the manifest.
func (s *Store) Keep(ctx context.Context, desc ocispec.Descriptor) error {
	if layout, err := s.current(ctx); err == nil && layout.lists(desc.Digest) {
		return nil
	}
	return s.update(ctx, func(x *indexFile) (bool, error) { return x.list(desc) })
}

// store stores a blob.
func (s *Store) store(ctx context.Context, desc ocispec.Descriptor, blob io.Reader) error {
	if err := desc.Digest.Validate(); err != nil {
		return fmt.Errorf("digest %q: %w", desc.Digest, err)
	}
	root, err := s.directory()
	if err != nil {
		return err
	}
	name := blobName(desc.Digest)
	if err := root.MkdirAll(path.Dir(name), 0o777); err != nil {
		return err
	}
	verified := content.NewVerifyReader(untilDone{ctx, blob}, desc)
	return replaceFile(root, name, func(file io.Writer) error {
		if _, err := io.Copy(file, verified); err != nil {
			return err
		}
		return verified.Verify()
	})
}

// directory returns the directory of the layout, which is made if it is not there, and
// removes what killed writers left behind in it.
func (s *Store) directory() (*os.Root, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.root == nil {
		if err := os.MkdirAll(s.path, 0o777); err != nil {
			return nil, err
		}
		root, err := os.OpenRoot(s.path)
		if err != nil {
			return nil, err
		}
		s.root = root
	}
	if s.swept {
		return s.root, nil
	}
	if err := s.root.MkdirAll(ingest, 0o777); err != nil {
		return nil, err
	}
	files, err := fs.ReadDir(s.root.FS(), ingest)
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		if info, err := file.Info(); err == nil && info.Mode().IsRegular() && time.Since(info.ModTime()) > abandonedIngest {
			_ = s.root.Remove(path.Join(ingest, file.Name())) // it takes space, no more
		}
	}
	s.swept = true
	return s.root, nil
}

// replaceFile writes a file that is whole and on the disk when it gets its name.
func replaceFile(root *os.Root, name string, write func(io.Writer) error) (err error) {
	temporary := path.Join(ingest, rand.Text())
	file, err := root.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, root.Remove(temporary))
		}
	}()
	if err := errors.Join(write(file), file.Sync(), file.Close()); err != nil {
		return err
	}
	return root.Rename(temporary, name)
}

// indexChange is a change of index.json that waits for its turn, or was made.
type indexChange struct {
	change func(*indexFile) (changed bool, err error)
	done   bool
	err    error
}

// update changes index.json while no other writer does. Of goroutines that do so at once,
// one makes the changes of all that wait. What they leave as it is, is not written.
func (s *Store) update(ctx context.Context, change func(*indexFile) (changed bool, err error)) error {
	c := &indexChange{change: change}
	s.mu.Lock()
	s.waiting = append(s.waiting, c)
	s.mu.Unlock()
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		if s.withdraw(c) {
			return context.Cause(ctx)
		}
		s.turn <- struct{}{} // another goroutine is about to make it
		defer func() { <-s.turn }()
	}
	if !c.done {
		s.mu.Lock()
		changes := s.waiting
		s.waiting = nil
		s.mu.Unlock()
		err := s.makeChanges(ctx, changes)
		for _, other := range changes {
			other.done, other.err = true, errors.Join(other.err, err)
		}
	}
	return c.err
}

// withdraw takes back a change that waits, and reports whether it did: else it is, or was,
// made.
func (s *Store) withdraw(c *indexChange) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.Index(s.waiting, c)
	if i < 0 {
		return false
	}
	s.waiting = slices.Delete(s.waiting, i, i+1)
	return true
}

// makeChanges is called by the goroutine that has the turn. Its error is that of all
// changes; that of one is noted there.
func (s *Store) makeChanges(ctx context.Context, changes []*indexChange) (err error) {
	root, err := s.directory()
	if err != nil {
		return err
	}
	unlock, err := lockIndex(ctx, root)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	index, err := readIndexFile(root)
	if err != nil {
		return err
	}
	if !index.change(changes) {
		return nil
	}
	text, err := index.text()
	if err != nil {
		return err
	}
	// Names of files are on the disk before what leads to them.
	for _, algorithm := range []digest.Algorithm{digest.SHA256, digest.SHA384, digest.SHA512} {
		if err := syncDirectory(root, "blobs/"+algorithm.String()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := writeLayoutFile(root); err != nil {
		return err
	}
	if err := replaceFile(root, ocispec.ImageIndexFile, func(file io.Writer) error { _, err := file.Write(text); return err }); err != nil {
		return err
	}
	return syncDirectory(root, ".")
}

// writeLayoutFile writes the file oci-layout, unless it is there.
func writeLayoutFile(root *os.Root) error {
	if _, err := root.Lstat(ocispec.ImageLayoutFile); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	text, err := json.Marshal(ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion})
	if err != nil {
		return err
	}
	return replaceFile(root, ocispec.ImageLayoutFile, func(file io.Writer) error { _, err := file.Write(text); return err })
}

// lockIndex waits until no other process writes the index. The lock ends with the
// process, too.
func lockIndex(ctx context.Context, root *os.Root) (unlock func() error, err error) {
	for {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		// A link is no lock: who opens it has another file than who looks at it.
		if info, err := root.Lstat(lockName); err == nil && !info.Mode().IsRegular() {
			return nil, fmt.Errorf("lock index.json: %s is no file; remove it", lockName)
		}
		file, err := root.OpenFile(lockName, os.O_RDWR|os.O_CREATE, 0o666)
		if err != nil {
			return nil, fmt.Errorf("lock index.json: %w", err)
		}
		for err = tryLock(file); errors.Is(err, errLocked); err = tryLock(file) {
			if waitErr := pauseForLock(ctx); waitErr != nil {
				return nil, errors.Join(fmt.Errorf("another process holds %s: %w", lockName, waitErr), file.Close())
			}
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("lock index.json: %w", err), file.Close())
		}
		// Whoever held it before may have removed the file: then this lock is none.
		mine, err := file.Stat()
		if err == nil {
			var there fs.FileInfo
			if there, err = root.Lstat(lockName); err == nil && os.SameFile(mine, there) {
				return func() error {
					_ = root.Remove(lockName) // nobody misses it, and no other has it; Windows keeps it
					return file.Close()
				}, nil
			}
		}
		if closeErr := file.Close(); closeErr != nil || err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("lock index.json: %w", errors.Join(err, closeErr))
		}
	}
}

func pauseForLock(ctx context.Context) error {
	more, err := rand.Int(rand.Reader, big.NewInt(int64(lockPause)))
	if err != nil {
		return err
	}
	timer := time.NewTimer(lockPause + time.Duration(more.Int64()))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// errLocked says that another process has the lock.
var errLocked = errors.New("it is locked")

// untilDone is a reader that ends with its context.
type untilDone struct {
	ctx  context.Context
	from io.Reader
}

// Read implements [io.Reader].
func (r untilDone) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.from.Read(p)
}
