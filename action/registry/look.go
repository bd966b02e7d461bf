// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/errdef"
)

// Listing is what the list of an artifact's referrers says of a signature.
type Listing int

// Listings.
const (
	NoAPI    Listing = iota + 1 // there is no such API, so verifiers look under the referrers tag
	Unlisted                    // the API lacks the signature, and verifiers look nowhere else
	Listed
)

// Look implements [Store]: it asks the Referrers API. Nothing that the run learned
// before counts: the answer is that which a verifier gets who takes media types
// literally too.
func (r *repository) Look(ctx context.Context, of ocispec.Descriptor, manifest digest.Digest) (Listing, error) {
	stranger := r.client.newRemote(r.remote.Reference, r.remote.PlainHTTP)
	stranger.SetReferrersCapability(true) // so that the API alone is asked; it can't fail on a new one
	ctx = context.WithValue(ctx, literalTypesKey, true)
	errSeen := errors.New("seen")
	err := stranger.Referrers(ctx, of, ArtifactTypeSignature, func(page []ocispec.Descriptor) error {
		for _, desc := range page {
			if desc.Digest == manifest {
				return errSeen
			}
		}
		return nil
	})
	switch {
	case errors.Is(err, errSeen):
		return Listed, nil
	case errors.Is(err, errdef.ErrUnsupported):
		return NoAPI, nil
	case err != nil:
		return 0, err
	}
	return Unlisted, nil
}
