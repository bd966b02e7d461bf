// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"encoding/json"
	"errors"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// SignatureConfig is the config of each signature manifest: "{}".
var SignatureConfig = ocispec.Descriptor{
	MediaType: ArtifactTypeSignature,
	Digest:    ocispec.DescriptorEmptyJSON.Digest,
	Size:      ocispec.DescriptorEmptyJSON.Size,
}

// SignatureManifest returns a signature manifest as notation writes it, byte for
// byte.
func SignatureManifest(subject, envelope ocispec.Descriptor, annotations map[string]string) (ocispec.Descriptor, []byte, error) {
	manifest := ocispec.Manifest{
		MediaType:   ocispec.MediaTypeImageManifest,
		Config:      SignatureConfig,
		Layers:      []ocispec.Descriptor{envelope},
		Subject:     &subject,
		Annotations: annotations,
	}
	manifest.SchemaVersion = 2
	content, err := json.Marshal(manifest)
	if err != nil {
		return ocispec.Descriptor{}, nil, err
	}
	desc := DescriptorOf(ocispec.MediaTypeImageManifest, content)
	if desc.Size > maxManifestBytes {
		return ocispec.Descriptor{}, nil, errors.New("its annotations are too large for a manifest")
	}
	return desc, content, nil
}

// ArtifactTypeSignature is what signature manifests are found by among an
// artifact's referrers, and the media type of their config.
const ArtifactTypeSignature = "application/vnd.cncf.notary.signature"

// MediaTypeArtifactManifest was in a release candidate of the OCI image spec, and
// early versions of notation signed with it.
const MediaTypeArtifactManifest = "application/vnd.oci.artifact.manifest.v1+json"

// firstTwo are the first elements of a JSON array. Others are not decoded: a
// megabyte of them would be a hundred as descriptors.
type firstTwo [2]json.RawMessage

// envelopeOf returns the one layer of a signature manifest.
func envelopeOf(mediaType string, body []byte) (ocispec.Descriptor, error) {
	var manifest struct {
		ocispec.Manifest           // whose other members must be of their types, as notation wants them
		Layers           *firstTwo `json:"layers"`
		Blobs            *firstTwo `json:"blobs"` // of an artifact manifest
	}
	var envelope ocispec.Descriptor
	if err := json.Unmarshal(body, &manifest); err != nil {
		return envelope, err
	}
	envelopes := manifest.Layers
	if mediaType == MediaTypeArtifactManifest {
		envelopes = manifest.Blobs
	}
	switch {
	case envelopes == nil || envelopes[0] == nil:
		return envelope, errors.New("it has no layer, where one is the envelope")
	case envelopes[1] != nil:
		return envelope, errors.New("it has several layers, where the one is the envelope")
	}
	err := json.Unmarshal(envelopes[0], &envelope)
	return envelope, err
}
