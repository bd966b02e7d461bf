// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"io"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote"
)

// Store is where artifacts are read from and written to: a repository of a registry, or
// a layout in a directory. Its methods may be called concurrently. Of one place there is
// one store in a run, so stores can be compared.
type Store interface {
	// String names the store in errors and reports: "registry.example/app".
	String() string

	// Repository is the repository, without tag and digest; the zero value: the store
	// is none.
	Repository() registry.Reference

	// Scope is what the trust policy statement for what is in the store is chosen by;
	// the zero value: only a statement for all scopes applies.
	Scope() registry.Reference

	// Resolve returns what a tag or a digest names: media type, digest and size. What
	// is not there is an [errdef.ErrNotFound].
	Resolve(ctx context.Context, reference string) (ocispec.Descriptor, error)

	// Describe is Resolve for what is going to be signed or verified. What is signed
	// is read, and does not depend on anybody's word.
	Describe(ctx context.Context, reference string) (ocispec.Descriptor, error)

	// Manifests reads manifests, by digest.
	Manifests() content.ReadOnlyStorage

	// Blobs reads blobs.
	Blobs() content.ReadOnlyStorage

	// Referrers calls use with pages of what is listed as referrers of a manifest, of
	// one artifact type, or of all if that is empty.
	Referrers(ctx context.Context, of ocispec.Descriptor, artifactType string, use func([]ocispec.Descriptor) error) error

	// Look tells whether a verifier who comes along next finds a signature manifest
	// in the list of an artifact's referrers.
	Look(ctx context.Context, of ocispec.Descriptor, manifest digest.Digest) (Listing, error)

	// Afresh is the same store, of which nothing has been learned yet.
	Afresh() Store

	// Send stores a blob of any size, and closes it; from is where it may be mounted
	// from. Whether it was, shows in that nothing was read.
	Send(ctx context.Context, desc ocispec.Descriptor, from registry.Reference, blob io.ReadCloser) error

	// Put stores a small blob.
	Put(ctx context.Context, desc ocispec.Descriptor, blob []byte) error

	// PutManifest stores a manifest. One that has a subject refers to that, and lists
	// says whether the store claims to list it there.
	PutManifest(ctx context.Context, desc ocispec.Descriptor, content []byte, subject digest.Digest) (lists bool, err error)

	// Tag has a tag name a manifest that is stored.
	Tag(ctx context.Context, tag string, desc ocispec.Descriptor, content []byte) error

	// Keep has a manifest that is stored, and gets no tag, stay.
	Keep(ctx context.Context, desc ocispec.Descriptor) error

	// TagSchema is the repository in which referrers are listed by the referrers tag
	// schema where PutManifest does not list them; nil: it always does.
	TagSchema() *remote.Repository

	// Explain adds what is needed to fix an error of this store.
	Explain(ctx context.Context, pushing bool, err error) error
}

// Layout is a [Store] that is a layout in a directory.
type Layout interface {
	Store

	// Find returns the artifact that a reference means. Its path is that of the layout.
	Find(ctx context.Context, ref LayoutReference) (ocispec.Descriptor, error)
}
