// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"io"

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

// CosignTags are the tags that cosign derives from a digest.
func CosignTags(of digest.Digest) []string {
	tag := ReferrersTag(of)
	return []string{tag + ".sig", tag + ".att", tag + ".sbom"}
}

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
	return FetchManifest(ctx, s.target.Store.Manifests(), desc)
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
	for _, tag := range CosignTags(of) {
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
