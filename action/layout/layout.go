// SPDX-License-Identifier: Apache-2.0

package layout

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/content/oci"

	"github.com/notation-pkcs11/notation-pkcs11/action/registry"
)

// maxIndexBytes bounds a layout's index.json, which can list thousands of images.
const maxIndexBytes = 32 << 20

// annotationContainerdName is where containerd, and docker save with it, writes the
// whole name of an image. Their org.opencontainers.image.ref.name is the tag alone.
const annotationContainerdName = "io.containerd.image.name"

// nameAnnotations are those that name a manifest of a layout.
var nameAnnotations = []string{ocispec.AnnotationRefName, annotationContainerdName}

// Layout is an OCI image layout, a directory or a tar archive, which is read where it
// is: nothing is unpacked. Its methods may be called concurrently. Close it when done.
type Layout struct {
	path      string
	files     layoutFiles
	blobs     *oci.ReadOnlyStorage
	read      *memberCache
	entries   []indexEntry
	referrers map[digest.Digest][]referrer // by their subject
	entered   map[digest.Digest]bool       // manifests of which is known what they refer to
	envelopes *registry.EnvelopeReader
}

// referrer is a manifest that refers to another.
type referrer struct {
	desc    ocispec.Descriptor // as a list of referrers has it
	subject ocispec.Descriptor
	config  string // media type
}

// isSignature reports whether notation takes a referrer in a layout for a signature of an
// artifact. (In a repository, the registry says which are.)
func (r referrer) isSignature(of ocispec.Descriptor) bool {
	kind := r.config
	if r.desc.MediaType == registry.MediaTypeArtifactManifest {
		kind = r.desc.ArtifactType
	}
	return kind == registry.ArtifactTypeSignature && content.Equal(r.subject, of)
}

// memberCache remembers what manifests say, which are known by their digests.
type memberCache struct {
	mu    sync.Mutex
	known map[digest.Digest]registry.Members
}

// indexEntry is a manifest that a layout's index.json lists.
type indexEntry struct {
	desc     ocispec.Descriptor // media type, digest and size
	names    []string
	parts    []digest.Digest // what is in an index
	isImage  bool            // it is neither a referrer, nor an index of the referrers tag schema, nor a part of another
	unread   error           // why its manifest can't be read
	platform string
}

// Open opens the layout at a path, and reads its index and the manifests that the
// index lists.
func Open(ctx context.Context, path string) (_ *Layout, err error) {
	files, err := openFiles(path)
	if err != nil {
		return nil, fmt.Errorf("layout: %w", err)
	}
	l, err := readLayout(ctx, path, files, &memberCache{known: map[digest.Digest]registry.Members{}})
	if err != nil {
		return nil, errors.Join(err, files.Close())
	}
	return l, nil
}

func readLayout(ctx context.Context, path string, files layoutFiles, read *memberCache) (*Layout, error) {
	l := &Layout{
		path: path, files: files, blobs: oci.NewStorageFromFS(files), read: read,
		referrers: map[digest.Digest][]referrer{}, entered: map[digest.Digest]bool{},
		envelopes: registry.NewEnvelopeReader(),
	}
	if err := l.load(ctx); err != nil {
		return nil, fmt.Errorf("layout %s: %w", path, err)
	}
	return l, nil
}

// Close closes the layout.
func (l *Layout) Close() error { return l.files.Close() }

// load reads oci-layout and index.json.
func (l *Layout) load(ctx context.Context) error {
	var version ocispec.ImageLayout
	if err := l.readJSON(ocispec.ImageLayoutFile, &version); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return errors.New("it is no OCI image layout, for it has no file oci-layout (docker save makes a layout from Docker 25 on)")
		}
		return err
	}
	if version.Version != ocispec.ImageLayoutVersion {
		return fmt.Errorf("its imageLayoutVersion is %q, and %s is known", version.Version, ocispec.ImageLayoutVersion)
	}
	var index ocispec.Index
	if err := l.readJSON(ocispec.ImageIndexFile, &index); err != nil {
		return err
	}
	if len(index.Manifests) > registry.MaxListed {
		return registry.ErrTooLong
	}
	for _, listed := range index.Manifests {
		if err := listed.Digest.Validate(); err != nil {
			return fmt.Errorf("its index.json lists the digest %q: %w", listed.Digest, err)
		}
		l.enter(ctx, listed)
	}
	// oras lists what is in an index beside it.
	inside := map[digest.Digest]bool{}
	for _, entry := range l.entries {
		for _, part := range entry.parts {
			inside[part] = true
		}
	}
	for i := range l.entries {
		entry := &l.entries[i]
		entry.isImage = entry.isImage && (len(entry.names) > 0 || !inside[entry.desc.Digest])
	}
	return nil
}

