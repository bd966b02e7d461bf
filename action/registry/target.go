// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote"
)

// How far an index is walked.
const (
	maxChildren    = 1000 // manifests below one artifact
	maxDepth       = 8    // indexes within indexes
	childrenAtOnce = 8
)

const (
	mediaTypeDockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	mediaTypeDockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
)

// Target is an artifact to sign or to verify: one manifest, known by its digest
// from here on, whatever becomes of the tag.
type Target struct {
	Text   string             // as the user wrote it; of a child: its reference
	Ref    registry.Reference // with the digest
	Tag    string             // that it was named by; empty: by its digest
	Desc   ocispec.Descriptor // media type, digest and size: what is signed
	Repo   *remote.Repository
	Parent *Target // the index that it was found in; nil: the user named it
}

// String returns registry/repository@digest.
func (t Target) String() string { return t.Ref.String() }

// Resolve finds out, with one request, which manifest a reference means.
func (r *Client) Resolve(ctx context.Context, text string) (Target, error) {
	ref, err := registry.ParseReference(text)
	if err != nil {
		return Target{}, fmt.Errorf("artifact %q: %w", text, err)
	}
	if ref.Reference == "" {
		return Target{}, fmt.Errorf("artifact %q has neither a tag nor a digest", text)
	}
	t := Target{Text: text, Ref: ref}
	if ref.ValidateReferenceAsDigest() != nil {
		t.Tag = ref.Reference
	}
	if t.Repo, err = r.repository(ref); err != nil {
		return Target{}, fmt.Errorf("artifact %q: %w", text, err)
	}
	if err := r.pin(ctx, &t); err != nil {
		return Target{}, fmt.Errorf("resolve %s: %w", text, r.Explain(ctx, ref, false, err))
	}
	return t, nil
}

// pin puts the digest into a target's reference, and what the registry says of
// that manifest into its descriptor.
func (r *Client) pin(ctx context.Context, t *Target) error {
	describe := t.Repo.Resolve
	if r.options.Signing {
		describe = func(ctx context.Context, reference string) (ocispec.Descriptor, error) {
			return readDescriptor(ctx, t.Repo, reference)
		}
	}
	found, err := describe(ctx, t.Ref.Reference)
	if err != nil {
		return err
	}
	if err := found.Digest.Validate(); err != nil {
		return fmt.Errorf("the registry's digest %q: %w", found.Digest, err)
	}
	t.Desc = ocispec.Descriptor{MediaType: found.MediaType, Digest: found.Digest, Size: found.Size}
	t.Ref.Reference = found.Digest.String()
	return nil
}

// readDescriptor returns the descriptor of a manifest that was read. Who verifies
// can take the registry's word for it, as notation does, and fails where that is
// wrong. Who signs it puts his name to it.
func readDescriptor(ctx context.Context, repo *remote.Repository, reference string) (ocispec.Descriptor, error) {
	answer, err := GetManifest(ctx, repo, reference, AnyManifest)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	desc := DescriptorOf(answer.MediaType, answer.Body)
	if want := digest.Digest(reference); want.Validate() == nil {
		if desc.Digest = want.Algorithm().FromBytes(answer.Body); desc.Digest != want {
			return ocispec.Descriptor{}, fmt.Errorf("%s: the registry sent something else", want)
		}
	}
	if err := checkMembers(desc.MediaType, answer.Body); err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("%s: %w", desc.Digest, err)
	}
	return desc, nil
}

// checkMembers checks that a manifest is what the registry calls it. Where it does not
// say itself, its members do. One that has the members of an index and of an image
// means one thing to some and another to others, whatever it is called
// (GHSA-77vh-xpmg-72qh).
func checkMembers(called string, body []byte) error {
	var said struct {
		SchemaVersion int             `json:"schemaVersion"`
		MediaType     string          `json:"mediaType"`
		Manifests     json.RawMessage `json:"manifests"`
		Config        json.RawMessage `json:"config"`
		Layers        json.RawMessage `json:"layers"`
	}
	if err := json.Unmarshal(body, &said); err != nil {
		return fmt.Errorf("it is no manifest: %w", err)
	}
	isIndex, isImage := said.Manifests != nil, said.Config != nil || said.Layers != nil
	switch {
	case isIndex && isImage:
		return errors.New("it is an index and an image at once: it has manifests, and config or layers")
	case said.MediaType != "" && said.MediaType != called:
		return fmt.Errorf("the registry calls it a %q, but it is a %q", called, said.MediaType)
	case said.MediaType != "":
		return nil
	case said.SchemaVersion != 2:
		return errors.New("it is no manifest: it has neither a mediaType nor the schemaVersion 2")
	case isIndex == isImage || isIndex != isIndexType(called):
		return fmt.Errorf("the registry calls it a %q, but its members are those of something else", called)
	}
	return nil
}

// Children returns all manifests below an index: those of indexes within it too,
// each once, an index before what is in it. An artifact that is no index has none.
// Those that can't be read are missing from the result and named in the error.
func (r *Client) Children(ctx context.Context, t Target) ([]Target, error) {
	walk := walk{registries: r, root: &t, seen: map[digest.Digest]bool{t.Desc.Digest: true}, said: map[digest.Digest]string{}}
	var found []Target
	var errs []error
	for level, depth := []Target{t}, 0; len(level) > 0; depth++ {
		if depth > maxDepth {
			errs = append(errs, fmt.Errorf("%s: indexes are nested deeper than %d", t, maxDepth))
			break
		}
		next, err := walk.below(ctx, level)
		if err != nil {
			errs = append(errs, err)
		}
		found = append(found, next...)
		level = next
	}
	return found, errors.Join(errs...)
}

