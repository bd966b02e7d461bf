// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Members are the members of a manifest of any kind that matter to who copies it.
type Members struct {
	MediaType    string // its own word, or what its members make it
	ArtifactType string // of a referrer: its own, else its config's media type
	ConfigType   string // media type of the config; empty: it has none
	Subject      *ocispec.Descriptor
	Manifests    []ocispec.Descriptor // of an index
	Blobs        []ocispec.Descriptor // config and layers
	Annotations  map[string]string
}

// ReadMembers reads a manifest.
func ReadMembers(content []byte) (Members, error) {
	var said struct {
		MediaType    string               `json:"mediaType"`
		ArtifactType string               `json:"artifactType"`
		Subject      *ocispec.Descriptor  `json:"subject"`
		Manifests    []ocispec.Descriptor `json:"manifests"`
		Config       *ocispec.Descriptor  `json:"config"`
		Layers       []ocispec.Descriptor `json:"layers"`
		Blobs        []ocispec.Descriptor `json:"blobs"` // of an artifact manifest
		Annotations  map[string]string    `json:"annotations"`
	}
	if err := checkListing(content); err != nil {
		return Members{}, err
	}
	if err := json.Unmarshal(content, &said); err != nil {
		return Members{}, fmt.Errorf("it is no manifest: %w", err)
	}
	m := Members{MediaType: said.MediaType, ArtifactType: said.ArtifactType, Subject: said.Subject, Manifests: said.Manifests, Annotations: said.Annotations}
	if said.Config != nil {
		m.Blobs = []ocispec.Descriptor{*said.Config}
		m.ConfigType = said.Config.MediaType
		m.ArtifactType = cmp.Or(m.ArtifactType, m.ConfigType)
	}
	m.Blobs = slices.Concat(m.Blobs, said.Layers, said.Blobs)
	switch {
	case m.MediaType != "":
	case said.Manifests != nil:
		m.MediaType = ocispec.MediaTypeImageIndex
	default:
		m.MediaType = ocispec.MediaTypeImageManifest
	}
	if err := checkMembers(m.MediaType, content); err != nil {
		return Members{}, err
	}
	for _, desc := range slices.Concat(m.Manifests, m.Blobs) {
		if err := desc.Digest.Validate(); err != nil {
			return Members{}, fmt.Errorf("it lists the digest %q: %w", desc.Digest, err)
		}
		if desc.Size < 0 {
			return Members{}, errors.New("it lists something of a size below zero")
		}
	}
	return m, nil
}

// Entry is the manifest as a list of referrers has it.
func (m Members) Entry(desc ocispec.Descriptor) ocispec.Descriptor {
	return ocispec.Descriptor{
		MediaType: m.MediaType, Digest: desc.Digest, Size: desc.Size,
		ArtifactType: m.ArtifactType, Annotations: m.Annotations,
	}
}

// IsManifestType reports whether registries keep what has a media type as a manifest,
// and not as a blob.
func IsManifestType(mediaType string) bool {
	switch mediaType {
	case ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageIndex, mediaTypeDockerManifest, mediaTypeDockerList, MediaTypeArtifactManifest:
		return true
	}
	return false
}

// IsForeign reports whether a layer is one that registries need not have: it is
// distributed elsewhere.
func IsForeign(mediaType string) bool {
	switch mediaType {
	case "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "application/vnd.docker.image.rootfs.foreign.diff.tar",
		"application/vnd.oci.image.layer.nondistributable.v1.tar", "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
		"application/vnd.oci.image.layer.nondistributable.v1.tar+zstd":
		return true
	}
	return false
}