func (l *Layout) readJSON(name string, value any) (err error) {
	file, err := l.files.Open(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	content, err := io.ReadAll(io.LimitReader(file, maxIndexBytes+1))
	if err != nil {
		return err
	}
	if len(content) > maxIndexBytes {
		return fmt.Errorf("its %s has more than %d bytes", name, maxIndexBytes)
	}
	if err := json.Unmarshal(content, value); err != nil {
		return fmt.Errorf("its %s: %w", name, err)
	}
	return nil
}

// enter notes an entry of index.json, and whose referrer it is.
func (l *Layout) enter(ctx context.Context, listed ocispec.Descriptor) {
	entry := indexEntry{
		desc:     ocispec.Descriptor{MediaType: listed.MediaType, Digest: listed.Digest, Size: listed.Size},
		platform: registry.PlatformOf(listed.Platform),
	}
	for _, annotation := range nameAnnotations {
		if name := listed.Annotations[annotation]; name != "" && !slices.Contains(entry.names, name) {
			entry.names = append(entry.names, name)
		}
	}
	isTag := slices.ContainsFunc(entry.names, referrersTagPattern.MatchString)
	members, err := l.members(ctx, entry.desc)
	if err == nil && listed.MediaType != "" && listed.MediaType != members.MediaType { // which would be signed
		err = l.name(entry.desc, fmt.Errorf("index.json calls it a %q, but it is a %q", listed.MediaType, members.MediaType))
	}
	entry.unread = err
	entry.isImage = members.Subject == nil && !isTag
	entry.desc.MediaType = cmp.Or(entry.desc.MediaType, members.MediaType)
	for _, part := range members.Manifests {
		entry.parts = append(entry.parts, part.Digest)
	}
	l.entries = append(l.entries, entry)
	l.enterReferrer(ctx, entry.desc, members, registry.MaxDepth)
}

func (l *Layout) members(ctx context.Context, desc ocispec.Descriptor) (registry.Members, error) {
	l.read.mu.Lock()
	members, known := l.read.known[desc.Digest]
	l.read.mu.Unlock()
	if known {
		return members, nil
	}
	content, err := l.Manifest(ctx, desc)
	if err != nil {
		return registry.Members{}, err
	}
	if members, err = registry.ReadMembers(content); err != nil {
		return registry.Members{}, l.name(desc, err)
	}
	l.read.mu.Lock()
	defer l.read.mu.Unlock()
	l.read.known[desc.Digest] = members
	return members, nil
}

// enterReferrer notes what a manifest refers to, and what those refer to that are in it:
// as notation does, it finds all that is below index.json, such as the indexes of the
// referrers tag schema. What can't be read refers to nothing.
func (l *Layout) enterReferrer(ctx context.Context, desc ocispec.Descriptor, members registry.Members, depth int) {
	if l.entered[desc.Digest] || len(l.entered) > registry.MaxListed {
		return
	}
	l.entered[desc.Digest] = true
	if members.Subject != nil {
		of := members.Subject.Digest
		l.referrers[of] = append(l.referrers[of], referrer{members.Entry(desc), *members.Subject, members.ConfigType})
	}
	if depth == 0 {
		return
	}
	for _, listed := range members.Manifests {
		if inside, err := l.members(ctx, listed); err == nil && registry.IsManifestType(listed.MediaType) {
			l.enterReferrer(ctx, listed, inside, depth-1)
		}
	}
}

// referrersOf lists what refers to a manifest, of one artifact type, or all if that is
// empty. Signatures are those that notation takes for ones.
func (l *Layout) referrersOf(of ocispec.Descriptor, artifactType string) []ocispec.Descriptor {
	var found []ocispec.Descriptor
	for _, r := range l.referrers[of.Digest] {
		if artifactType == "" || artifactType == r.desc.ArtifactType && artifactType != registry.ArtifactTypeSignature ||
			artifactType == registry.ArtifactTypeSignature && r.isSignature(of) {
			found = append(found, r.desc)
		}
	}
	return found
}

// Find returns the artifact that a reference means.
func (l *Layout) Find(ctx context.Context, ref registry.LayoutReference) (ocispec.Descriptor, error) {
	found, err := l.find(ctx, ref)
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("layout %s: %w", l.path, err)
	}
	return found, nil
}

