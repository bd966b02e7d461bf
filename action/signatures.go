// SPDX-License-Identifier: Apache-2.0

package action

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// artifactTypeNotation is what signature manifests are found by among an
// artifact's referrers, and the media type of their config.
const artifactTypeNotation = "application/vnd.cncf.notary.signature"

// mediaTypeArtifactManifest was in a release candidate of the OCI image spec, and
// early versions of notation signed with it.
const mediaTypeArtifactManifest = "application/vnd.oci.artifact.manifest.v1+json"

// tooManySignaturesError says that an artifact has more signatures than are
// looked at.
type tooManySignaturesError struct{ max int }

func (e *tooManySignaturesError) Error() string {
	return fmt.Sprintf("there are more than %d signatures", e.max)
}

// signatures lists the signature manifests of an artifact, in the registry's
// order: by the Referrers API, or by the referrers tag schema where the registry
// has none. Where there are more than max, it returns the first max of them and a
// *tooManySignaturesError; after another error, those that were listed before.
func (r *registries) signatures(ctx context.Context, t target, max int) ([]ocispec.Descriptor, error) {
	var found []ocispec.Descriptor
	err := t.repo.Referrers(ctx, t.desc, artifactTypeNotation, func(page []ocispec.Descriptor) error {
		if found = append(found, page...); len(found) > max {
			found = found[:max]
			return &tooManySignaturesError{max}
		}
		return nil
	})
	var tooMany *tooManySignaturesError
	if err != nil && !errors.As(err, &tooMany) {
		return found, fmt.Errorf("list the signatures of %s: %w", t, r.explain(t.ref, false, err))
	}
	return found, err
}

// envelope fetches the signature of a signature manifest. Sizes are bounded and
// digests are checked; what is in the envelope is not looked at.
func (r *registries) envelope(ctx context.Context, t target, manifest ocispec.Descriptor) (blob []byte, mediaType string, manifestAnnotations map[string]string, err error) {
	blob, mediaType, manifestAnnotations, err = r.fetchEnvelope(ctx, t, manifest)
	if err != nil {
		return nil, "", nil, fmt.Errorf("fetch the signature %s of %s: %w", manifest.Digest, t, r.explain(t.ref, false, err))
	}
	return blob, mediaType, manifestAnnotations, nil
}

func (r *registries) fetchEnvelope(ctx context.Context, t target, desc ocispec.Descriptor) ([]byte, string, map[string]string, error) {
	if desc.MediaType != ocispec.MediaTypeImageManifest && desc.MediaType != mediaTypeArtifactManifest {
		return nil, "", nil, fmt.Errorf("it is a %q, and a signature manifest is a %q", desc.MediaType, ocispec.MediaTypeImageManifest)
	}
	body, err := fetch(ctx, t.repo.Manifests(), desc, maxManifestBytes)
	if err != nil {
		return nil, "", nil, err
	}
	var manifest struct {
		Layers      []ocispec.Descriptor `json:"layers"`
		Blobs       []ocispec.Descriptor `json:"blobs"` // of an artifact manifest
		Annotations map[string]string    `json:"annotations"`
	}
	if err := json.Unmarshal(body, &manifest); err != nil {
		return nil, "", nil, fmt.Errorf("its manifest: %w", err)
	}
	envelopes := manifest.Layers
	if desc.MediaType == mediaTypeArtifactManifest {
		envelopes = manifest.Blobs
	}
	if len(envelopes) != 1 {
		return nil, "", nil, fmt.Errorf("its manifest has %d layers instead of the one that is the envelope", len(envelopes))
	}
	blob, err := fetch(ctx, t.repo.Blobs(), envelopes[0], maxEnvelopeBytes)
	if err != nil {
		return nil, "", nil, err
	}
	return blob, envelopes[0].MediaType, manifest.Annotations, nil
}