// walk is a way through an index, level by level.
type walk struct {
	registries *Client
	root       *Target
	seen       map[digest.Digest]bool
	said       map[digest.Digest]string // the media type by which the first index lists it
}

// listing is an index's word for one manifest. What else it says has no meaning
// here, and would take memory.
type listing struct {
	MediaType string        `json:"mediaType"`
	Digest    digest.Digest `json:"digest"`
}

// below returns what the indexes of a level list and was not seen before.
func (w *walk) below(ctx context.Context, level []Target) ([]Target, error) {
	lists := make([][]listing, len(level))
	errs := make([]error, len(level))
	each(len(level), func(i int) {
		if lists[i], errs[i] = w.list(ctx, level[i]); errs[i] != nil {
			errs[i] = fmt.Errorf("look for manifests in %s: %w", level[i], w.registries.Explain(ctx, level[i].Ref, false, errs[i]))
		}
	})
	var next []Target
	for i, list := range lists {
		parent := level[i]
		for _, desc := range list {
			if w.seen[desc.Digest] {
				continue
			}
			if len(w.seen) > maxChildren {
				return nil, fmt.Errorf("%s: more than %d manifests are below it", w.root, maxChildren)
			}
			w.seen[desc.Digest] = true
			w.said[desc.Digest] = desc.MediaType
			child := Target{Ref: parent.Ref, Repo: parent.Repo, Parent: &parent}
			child.Ref.Reference = desc.Digest.String()
			child.Text = child.Ref.String()
			next = append(next, child)
		}
	}
	found := make([]Target, 0, len(next))
	missing := make([]error, len(next))
	// The registry's own word for type and size, because that is what notation
	// compares a signature with.
	each(len(next), func(i int) { missing[i] = w.registries.pin(ctx, &next[i]) })
	for i, child := range next {
		if missing[i] != nil {
			errs = append(errs, fmt.Errorf("%s, which index %s lists: %w", child, child.Parent, w.registries.Explain(ctx, child.Ref, false, missing[i])))
			continue
		}
		found = append(found, child)
	}
	return found, errors.Join(errs...)
}

// list returns all that an index lists, of whatever type; of anything else, none.
// Whether it is an index is not left to the registry's headers: what no index that
// was read calls by the same type is looked into.
func (w *walk) list(ctx context.Context, t Target) ([]listing, error) {
	if !isIndexType(t.Desc.MediaType) && w.said[t.Desc.Digest] == t.Desc.MediaType {
		return nil, nil
	}
	body, err := fetch(ctx, t.Repo.Manifests(), t.Desc, maxManifestBytes)
	if err != nil {
		return nil, err
	}
	return listings(t.Desc.MediaType, body)
}

func isIndexType(mediaType string) bool {
	return mediaType == ocispec.MediaTypeImageIndex || mediaType == mediaTypeDockerList
}

// listings reads what a manifest lists that the registry gives a media type.
func listings(mediaType string, body []byte) ([]listing, error) {
	var content struct {
		MediaType string    `json:"mediaType"`
		Manifests []listing `json:"manifests"`
	}
	if err := checkListing(body); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(body, &content); err != nil {
		return nil, err
	}
	if content.MediaType != "" && content.MediaType != mediaType || !isIndexType(mediaType) && len(content.Manifests) > 0 {
		return nil, fmt.Errorf("the registry calls it a %q, but it is a %q with %d manifests in it", mediaType, content.MediaType, len(content.Manifests))
	}
	for _, listed := range content.Manifests {
		if err := listed.Digest.Validate(); err != nil {
			return nil, fmt.Errorf("it lists a manifest by the digest %q: %w", listed.Digest, err)
		}
	}
	return content.Manifests, nil
}

// each calls do for 0 … n-1, some at once, and waits for all.
func each(n int, do func(i int)) {
	var group errgroup.Group
	group.SetLimit(childrenAtOnce)
	for i := range n {
		group.Go(func() error { do(i); return nil })
	}
	group.Wait() // no call returns an error
}

// fetch reads what a descriptor describes and checks that it is that. It takes no
// more memory than what really comes.
func fetch(ctx context.Context, from content.Fetcher, desc ocispec.Descriptor, limit int64) (_ []byte, err error) {
	if desc.Size < 0 || desc.Size > limit {
		return nil, fmt.Errorf("%s has %d bytes, which is more than the limit of %d", desc.Digest, desc.Size, limit)
	}
	if err := desc.Digest.Validate(); err != nil {
		return nil, fmt.Errorf("digest %q: %w", desc.Digest, err)
	}
	body, err := from.Fetch(ctx, desc)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, body.Close()) }()
	got, err := io.ReadAll(io.LimitReader(body, desc.Size+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", desc.Digest, err)
	}
	if int64(len(got)) != desc.Size || desc.Digest.Algorithm().FromBytes(got) != desc.Digest {
		return nil, fmt.Errorf("%s: the registry sent something else", desc.Digest)
	}
	return got, nil
}
