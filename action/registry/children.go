// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
	"oras.land/oras-go/v2/errdef"
)

// How far an index is walked.
const (
	maxChildren    = 1000 // manifests below one artifact
	MaxDepth       = 8    // indexes within indexes; of layouts, too
	childrenAtOnce = 8
)

// Children returns all manifests below an index: those of indexes within it too,
// each once, an index before what is in it. An artifact that is no index has none.
// Those that can't be read are missing from the result and named in the error.
func (t Target) Children(ctx context.Context) ([]Target, error) {
	walk := walk{root: &t, seen: map[digest.Digest]bool{t.Desc.Digest: true}, said: map[digest.Digest]string{}}
	var found []Target
	var errs []error
	for level, depth := []Target{t}, 0; len(level) > 0; depth++ {
		if depth > MaxDepth {
			errs = append(errs, fmt.Errorf("%s: indexes are nested deeper than %d", t, MaxDepth))
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
	root *Target
	seen map[digest.Digest]bool
	said map[digest.Digest]string // the media type by which the first index lists it
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
			errs[i] = fmt.Errorf("look for manifests in %s: %w", level[i], level[i].Store.Explain(ctx, false, errs[i]))
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
			child := parent.Beside(ocispec.Descriptor{Digest: desc.Digest})
			child.Parent = &parent
			next = append(next, child)
		}
	}
	found := make([]Target, 0, len(next))
	missing := make([]error, len(next))
	// The registry's own word for type and size, because that is what notation
	// compares a signature with.
	each(len(next), func(i int) { missing[i] = next[i].pin(ctx, next[i].Desc.Digest.String()) })
	for i, child := range next {
		if said := w.said[child.Desc.Digest]; errors.Is(missing[i], errdef.ErrNotFound) && !isManifestType(said) {
			missing[i] = &AdvisedError{Advice: fmt.Sprintf("the index calls it a %q, and that is no manifest, so it can't be signed; sign without recursive, or remove it from the index", said), Err: missing[i]}
		}
		if missing[i] != nil {
			errs = append(errs, fmt.Errorf("%s, which index %s lists: %w", child, child.Parent, child.Store.Explain(ctx, false, missing[i])))
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
	body, err := FetchManifest(ctx, t.Store.Manifests(), t.Desc)
	if err != nil {
		return nil, err
	}
	return listings(t.Desc.MediaType, body)
}

// isManifestType reports whether a media type is one of those that a registry keeps as
// manifests.
func isManifestType(mediaType string) bool {
	return slices.Contains(strings.Split(AnyManifest, ", "), mediaType)
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
