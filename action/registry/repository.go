// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"
)

// repository is a repository of a registry. It implements [Store].
type repository struct {
	client    *Client
	remote    *remote.Repository // remembers whether the registry has the Referrers API
	uploads   Uploader
	unlearned func() *repository
}

func (r *Client) newRepository(ref registry.Reference, plain bool) *repository {
	made := &repository{client: r, remote: r.newRemote(ref, plain)}
	made.unlearned = sync.OnceValue(func() *repository { return r.newRepository(ref, plain) })
	return made
}

// String implements [Store].
func (r *repository) String() string { return r.remote.Reference.String() }

// Repository implements [Store].
func (r *repository) Repository() registry.Reference { return r.remote.Reference }

// Scope implements [Store].
func (r *repository) Scope() registry.Reference { return r.remote.Reference }

// Resolve implements [Store].
func (r *repository) Resolve(ctx context.Context, reference string) (ocispec.Descriptor, error) {
	return r.remote.Resolve(ctx, reference)
}

// Describe implements [Store]. To verify, the registry's word is enough, as it is for
// notation: where it is wrong, verifying fails.
func (r *repository) Describe(ctx context.Context, reference string) (ocispec.Descriptor, error) {
	if r.client.options.Signing {
		return readDescriptor(ctx, r.remote, reference)
	}
	return r.remote.Resolve(ctx, reference)
}

// Manifests implements [Store].
func (r *repository) Manifests() content.ReadOnlyStorage { return r.remote.Manifests() }

// Blobs implements [Store].
func (r *repository) Blobs() content.ReadOnlyStorage { return r.remote.Blobs() }

// Referrers implements [Store].
func (r *repository) Referrers(ctx context.Context, of ocispec.Descriptor, artifactType string, use func([]ocispec.Descriptor) error) error {
	return r.remote.Referrers(ctx, of, artifactType, use)
}

// Afresh implements [Store]: whether the registry has the Referrers API is found out
// anew, once. What a run verifies after signing it must find as a verifier does that
// comes along next.
func (r *repository) Afresh() Store { return r.unlearned() }

// Send implements [Store]. A refusal to mount says nothing of whether the registry takes
// the blob: the credentials may not be good for where it is.
func (r *repository) Send(ctx context.Context, desc ocispec.Descriptor, from registry.Reference, blob io.ReadCloser) error {
	if from.Registry != r.remote.Reference.Registry {
		return r.remote.Blobs().Push(ctx, desc, blob)
	}
	body := &startedReader{ReadCloser: blob}
	err := r.remote.Mount(ctx, desc, from.Repository, func() (io.ReadCloser, error) { return body, nil })
	if refusesMount(err) && !body.started.Load() {
		return r.remote.Blobs().Push(ctx, desc, blob)
	}
	return err
}

// startedReader notes whether anything was read.
type startedReader struct {
	io.ReadCloser
	started atomic.Bool
}

// Read implements [io.Reader].
func (r *startedReader) Read(p []byte) (int, error) {
	r.started.Store(true)
	return r.ReadCloser.Read(p)
}

func refusesMount(err error) bool {
	var response *errcode.ErrorResponse
	return errors.As(err, &response) || errors.Is(err, auth.ErrBasicCredentialNotFound)
}

// Put implements [Store].
func (r *repository) Put(ctx context.Context, desc ocispec.Descriptor, blob []byte) error {
	return r.uploads.Push(ctx, r.remote, desc, blob)
}

// PutManifest implements [Store]. What the registry says of the list is its word; Look
// shows whether it is true.
func (r *repository) PutManifest(ctx context.Context, desc ocispec.Descriptor, content []byte, subject digest.Digest) (lists bool, err error) {
	answer, err := PutManifest(ctx, r.remote, desc.Digest.String(), desc.MediaType, content, nil)
	return err == nil && subject != "" && answer.Subject == subject.String(), err
}

// Tag implements [Store].
func (r *repository) Tag(ctx context.Context, tag string, desc ocispec.Descriptor, content []byte) error {
	_, err := PutManifest(ctx, r.remote, tag, desc.MediaType, content, nil)
	return err
}

// Keep implements [Store]: how long an untagged manifest stays is the registry's rule.
func (r *repository) Keep(context.Context, ocispec.Descriptor) error { return nil }

// TagSchema implements [Store].
func (r *repository) TagSchema() *remote.Repository { return r.remote }

// Explain implements [Store].
func (r *repository) Explain(ctx context.Context, pushing bool, err error) error {
	return r.client.Explain(ctx, r.remote.Reference, pushing, err)
}
