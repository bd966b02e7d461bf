// SPDX-License-Identifier: Apache-2.0

package publish

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
	"oras.land/oras-go/v2/errdef"

	"github.com/notation-pkcs11/notation-pkcs11/action/registry"
)

// How far an artifact is walked.
const (
	maxPlanned  = 10_000 // manifests of one artifact, with what refers to it
	maxLevels   = 16     // indexes within indexes, and referrers of referrers
	readsAtOnce = 8
)

// Plan is what is to be copied of a source: an artifact, an index with all that is in
// it, and what refers to any of these. It holds no content, so it takes little memory.
type Plan struct {
	Source   registry.Source
	Bytes    int64    // of all blobs
	Warnings []string // what is left out

	manifests []*plannedManifest // what another refers to comes before it
	blobs     []plannedBlob      // the smallest first
}

// plannedManifest is a manifest to copy.
type plannedManifest struct {
	desc    ocispec.Descriptor // media type, digest and size
	subject *ocispec.Descriptor
	entry   ocispec.Descriptor // as a list of referrers has it
	parent  digest.Digest      // the index that it was found in
	isPart  bool               // of the artifact; else it refers to it
	refers  []digest.Digest    // to manifests of the plan
	level   int                // above that of each manifest that it refers to
}

// plannedBlob is a blob to copy.
type plannedBlob struct {
	desc    ocispec.Descriptor
	foreign bool // it need not be there
}

// Part is a manifest of an artifact.
type Part struct {
	Desc   ocispec.Descriptor
	Parent digest.Digest // of the index that it was found in; empty: it is the artifact
}

// Parts returns the artifact and all manifests in it, an index before what is in it.
func (p *Plan) Parts() []Part {
	var parts []Part
	for _, m := range slices.Backward(p.manifests) {
		if m.isPart {
			parts = append(parts, Part{m.desc, m.parent})
		}
	}
	slices.SortStableFunc(parts, func(a, b Part) int { return cmp.Compare(len(a.Parent), len(b.Parent)) })
	return parts
}

// Has reports whether a manifest is to be copied.
func (p *Plan) Has(manifest digest.Digest) bool {
	return slices.ContainsFunc(p.manifests, func(m *plannedManifest) bool { return m.desc.Digest == manifest })
}

// Referrers is how many manifests refer to the artifact, or to a part of it.
func (p *Plan) Referrers() int {
	n := 0
	for _, m := range p.manifests {
		if !m.isPart {
			n++
		}
	}
	return n
}

// AbsentError says that a source has not all of an index.
type AbsentError struct {
	Index     digest.Digest
	Platforms []string // of the manifests that are absent, or their digests
}

// Error implements error.
func (e *AbsentError) Error() string {
	return fmt.Sprintf("of the index %s, what is for %s is absent; name one of the others with @DIGEST, or save all of it "+
		"(docker save --platform saves one, and then names no others)", e.Index, strings.Join(e.Platforms, ", "))
}

// MakePlan walks a source. wanted reports whether what refers to the artifact comes
// along, by its artifact type, and what refers to that likewise; nil: nothing does. It reads
// manifests alone, and finds what is wrong with them, and with blobs as far as that
// shows without reading them.
func MakePlan(ctx context.Context, source registry.Source, wanted func(artifactType string) bool) (*Plan, error) {
	w := planner{source: source, wanted: wanted, plan: &Plan{Source: source},
		tried: map[digest.Digest]bool{}, seen: map[digest.Digest]*plannedManifest{},
		blobs: map[digest.Digest]*plannedBlob{}, absent: map[digest.Digest][]string{},
	}
	if err := w.walk(ctx); err != nil {
		return nil, fmt.Errorf("the source %s: %w", source, source.Explain(ctx, err))
	}
	return w.plan, nil
}

// planner makes a plan, level by level.
type planner struct {
	source registry.Source
	wanted func(string) bool
	plan   *Plan

	mu     sync.Mutex
	next   []candidate // to be read
	tried  map[digest.Digest]bool
	seen   map[digest.Digest]*plannedManifest
	blobs  map[digest.Digest]*plannedBlob
	absent map[digest.Digest][]string // platforms, by the index that lists them
}

// candidate is a manifest that was met and not read.
type candidate struct {
	desc     ocispec.Descriptor
	parent   digest.Digest // the index that lists it
	platform string        // for which that lists it
	isPart   bool
	of       digest.Digest // what it is said to refer to; empty: it was not met as a referrer
}

func (w *planner) walk(ctx context.Context) error {
	w.meet(candidate{desc: w.source.Root(), isPart: true})
	for depth := 0; len(w.next) > 0; depth++ {
		if depth > maxLevels {
			return fmt.Errorf("indexes and referrers are nested deeper than %d", maxLevels)
		}
		level := w.next
		w.next = nil
		group, ctx := errgroup.WithContext(ctx)
		group.SetLimit(readsAtOnce)
		for _, c := range level {
			group.Go(func() error { return w.read(ctx, c) })
		}
		if err := group.Wait(); err != nil {
			return err
		}
		if len(w.tried) > maxPlanned {
			return fmt.Errorf("the artifact and what refers to it are more than %d manifests", maxPlanned)
		}
	}
	for _, index := range slices.Sorted(maps.Keys(w.absent)) {
		slices.Sort(w.absent[index])
		return &AbsentError{index, w.absent[index]}
	}
	w.finish()
	return nil
}

// meet notes that a manifest is to be read. What is met as a referrer alone may not be
// one.
func (w *planner) meet(c candidate) {
	key := c.desc.Digest + c.of
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.tried[key] {
		w.tried[key] = true
		w.next = append(w.next, c)
	}
}

