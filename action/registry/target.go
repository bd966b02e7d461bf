// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote"
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
	err = r.pin(ctx, &t)
	if err != nil && r.turnsOutSecure(ctx, t.Repo, err) {
		if t.Repo, err = r.repository(ref); err == nil {
			err = r.pin(ctx, &t)
		}
	}
	if err != nil {
		return Target{}, fmt.Errorf("resolve %s: %w", text, r.Explain(ctx, ref, false, err))
	}
	return t, nil
}

// At is an artifact in a repository that is known without a request: one that is
// going to be there. Its text and its tag are for the caller to add.
func (r *Client) At(repository registry.Reference, desc ocispec.Descriptor) (Target, error) {
	repository.Reference = desc.Digest.String()
	repo, err := r.repository(repository)
	return Target{Ref: repository, Desc: desc, Repo: repo}, err
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

// readDescriptor returns the descriptor of a manifest that was read. To verify, the
// registry's word is enough, as it is for notation: where it is wrong, verifying
// fails. What is signed must not depend on it.
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
		return fmt.Errorf("it is called a %q, but it is a %q", called, said.MediaType)
	case said.MediaType != "":
		return nil
	case said.SchemaVersion != 2:
		return errors.New("it is no manifest: it has neither a mediaType nor the schemaVersion 2")
	case isIndex == isImage || isIndex != isIndexType(called):
		return fmt.Errorf("it is called a %q, but its members are those of something else", called)
	}
	return nil
}
