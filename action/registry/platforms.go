// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"fmt"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Platforms are what an index has in it.
type Platforms struct {
	Images []ocispec.Descriptor
	// Attestations are those of buildx, which keeps them in the index of the images.
	// They are no referrers.
	Attestations []ocispec.Descriptor
}

// annotationBuildxReference is what buildx calls its attestations by in an index.
const annotationBuildxReference = "vnd.docker.reference.type"

// Platforms returns what an index has in it; of anything else, nothing.
func (t Target) Platforms(ctx context.Context) (Platforms, error) {
	var found Platforms
	if !isIndexType(t.Desc.MediaType) {
		return found, nil
	}
	content, err := FetchManifest(ctx, t.Store.Manifests(), t.Desc)
	if err != nil {
		return found, fmt.Errorf("read the index %s: %w", t, t.Store.Explain(ctx, false, err))
	}
	members, err := ReadMembers(content)
	if err != nil {
		return found, fmt.Errorf("read the index %s: %w", t, err)
	}
	for _, listed := range members.Manifests {
		switch {
		case listed.Annotations[annotationBuildxReference] != "":
			found.Attestations = append(found.Attestations, listed)
		case IsManifestType(listed.MediaType):
			found.Images = append(found.Images, listed)
		}
	}
	return found, nil
}

// ReferrersOf lists what refers to a manifest in the store of a target, of one
// artifact type: those alone whose own manifest says so. Of more than max it returns
// the first.
func (t Target) ReferrersOf(ctx context.Context, of ocispec.Descriptor, artifactType string, max int) ([]ocispec.Descriptor, error) {
	var found []ocispec.Descriptor
	err := t.Store.Referrers(ctx, of, artifactType, func(page []ocispec.Descriptor) error {
		for _, listed := range page {
			if len(found) == max {
				return nil
			}
			content, err := FetchManifest(ctx, t.Store.Manifests(), listed)
			if err != nil {
				return err
			}
			members, err := ReadMembers(content)
			if err != nil {
				return fmt.Errorf("manifest %s: %w", listed.Digest, err)
			}
			if members.ArtifactType == artifactType && members.Subject != nil && members.Subject.Digest == of.Digest {
				found = append(found, ocispec.Descriptor{MediaType: members.MediaType, Digest: listed.Digest, Size: listed.Size})
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list what refers to %s in %s: %w", of.Digest, t.Store, t.Store.Explain(ctx, false, err))
	}
	return found, nil
}

// PlatformOf is a platform as docker names it, such as linux/arm64/v8; empty if there is
// none.
func PlatformOf(p *ocispec.Platform) string {
	if p == nil {
		return ""
	}
	parts := []string{p.OS, p.Architecture}
	if p.Variant != "" {
		parts = append(parts, p.Variant)
	}
	return strings.Join(parts, "/")
}
