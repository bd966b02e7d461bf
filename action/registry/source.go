// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry"
)

// Source is an artifact to copy, with what refers to it: one of a layout, or one of a
// repository. Its methods may be called concurrently. As a [SignatureSource] it reads
// the signatures of an artifact at the source, wherever the target's reference leads.
type Source interface {
	SignatureSource

	// String names the artifact, with its digest.
	String() string

	// Root is the artifact.
	Root() ocispec.Descriptor

	// Manifest reads a manifest and checks its digest. One that is not there is
	// an [errdef.ErrNotFound].
	Manifest(ctx context.Context, desc ocispec.Descriptor) ([]byte, error)

	// Blob opens a blob. What is read of it is not checked.
	Blob(ctx context.Context, desc ocispec.Descriptor) (io.ReadCloser, error)

	// Lacks returns what is wrong with a blob, as far as that shows without a
	// request: nil if nothing does.
	Lacks(desc ocispec.Descriptor) error

	// Referrers calls use with pages of what is listed as referrers of a manifest.
	// Whether they are is for the caller to find out.
	Referrers(ctx context.Context, of ocispec.Descriptor, use func([]ocispec.Descriptor) error) error

	// CosignTags returns which tags there are that cosign gave to a manifest.
	CosignTags(ctx context.Context, of digest.Digest) ([]string, error)

	// Repository is where blobs may be mounted from; empty: nowhere.
	Repository() registry.Reference

	// Explain adds what is needed to fix an error of this source.
	Explain(ctx context.Context, err error) error
}

// cosignSuffixes are those of the tags that cosign derives from a digest.
var cosignSuffixes = []string{".sig", ".att", ".sbom"}

// StoredSource is an artifact in a store.
type StoredSource struct {
	client *Client
	target Target
}

// NewStoredSource returns an artifact that a client has resolved.
func NewStoredSource(client *Client, t Target) StoredSource {
	return StoredSource{client, t}
}

// String implements [Source].
func (s StoredSource) String() string { return s.target.String() }

// Root implements [Source].
func (s StoredSource) Root() ocispec.Descriptor { return s.target.Desc }

// Manifest implements [Source].
func (s StoredSource) Manifest(ctx context.Context, desc ocispec.Descriptor) ([]byte, error) {
	return fetch(ctx, s.target.Store.Manifests(), desc, maxManifestBytes)
}

// Blob implements [Source].
func (s StoredSource) Blob(ctx context.Context, desc ocispec.Descriptor) (io.ReadCloser, error) {
	return s.target.Store.Blobs().Fetch(ctx, desc)
}

// Lacks implements [Source].
func (s StoredSource) Lacks(ocispec.Descriptor) error { return nil }

// Referrers implements [Source].
func (s StoredSource) Referrers(ctx context.Context, of ocispec.Descriptor, use func([]ocispec.Descriptor) error) error {
	return s.target.Store.Referrers(ctx, of, "", use)
}

// CosignTags implements [Source].
func (s StoredSource) CosignTags(ctx context.Context, of digest.Digest) ([]string, error) {
	var found []string
	for _, suffix := range cosignSuffixes {
		tag := ReferrersTag(of) + suffix
		_, err := s.target.Store.Resolve(ctx, tag)
		switch {
		case err == nil:
			found = append(found, tag)
		case !errors.Is(err, errdef.ErrNotFound):
			return found, err
		}
	}
	return found, nil
}

// Repository implements [Source].
func (s StoredSource) Repository() registry.Reference { return s.target.Store.Repository() }

// Explain implements [Source].
func (s StoredSource) Explain(ctx context.Context, err error) error {
	return s.target.Store.Explain(ctx, false, err)
}

// Signatures implements [SignatureSource].
func (s StoredSource) Signatures(ctx context.Context, t Target, max int, also ...digest.Digest) ([]ocispec.Descriptor, error) {
	return s.client.Signatures(ctx, s.here(t), max, also...)
}

// Envelope implements [SignatureSource].
func (s StoredSource) Envelope(ctx context.Context, t Target, manifest ocispec.Descriptor, use func(blob []byte, mediaType string)) error {
	return s.client.Envelope(ctx, s.here(t), manifest, use)
}

// here is an artifact in this store.
func (s StoredSource) here(t Target) Target {
	t.Store = s.target.Store
	return t
}

// LayoutSource is an artifact in a layout.
type LayoutSource struct {
	*Layout
	root ocispec.Descriptor
}

// NewLayoutSource returns an artifact that was found in a layout.
func NewLayoutSource(layout *Layout, root ocispec.Descriptor) LayoutSource {
	return LayoutSource{layout, root}
}

// String implements [Source].
func (s LayoutSource) String() string { return layoutPrefix + s.path + "@" + s.root.Digest.String() }

// Root implements [Source].
func (s LayoutSource) Root() ocispec.Descriptor { return s.root }

// Referrers implements [Source].
func (s LayoutSource) Referrers(_ context.Context, of ocispec.Descriptor, use func([]ocispec.Descriptor) error) error {
	return use(s.referrersOf(of, ""))
}

// CosignTags implements [Source].
func (s LayoutSource) CosignTags(_ context.Context, of digest.Digest) ([]string, error) {
	var found []string
	for _, suffix := range cosignSuffixes {
		tag := ReferrersTag(of) + suffix
		if slices.ContainsFunc(s.entries, func(e layoutEntry) bool { return slices.Contains(e.names, tag) }) {
			found = append(found, tag)
		}
	}
	return found, nil
}

// Repository implements [Source].
func (s LayoutSource) Repository() registry.Reference { return registry.Reference{} }

// Explain implements [Source].
func (s LayoutSource) Explain(_ context.Context, err error) error {
	return fmt.Errorf("layout %s: %w", s.path, err)
}

// Signatures implements [SignatureSource].
func (s LayoutSource) Signatures(_ context.Context, t Target, max int, also ...digest.Digest) ([]ocispec.Descriptor, error) {
	var found []ocispec.Descriptor
	left := false
	for _, referrer := range s.referrersOf(t.Desc, ArtifactTypeSignature) {
		if len(found) >= max && !slices.Contains(also, referrer.Digest) {
			left = true
			continue
		}
		found = append(found, referrer)
	}
	if left {
		return found, &TooManySignaturesError{max}
	}
	return found, nil
}

// Envelope implements [SignatureSource].
func (s LayoutSource) Envelope(ctx context.Context, t Target, manifest ocispec.Descriptor, use func(blob []byte, mediaType string)) error {
	err := useEnvelope(ctx, s.open, s.blobs, s.blobs, manifest, use)
	var oversized *OversizedError
	if errors.As(err, &oversized) {
		return oversized
	}
	if err != nil {
		return fmt.Errorf("read the signature %s of %s in the layout %s: %w", manifest.Digest, t.Desc.Digest, s.path, err)
	}
	return nil
}
