// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"fmt"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"
)

// TooManySignaturesError says that an artifact has more signatures than are
// looked at.
type TooManySignaturesError struct{ max int }

// Error implements error.
func (e *TooManySignaturesError) Error() string {
	return fmt.Sprintf("there are more than %d signatures", e.max)
}

// SignatureSource is where signatures come from.
type SignatureSource interface {
	// Signatures returns a *TooManySignaturesError with the first max of them.
	Signatures(ctx context.Context, t Target, max int) ([]ocispec.Descriptor, error)
	// Envelope calls use once, or returns an error.
	Envelope(ctx context.Context, t Target, manifest ocispec.Descriptor, use func(blob []byte, mediaType string)) error
}

// Signatures lists the signature manifests of an artifact, in the registry's
// order: by the Referrers API, or by the referrers tag schema where the registry
// has none. Where there are more than max, it returns the first max of them and a
// *TooManySignaturesError; after another error, those that were listed before.
func (r *Client) Signatures(ctx context.Context, t Target, max int) ([]ocispec.Descriptor, error) {
	var found []ocispec.Descriptor
	err := t.Repo.Referrers(ctx, t.Desc, ArtifactTypeSignature, func(page []ocispec.Descriptor) error {
		if found = append(found, page...); len(found) > max {
			found = found[:max]
			return &TooManySignaturesError{max}
		}
		return nil
	})
	var tooMany *TooManySignaturesError
	if err != nil && !errors.As(err, &tooMany) {
		return found, fmt.Errorf("list the signatures of %s: %w", t, r.Explain(ctx, t.Ref, false, err))
	}
	return found, err
}

// Envelope fetches the signature of a signature manifest and hands it to use.
// Sizes are bounded and digests are checked; what is in the envelope is not looked
// at. An envelope that was made to be large in memory must not take it all, so a
// run's uses share a budget. After an error, use was not called.
func (r *Client) Envelope(ctx context.Context, t Target, manifest ocispec.Descriptor, use func(blob []byte, mediaType string)) error {
	blob, mediaType, err := fetchEnvelope(ctx, t.Repo.Manifests(), t.Repo.Blobs(), manifest)
	size := int64(len(blob))
	if err == nil {
		err = r.open.Acquire(ctx, size)
	}
	if err != nil {
		return fmt.Errorf("fetch the signature %s of %s: %w", manifest.Digest, t, r.Explain(ctx, t.Ref, false, err))
	}
	defer r.open.Release(size)
	use(blob, mediaType)
	return nil
}

func fetchEnvelope(ctx context.Context, manifests, blobs content.Fetcher, desc ocispec.Descriptor) ([]byte, string, error) {
	if desc.MediaType != ocispec.MediaTypeImageManifest && desc.MediaType != mediaTypeArtifactManifest {
		return nil, "", fmt.Errorf("it is a %q, and a signature manifest is a %q", desc.MediaType, ocispec.MediaTypeImageManifest)
	}
	body, err := fetch(ctx, manifests, desc, maxSignatureManifestBytes)
	if err != nil {
		return nil, "", err
	}
	envelope, err := envelopeOf(desc.MediaType, body)
	if err != nil {
		return nil, "", fmt.Errorf("its manifest: %w", err)
	}
	blob, err := fetch(ctx, blobs, envelope, maxEnvelopeBytes)
	return blob, envelope.MediaType, err
}
