// SPDX-License-Identifier: Apache-2.0

package layout

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	orasregistry "oras.land/oras-go/v2/registry"

	"github.com/notation-pkcs11/notation-pkcs11/action/registry"
)

// Source is an artifact in a layout.
type Source struct {
	*Layout
	root ocispec.Descriptor
}

// NewSource returns an artifact that was found in a layout.
func NewSource(layout *Layout, root ocispec.Descriptor) Source {
	return Source{layout, root}
}

// String implements [registry.Source].
func (s Source) String() string { return registry.LayoutPrefix + s.path + "@" + s.root.Digest.String() }

// Root implements [registry.Source].
func (s Source) Root() ocispec.Descriptor { return s.root }

// Referrers implements [registry.Source].
func (s Source) Referrers(_ context.Context, of ocispec.Descriptor, use func([]ocispec.Descriptor) error) error {
	return use(s.referrersOf(of, ""))
}

// CosignTags implements [registry.Source].
func (s Source) CosignTags(_ context.Context, of digest.Digest) ([]string, error) {
	var found []string
	for _, tag := range registry.CosignTags(of) {
		if slices.ContainsFunc(s.entries, func(e indexEntry) bool { return slices.Contains(e.names, tag) }) {
			found = append(found, tag)
		}
	}
	return found, nil
}

// Repository implements [registry.Source].
func (s Source) Repository() orasregistry.Reference { return orasregistry.Reference{} }

// Explain implements [registry.Source].
func (s Source) Explain(_ context.Context, err error) error {
	return fmt.Errorf("layout %s: %w", s.path, err)
}

// Signatures implements [registry.SignatureSource].
func (s Source) Signatures(_ context.Context, t registry.Target, max int, also ...digest.Digest) ([]ocispec.Descriptor, error) {
	var found []ocispec.Descriptor
	left := false
	for _, referrer := range s.referrersOf(t.Desc, registry.ArtifactTypeSignature) {
		if len(found) >= max && !slices.Contains(also, referrer.Digest) {
			left = true
			continue
		}
		found = append(found, referrer)
	}
	if left {
		return found, &registry.TooManySignaturesError{Max: max}
	}
	return found, nil
}

// Envelope implements [registry.SignatureSource].
func (s Source) Envelope(ctx context.Context, t registry.Target, manifest ocispec.Descriptor, use func(blob []byte, mediaType string)) error {
	err := s.envelopes.Read(ctx, s.blobs, s.blobs, manifest, use)
	var oversized *registry.OversizedError
	if errors.As(err, &oversized) {
		return oversized
	}
	if err != nil {
		return fmt.Errorf("read the signature %s of %s in the layout %s: %w", manifest.Digest, t.Desc.Digest, s.path, err)
	}
	return nil
}