func (l *Layout) find(ctx context.Context, ref registry.LayoutReference) (ocispec.Descriptor, error) {
	if ref.Name == "" && ref.Digest != "" {
		return l.byDigest(ctx, ref.Digest)
	}
	matches := func(e indexEntry) bool { return slices.Contains(e.names, ref.Name) }
	if ref.Name == "" {
		matches = func(e indexEntry) bool { return e.isImage }
	}
	found := map[digest.Digest]indexEntry{}
	for _, entry := range l.entries {
		if matches(entry) {
			found[entry.desc.Digest] = entry
		}
	}
	switch {
	case len(found) == 0 && ref.Name != "":
		return ocispec.Descriptor{}, fmt.Errorf("it has nothing with the name %q; %s", ref.Name, l.describe(l.entries))
	case len(found) == 0:
		return ocispec.Descriptor{}, fmt.Errorf("it has no image in it; %s", l.describe(l.entries))
	case len(found) > 1:
		entries := slices.Collect(maps.Values(found))
		return ocispec.Descriptor{}, fmt.Errorf("%d artifacts in it could be meant; name one with :NAME or @DIGEST; %s", len(found), l.describe(entries))
	}
	for _, entry := range found {
		if ref.Digest != "" && ref.Digest != entry.desc.Digest {
			return ocispec.Descriptor{}, fmt.Errorf("%q is %s in it, and not %s", ref.Name, entry.desc.Digest, ref.Digest)
		}
		return entry.desc, entry.unread
	}
	panic("unreachable")
}

// describe lists entries.
func (l *Layout) describe(entries []indexEntry) string {
	const limit = 20
	if len(entries) == 0 {
		return "it is empty"
	}
	byName := func(a, b indexEntry) int {
		return cmp.Or(slices.Compare(a.names, b.names), cmp.Compare(a.desc.Digest, b.desc.Digest))
	}
	var b strings.Builder
	b.WriteString("it has ")
	for i, entry := range slices.SortedFunc(slices.Values(entries), byName) {
		if i > 0 {
			b.WriteString(", ")
		}
		if i == limit {
			fmt.Fprintf(&b, "and %d more", len(entries)-limit)
			break
		}
		b.WriteString(entry.desc.Digest.String())
		if entry.platform != "" {
			fmt.Fprintf(&b, " for %s", entry.platform)
		}
		if len(entry.names) > 0 {
			fmt.Fprintf(&b, " with the name %q", strings.Join(entry.names, `" and "`))
		}
	}
	return b.String()
}

// byDigest returns the manifest of a digest, wherever in the layout it is listed.
func (l *Layout) byDigest(ctx context.Context, of digest.Digest) (ocispec.Descriptor, error) {
	for _, entry := range l.entries {
		if entry.desc.Digest == of {
			return entry.desc, entry.unread
		}
	}
	info, err := l.files.Stat(blobName(of))
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	desc := ocispec.Descriptor{Digest: of, Size: info.Size()}
	members, err := l.members(ctx, desc)
	desc.MediaType = members.MediaType
	return desc, err
}

// errSize says that a blob is not what a manifest lists.
var errSize = errors.New("its size is wrong")

// lists reports whether index.json lists a manifest.
func (l *Layout) lists(manifest digest.Digest) bool {
	return slices.ContainsFunc(l.entries, func(e indexEntry) bool { return e.desc.Digest == manifest })
}

// blobName is the path of a blob in a layout.
func blobName(of digest.Digest) string {
	return "blobs/" + of.Algorithm().String() + "/" + of.Encoded()
}

// Manifest reads a manifest, and checks that it has the digest.
func (l *Layout) Manifest(ctx context.Context, desc ocispec.Descriptor) ([]byte, error) {
	content, err := registry.FetchManifest(ctx, l.blobs, desc)
	return content, l.name(desc, err)
}

// Blob opens a blob. What is read of it is not checked.
func (l *Layout) Blob(ctx context.Context, desc ocispec.Descriptor) (io.ReadCloser, error) {
	if err := l.Lacks(desc); err != nil {
		return nil, err
	}
	blob, err := l.blobs.Fetch(ctx, desc)
	return blob, l.name(desc, err)
}

// Lacks returns what is wrong with a blob, as far as that shows without reading it: it
// is absent, it is a link, it has another size.
func (l *Layout) Lacks(desc ocispec.Descriptor) error {
	if err := desc.Digest.Validate(); err != nil {
		return l.name(desc, err)
	}
	info, err := l.files.Stat(blobName(desc.Digest))
	if err == nil && info.Size() != desc.Size {
		err = fmt.Errorf("%w: it has %d bytes, and not %d", errSize, info.Size(), desc.Size)
	}
	return l.name(desc, err)
}

// name says of an error which blob it is about.
func (l *Layout) name(desc ocispec.Descriptor, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("blob %s: %w", desc.Digest, err)
}
