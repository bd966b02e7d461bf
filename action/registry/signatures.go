// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/semaphore"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/errdef"
)

// TooManySignaturesError says that an artifact has more signatures than are
// looked at.
type TooManySignaturesError struct{ Max int }

// Error implements error.
func (e *TooManySignaturesError) Error() string {
	return fmt.Sprintf("there are more than %d signatures", e.Max)
}

// SignatureSource is where signatures come from.
type SignatureSource interface {
	// Signatures returns a *TooManySignaturesError with the first max of them. Those
	// of also are there, wherever they are listed.
	Signatures(ctx context.Context, t Target, max int, also ...digest.Digest) ([]ocispec.Descriptor, error)
	// Envelope calls use once, or returns an error.
	Envelope(ctx context.Context, t Target, manifest ocispec.Descriptor, use func(blob []byte, mediaType string)) error
}

// Signatures lists the signature manifests of an artifact, in the registry's
// order: by the Referrers API, or by the referrers tag schema where the registry
// has none. Where there are more than max, it returns the first max of them and a
// *TooManySignaturesError; after another error, those that were listed before. What
// also names comes last where it is listed beyond the first max.
func (r *Client) Signatures(ctx context.Context, t Target, max int, also ...digest.Digest) ([]ocispec.Descriptor, error) {
	var found []ocispec.Descriptor
	left := false
	also = slices.Clone(also)
	err := t.Store.Referrers(ctx, t.Desc, ArtifactTypeSignature, func(page []ocispec.Descriptor) error {
		for _, desc := range page {
			named := slices.Index(also, desc.Digest)
			if named >= 0 {
				also = slices.Delete(also, named, named+1)
			}
			if len(found) < max || named >= 0 {
				found = append(found, desc)
			} else {
				left = true
			}
		}
		if left && len(also) == 0 {
			return &TooManySignaturesError{max}
		}
		return nil
	})
	var tooMany *TooManySignaturesError
	switch {
	case errors.Is(err, errdef.ErrInvalidReference) && t.Desc.Digest.Algorithm() == digest.SHA512:
		err = ErrUnlistable
	case err == nil && left:
		err = &TooManySignaturesError{max}
	}
	if err != nil && !errors.As(err, &tooMany) {
		return found, fmt.Errorf("list the signatures of %s: %w", t, t.Store.Explain(ctx, false, err))
	}
	return found, err
}

// OversizedError says that an envelope is there, and is so large that it is not
// opened. That is the one difference to notation, by which a verdict can differ: a
// signature that is valid but for its size is not valid.
type OversizedError struct{ Size int64 }

// Error implements error.
func (e *OversizedError) Error() string {
	return fmt.Sprintf("its envelope has %d bytes, and of more than %d none is opened, so the signature counts as not valid; "+
		"this is an exception to notation's rules, by which an envelope may have %d bytes", e.Size, maxOpenEnvelope, maxEnvelopeBytes)
}

// Envelope fetches the signature of a signature manifest and hands it to use.
// Sizes are bounded and digests are checked; what is in the envelope is not looked
// at. An envelope that was made to be large in memory must not take it all, so a
// run's uses share a budget, and one that is too large for it is an *OversizedError.
// After an error, use was not called.
func (r *Client) Envelope(ctx context.Context, t Target, manifest ocispec.Descriptor, use func(blob []byte, mediaType string)) error {
	err := r.envelopes.Read(ctx, t.Store.Manifests(), t.Store.Blobs(), manifest, use)
	var oversized *OversizedError
	if errors.As(err, &oversized) {
		return oversized
	}
	if err != nil {
		return fmt.Errorf("fetch the signature %s of %s: %w", manifest.Digest, t, t.Store.Explain(ctx, false, err))
	}
	return nil
}

// EnvelopeReader reads envelopes of signatures. All that are parsed at one time share
// a budget in bytes. Its methods may be called concurrently.
type EnvelopeReader struct{ open *semaphore.Weighted }

// NewEnvelopeReader returns one whose budget is all there.
func NewEnvelopeReader() *EnvelopeReader {
	return &EnvelopeReader{semaphore.NewWeighted(maxOpenEnvelopeBytes)}
}

// Read does what [Client.Envelope] says.
func (r *EnvelopeReader) Read(ctx context.Context, manifests, blobs content.Fetcher, manifest ocispec.Descriptor, use func(blob []byte, mediaType string)) error {
	blob, mediaType, err := r.fetch(ctx, manifests, blobs, manifest)
	if err != nil {
		return err
	}
	size := int64(len(blob))
	if err := r.open.Acquire(ctx, size); err != nil {
		return err
	}
	defer r.open.Release(size)
	use(blob, mediaType)
	return nil
}

func (r *EnvelopeReader) fetch(ctx context.Context, manifests, blobs content.Fetcher, desc ocispec.Descriptor) ([]byte, string, error) {
	if desc.MediaType != ocispec.MediaTypeImageManifest && desc.MediaType != MediaTypeArtifactManifest {
		return nil, "", fmt.Errorf("it is a %q, and a signature manifest is a %q", desc.MediaType, ocispec.MediaTypeImageManifest)
	}
	body, err := FetchManifest(ctx, manifests, desc)
	if err != nil {
		return nil, "", err
	}
	size := min(int64(len(body)), maxOpenEnvelopeBytes)
	if err := r.open.Acquire(ctx, size); err != nil {
		return nil, "", err
	}
	envelope, err := envelopeOf(desc.MediaType, body)
	r.open.Release(size)
	if err != nil {
		return nil, "", fmt.Errorf("its manifest: %w", err)
	}
	if envelope.Size > maxOpenEnvelope && envelope.Size <= maxEnvelopeBytes {
		if err := check(ctx, blobs, envelope); err != nil {
			return nil, "", err
		}
		return nil, "", &OversizedError{envelope.Size}
	}
	blob, err := fetch(ctx, blobs, envelope, maxEnvelopeBytes)
	return blob, envelope.MediaType, err
}
