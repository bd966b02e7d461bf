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
	Store  Store              // where it is
	Tag    string             // that it was named by; empty: by its digest
	Desc   ocispec.Descriptor // media type, digest and size: what is signed
	Parent *Target            // the index that it was found in; nil: the user named it
}

// String returns registry/repository@digest.
func (t Target) String() string { return t.Store.String() + "@" + t.Desc.Digest.String() }

// Beside is another artifact in the same store. Its text is its reference.
func (t Target) Beside(desc ocispec.Descriptor) Target {
	other := Target{Store: t.Store, Desc: desc}
	other.Text = other.String()
	return other
}

// Resolve finds out, with one request at most, which manifest a reference means.
func (r *Client) Resolve(ctx context.Context, text string) (Target, error) {
	if rest, isLayout := LayoutPath(text); isLayout {
		return r.resolveInLayout(ctx, text, rest)
	}
	ref, err := registry.ParseReference(text)
	if err != nil {
		return Target{}, fmt.Errorf("artifact %q: %w", text, err)
	}
	if ref.Reference == "" {
		return Target{}, fmt.Errorf("artifact %q has neither a tag nor a digest", text)
	}
	t := Target{Text: text}
	if ref.ValidateReferenceAsDigest() != nil {
		t.Tag = ref.Reference
	}
	repo, err := r.repository(ref)
	if err != nil {
		return Target{}, fmt.Errorf("artifact %q: %w", text, err)
	}
	t.Store = repo
	err = t.pin(ctx, ref.Reference)
	if err != nil && r.turnsOutSecure(ctx, repo.remote, err) {
		if t.Store, err = r.repository(ref); err == nil {
			err = t.pin(ctx, ref.Reference)
		}
	}
	if err != nil {
		return Target{}, fmt.Errorf("resolve %s: %w", text, r.Explain(ctx, ref, false, err))
	}
	return t, nil
}

func (r *Client) resolveInLayout(ctx context.Context, text, rest string) (Target, error) {
	ref, err := ParseLayoutReference(rest)
	if err != nil {
		return Target{}, fmt.Errorf("artifact %q: %w", text, err)
	}
	at := LayoutLocation(ref.Path)
	layout, known := r.options.Layouts[at.Layout]
	if !known {
		return Target{}, fmt.Errorf("artifact %q: the layout is not open", text)
	}
	t := Target{Text: text, Store: layout}
	if ref.Digest == "" {
		t.Tag = ref.Name
	}
	t.Desc, err = layout.Find(ctx, ref)
	return t, err
}

// At is an artifact at a location that is known without a request: one that is going to
// be there. Its tag is for the caller to add.
func (r *Client) At(location Location, desc ocispec.Descriptor) (Target, error) {
	store, err := r.storeAt(location)
	if err != nil {
		return Target{}, err
	}
	return Target{Store: store}.Beside(desc), nil
}

// Afresh is the same artifact in a store of which nothing has been learned yet.
func (t Target) Afresh() Target {
	t.Store = t.Store.Afresh()
	return t
}

// pin puts what the store says of a tag or a digest into the target's descriptor.
func (t *Target) pin(ctx context.Context, reference string) error {
	found, err := t.Store.Describe(ctx, reference)
	if err != nil {
		return err
	}
	if err := found.Digest.Validate(); err != nil {
		return fmt.Errorf("the registry's digest %q: %w", found.Digest, err)
	}
	t.Desc = ocispec.Descriptor{MediaType: found.MediaType, Digest: found.Digest, Size: found.Size}
	return nil
}

// readDescriptor returns the descriptor of a manifest that was read.
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