// read reads a manifest, and notes what it refers to and what refers to it.
func (w *planner) read(ctx context.Context, c candidate) error {
	content, err := w.source.Manifest(ctx, c.desc)
	switch {
	case err != nil && isAbsent(err) && c.of != "":
		w.leaveOut("%s is listed as a referrer of %s, and is not there", c.desc.Digest, c.of)
		return nil
	case err != nil && isAbsent(err) && c.parent != "":
		w.lacks(c)
		return nil
	case err != nil:
		return fmt.Errorf("manifest %s: %w", c.desc.Digest, err)
	}
	members, err := registry.ReadMembers(content)
	if err != nil {
		return fmt.Errorf("manifest %s: %w", c.desc.Digest, err)
	}
	if c.of != "" && (members.Subject == nil || members.Subject.Digest != c.of || !w.wanted(members.ArtifactType)) {
		return nil
	}
	if c.desc.MediaType != members.MediaType {
		return fmt.Errorf("manifest %s: it is called a %q, but it is a %q", c.desc.Digest, c.desc.MediaType, members.MediaType)
	}
	m := &plannedManifest{desc: c.desc, subject: members.Subject, entry: members.Entry(c.desc), parent: c.parent, isPart: c.isPart}
	for _, listed := range members.Manifests {
		child := candidate{desc: plain(listed), parent: c.desc.Digest, platform: registry.PlatformOf(listed.Platform), isPart: c.isPart}
		if registry.IsManifestType(child.desc.MediaType) {
			m.refers = append(m.refers, child.desc.Digest)
			w.meet(child)
		} else {
			members.Blobs = append(members.Blobs, listed)
		}
	}
	if m.subject != nil {
		m.refers = append(m.refers, m.subject.Digest)
	}
	for _, blob := range members.Blobs {
		if err := w.blob(plain(blob)); err != nil {
			return fmt.Errorf("manifest %s: %w", c.desc.Digest, err)
		}
	}
	w.mu.Lock()
	known := w.seen[c.desc.Digest]
	if known == nil {
		w.seen[c.desc.Digest] = m
	} else if c.isPart { // it is what it was met as last, too
		known.isPart, known.parent = true, cmp.Or(known.parent, c.parent)
	}
	w.mu.Unlock()
	if known != nil {
		return nil
	}
	return w.referrers(ctx, c)
}

// referrers notes what is listed as referring to a manifest.
func (w *planner) referrers(ctx context.Context, c candidate) error {
	if w.wanted == nil {
		return nil
	}
	err := w.source.Referrers(ctx, c.desc, func(page []ocispec.Descriptor) error {
		for _, listed := range page {
			if err := listed.Digest.Validate(); err != nil {
				return fmt.Errorf("digest %q: %w", listed.Digest, err)
			}
			if registry.IsManifestType(listed.MediaType) {
				w.meet(candidate{desc: plain(listed), of: c.desc.Digest})
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("list what refers to %s: %w", c.desc.Digest, err)
	}
	if !c.isPart {
		return nil
	}
	tags, err := w.source.CosignTags(ctx, c.desc.Digest)
	if err != nil {
		return fmt.Errorf("look for cosign's tags of %s: %w", c.desc.Digest, err)
	}
	for _, tag := range tags {
		w.leaveOut("cosign's tag %s is not copied: it is no referrer", tag)
	}
	return nil
}

// blob notes a blob, unless it is absent and need not be there.
func (w *planner) blob(desc ocispec.Descriptor) error {
	err := w.source.Lacks(desc)
	foreign := registry.IsForeign(desc.MediaType)
	if err != nil && !(foreign && isAbsent(err)) {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	known := w.blobs[desc.Digest]
	switch {
	case err != nil:
	case known == nil:
		w.blobs[desc.Digest] = &plannedBlob{desc, foreign}
	case known.desc.Size != desc.Size:
		return fmt.Errorf("blob %s has %d bytes to one manifest, and %d to another", desc.Digest, known.desc.Size, desc.Size)
	default:
		known.foreign = known.foreign && foreign
	}
	return nil
}

func (w *planner) leaveOut(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.plan.Warnings = append(w.plan.Warnings, fmt.Sprintf(format, args...))
}

func (w *planner) lacks(c candidate) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.absent[c.parent] = append(w.absent[c.parent], cmp.Or(c.platform, c.desc.Digest.String()))
}

// finish puts manifests and blobs into the order in which they are copied.
func (w *planner) finish() {
	for _, m := range w.seen {
		w.plan.manifests = append(w.plan.manifests, m)
		w.level(m)
	}
	slices.SortFunc(w.plan.manifests, func(a, b *plannedManifest) int {
		return cmp.Or(cmp.Compare(a.level, b.level), cmp.Compare(a.desc.Digest, b.desc.Digest))
	})
	for _, blob := range w.blobs {
		w.plan.blobs = append(w.plan.blobs, *blob)
		w.plan.Bytes += blob.desc.Size
	}
	slices.SortFunc(w.plan.blobs, func(a, b plannedBlob) int {
		return cmp.Or(cmp.Compare(a.desc.Size, b.desc.Size), cmp.Compare(a.desc.Digest, b.desc.Digest))
	})
	slices.Sort(w.plan.Warnings)
}

// level finds a manifest's level. What refers to what is no circle: each has the
// other's digest in it.
func (w *planner) level(m *plannedManifest) int {
	if m.level == 0 {
		m.level = 1
		for _, to := range m.refers {
			if other := w.seen[to]; other != nil {
				m.level = max(m.level, w.level(other)+1)
			}
		}
	}
	return m.level
}

// plain is a descriptor without what others say of it.
func plain(desc ocispec.Descriptor) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: desc.MediaType, Digest: desc.Digest, Size: desc.Size}
}

func isAbsent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, errdef.ErrNotFound)
}
