// SPDX-License-Identifier: Apache-2.0

package layout

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/errdef"
	orasregistry "oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote"

	"github.com/notation-pkcs11/notation-pkcs11/action/registry"
)

// Store is a layout in a directory, which artifacts are read from and written to,
// by several processes at once. It implements [registry.Store]. Close it when done.
//
// What it answers is read from the directory again when its index.json has changed.
type Store struct {
	path  string
	scope orasregistry.Reference

	turn chan struct{} // held while this process writes index.json

	mu      sync.Mutex
	root    *os.Root    // nil: the directory is not there yet
	layout  *Layout     // as index.json was last read; nil: it was not read yet
	seen    fs.FileInfo // of that index.json
	read    *memberCache
	swept   bool           // what killed writers left behind is removed
	waiting []*indexChange // for the turn
}

// OpenStore opens the layout in a directory. If create is true, the directory may
// be empty or absent; then the layout is made with the first write. The trust policy
// statement for what is in it is chosen by scope.
func OpenStore(ctx context.Context, path string, scope orasregistry.Reference, create bool) (*Store, error) {
	s := &Store{path: path, scope: scope, turn: make(chan struct{}, 1), read: &memberCache{known: map[digest.Digest]registry.Members{}}}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && create:
		return s, nil
	case err != nil:
		return nil, fmt.Errorf("layout: %w", err)
	case !info.IsDir():
		return nil, fmt.Errorf("layout %s is a file, and a target must be a directory: nothing is written into an archive; unpack it with: tar --extract --file %s --directory DIR", path, path)
	}
	if s.root, err = os.OpenRoot(path); err != nil {
		return nil, fmt.Errorf("layout: %w", err)
	}
	if _, err = s.current(ctx); errors.Is(err, errdef.ErrNotFound) && create {
		err = s.checkEmpty(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, s.root.Close())
	}
	return s, nil
}

// checkEmpty refuses to make a layout among other files.
func (s *Store) checkEmpty(ctx context.Context) error {
	files, err := fs.ReadDir(s.root.FS(), ".")
	if slices.ContainsFunc(files, func(file fs.DirEntry) bool { return file.Name() == ocispec.ImageIndexFile }) {
		_, err := s.current(ctx) // another writer has just made it
		return err
	}
	for _, file := range files {
		if !slices.Contains([]string{lockName, ingest, "blobs", ocispec.ImageLayoutFile}, file.Name()) { // of a writer that was killed
			return fmt.Errorf("directory %s has %s in it and is no OCI image layout; name a layout, an empty directory or a new one", s.path, file.Name())
		}
	}
	return err
}

// Close closes the layout.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.root == nil {
		return nil
	}
	return s.root.Close()
}

// errNoLayout says that there is no layout yet.
var errNoLayout = fmt.Errorf("there is no layout: %w", errdef.ErrNotFound)

// current returns the layout as it is now, or errNoLayout.
func (s *Store) current(ctx context.Context) (*Layout, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.root == nil {
		return nil, errNoLayout
	}
	files := directory{s.root}
	now, err := files.Stat(ocispec.ImageIndexFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errNoLayout
	}
	if err != nil {
		return nil, err
	}
	if s.layout != nil && os.SameFile(now, s.seen) && now.ModTime().Equal(s.seen.ModTime()) && now.Size() == s.seen.Size() {
		return s.layout, nil
	}
	layout, err := readLayout(ctx, s.path, files, s.read)
	if err != nil {
		return nil, err
	}
	s.layout, s.seen = layout, now
	return layout, nil
}

// String implements [registry.Store].
func (s *Store) String() string { return registry.LayoutPrefix + s.path }

// Repository implements [registry.Store].
func (s *Store) Repository() orasregistry.Reference { return orasregistry.Reference{} }

// Scope implements [registry.Store].
func (s *Store) Scope() orasregistry.Reference { return s.scope }

// Find returns the artifact that a reference means.
func (s *Store) Find(ctx context.Context, ref registry.LayoutReference) (ocispec.Descriptor, error) {
	layout, err := s.current(ctx)
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("layout %s: %w", s.path, err)
	}
	return layout.Find(ctx, ref)
}

// Resolve implements [registry.Store].
func (s *Store) Resolve(ctx context.Context, reference string) (ocispec.Descriptor, error) {
	layout, err := s.current(ctx)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	if of := digest.Digest(reference); of.Validate() == nil {
		return layout.byDigest(ctx, of)
	}
	if !slices.ContainsFunc(layout.entries, func(e indexEntry) bool { return slices.Contains(e.names, reference) }) {
		return ocispec.Descriptor{}, fmt.Errorf("%s: %w", reference, errdef.ErrNotFound)
	}
	return layout.find(ctx, registry.LayoutReference{Name: reference})
}

// Describe implements [registry.Store].
func (s *Store) Describe(ctx context.Context, reference string) (ocispec.Descriptor, error) {
	return s.Resolve(ctx, reference)
}

// Manifests implements [registry.Store].
func (s *Store) Manifests() content.ReadOnlyStorage { return storedBlobs{s} }

// Blobs implements [registry.Store].
func (s *Store) Blobs() content.ReadOnlyStorage { return storedBlobs{s} }

// Referrers implements [registry.Store].
func (s *Store) Referrers(ctx context.Context, of ocispec.Descriptor, artifactType string, use func([]ocispec.Descriptor) error) error {
	layout, err := s.current(ctx)
	switch {
	case errors.Is(err, errNoLayout):
		return nil
	case err != nil:
		return err
	}
	return use(layout.referrersOf(of, artifactType))
}

// Look implements [registry.Store].
func (s *Store) Look(ctx context.Context, of ocispec.Descriptor, manifest digest.Digest) (registry.Listing, error) {
	listing := registry.Unlisted
	err := s.Referrers(ctx, of, registry.ArtifactTypeSignature, func(found []ocispec.Descriptor) error {
		if slices.ContainsFunc(found, func(d ocispec.Descriptor) bool { return d.Digest == manifest }) {
			listing = registry.Listed
		}
		return nil
	})
	return listing, err
}

// Afresh implements [registry.Store]: nothing is remembered but what digests stand for.
func (s *Store) Afresh() registry.Store { return s }

// TagSchema implements [registry.Store].
func (s *Store) TagSchema() *remote.Repository { return nil }

// Explain implements [registry.Store].
func (s *Store) Explain(_ context.Context, _ bool, err error) error {
	return fmt.Errorf("layout %s: %w", s.path, err)
}

// storedBlobs are the blobs of a layout, manifests among them.
type storedBlobs struct{ *Store }

// Fetch implements [content.Fetcher].
func (b storedBlobs) Fetch(ctx context.Context, desc ocispec.Descriptor) (blob io.ReadCloser, err error) {
	layout, err := b.current(ctx)
	if err != nil {
		return nil, err
	}
	if blob, err = layout.Blob(ctx, desc); errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w: %w", errdef.ErrNotFound, err)
	}
	return blob, err
}

// Exists implements [content.ReadOnlyStorage]. What has another content than its digest
// says is not there: it is to be written again. To read it takes no longer than that.
func (b storedBlobs) Exists(ctx context.Context, desc ocispec.Descriptor) (bool, error) {
	blob, err := b.Fetch(ctx, desc)
	if errors.Is(err, errdef.ErrNotFound) || errors.Is(err, errSize) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	verified := content.NewVerifyReader(untilDone{ctx, blob}, desc)
	_, err = io.Copy(io.Discard, verified)
	if err == nil && verified.Verify() != nil {
		return false, blob.Close()
	}
	return err == nil, errors.Join(err, blob.Close())
}
