// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry"
)

// Attachment is a file that becomes a referrer of artifacts.
type Attachment struct {
	Path string
	Type string // artifact type, and media type of its layer
	File ocispec.Descriptor
}

// OpenAttachment reads a file that is to be attached, and keeps its digest alone.
func OpenAttachment(path, artifactType string) (_ *Attachment, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() { // a pipe could be waited for without end
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	hash := sha256.New()
	size, err := io.Copy(hash, file)
	if err != nil {
		return nil, err
	}
	return &Attachment{path, artifactType, ocispec.Descriptor{
		MediaType: artifactType,
		Digest:    digest.NewDigest(digest.SHA256, hash),
		Size:      size,
		// As oras attach makes it. Without a time, the same file is the same referrer.
		Annotations: map[string]string{ocispec.AnnotationTitle: filepath.Base(path)},
	}}, nil
}

// To returns the referrer that the file becomes of an artifact.
func (a *Attachment) To(artifact ocispec.Descriptor) (AttachmentSource, error) {
	empty := ocispec.DescriptorEmptyJSON
	empty.Data = nil
	manifest := ocispec.Manifest{
		MediaType:    ocispec.MediaTypeImageManifest,
		ArtifactType: a.Type,
		Config:       empty,
		Layers:       []ocispec.Descriptor{a.File},
		Subject:      &ocispec.Descriptor{MediaType: artifact.MediaType, Digest: artifact.Digest, Size: artifact.Size},
	}
	manifest.SchemaVersion = 2
	content, err := json.Marshal(manifest)
	return AttachmentSource{a, content, DescriptorOf(manifest.MediaType, content)}, err
}

// AttachmentSource is a referrer that is in no repository yet. It implements [Source].
type AttachmentSource struct {
	attachment *Attachment
	manifest   []byte
	root       ocispec.Descriptor
}

// String implements [Source].
func (s AttachmentSource) String() string { return "file " + s.attachment.Path }

// Root implements [Source].
func (s AttachmentSource) Root() ocispec.Descriptor { return s.root }

// Manifest implements [Source].
func (s AttachmentSource) Manifest(_ context.Context, desc ocispec.Descriptor) ([]byte, error) {
	if desc.Digest != s.root.Digest {
		return nil, errdef.ErrNotFound
	}
	return slices.Clone(s.manifest), nil
}

// Blob implements [Source].
func (s AttachmentSource) Blob(_ context.Context, desc ocispec.Descriptor) (io.ReadCloser, error) {
	if desc.Digest == ocispec.DescriptorEmptyJSON.Digest && desc.Digest != s.attachment.File.Digest {
		return io.NopCloser(bytes.NewReader(ocispec.DescriptorEmptyJSON.Data)), nil
	}
	return os.Open(s.attachment.Path)
}

// Lacks implements [Source].
func (s AttachmentSource) Lacks(ocispec.Descriptor) error { return nil }

// Referrers implements [Source]: nothing refers to it yet.
func (s AttachmentSource) Referrers(context.Context, ocispec.Descriptor, func([]ocispec.Descriptor) error) error {
	return nil
}

// CosignTags implements [Source].
func (s AttachmentSource) CosignTags(context.Context, digest.Digest) ([]string, error) {
	return nil, nil
}

// Repository implements [Source].
func (s AttachmentSource) Repository() registry.Reference { return registry.Reference{} }

// Explain implements [Source].
func (s AttachmentSource) Explain(_ context.Context, err error) error { return err }

// Signatures implements [SignatureSource]: there are none yet.
func (s AttachmentSource) Signatures(context.Context, Target, int, ...digest.Digest) ([]ocispec.Descriptor, error) {
	return nil, nil
}

// Envelope implements [SignatureSource].
func (s AttachmentSource) Envelope(context.Context, Target, ocispec.Descriptor, func([]byte, string)) error {
	return errdef.ErrNotFound
}

// Attached returns the referrer of an artifact that is the file already, made here or
// by others: one of the same type with the same content. Without one, it returns nil.
func (a *Attachment) Attached(ctx context.Context, at StoredSource, to ocispec.Descriptor) (*ocispec.Descriptor, error) {
	var found *ocispec.Descriptor
	err := at.target.Store.Referrers(ctx, to, a.Type, func(page []ocispec.Descriptor) error {
		for _, listed := range page {
			if found != nil || listed.Digest.Validate() != nil || !IsManifestType(listed.MediaType) {
				continue
			}
			content, err := at.Manifest(ctx, listed)
			if errors.Is(err, errdef.ErrNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			members, err := ReadMembers(content)
			same := func(blob ocispec.Descriptor) bool { return blob.Digest == a.File.Digest && blob.Size == a.File.Size }
			if err == nil && members.ArtifactType == a.Type && members.Subject != nil && members.Subject.Digest == to.Digest &&
				len(members.Blobs) == 2 && same(members.Blobs[1]) {
				found = &ocispec.Descriptor{MediaType: members.MediaType, Digest: listed.Digest, Size: listed.Size}
			}
		}
		return nil
	})
	return found, err
}
