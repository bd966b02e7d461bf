// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"
)

// PushImage pushes a small image of one layer, and tags it. Its digest follows
// from the names of repository and tag.
func (r *Registry) PushImage(ctx context.Context, repository, tag string) (ocispec.Descriptor, error) {
	image, err := r.pushImage(ctx, repository, tag)
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("push image %s/%s:%s: %w", r.Host, repository, tag, err)
	}
	return image, nil
}

func (r *Registry) pushImage(ctx context.Context, repository, tag string) (ocispec.Descriptor, error) {
	target, err := r.Repository(repository)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	return PutImage(ctx, target, "This is "+repository+":"+tag+".\n", tag)
}

// PutImage puts a small image of one layer, which has a text in it, into a registry or a
// layout, and tags it.
func PutImage(ctx context.Context, target oras.Target, text, tag string) (ocispec.Descriptor, error) {
	files, err := layer("etc/motd", text)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	if _, err := z.Write(files); err != nil {
		return ocispec.Descriptor{}, err
	}
	if err := z.Close(); err != nil {
		return ocispec.Descriptor{}, err
	}
	config, err := json.Marshal(ocispec.Image{
		Platform: ocispec.Platform{Architecture: "amd64", OS: "linux"},
		Config:   ocispec.ImageConfig{Cmd: []string{"/bin/true"}},
		RootFS:   ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{digest.FromBytes(files)}},
	})
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	layerBlob, err := oras.PushBytes(ctx, target, ocispec.MediaTypeImageLayerGzip, zipped.Bytes())
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("layer: %w", err)
	}
	configBlob, err := oras.PushBytes(ctx, target, ocispec.MediaTypeImageConfig, config)
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("config: %w", err)
	}
	manifest, err := json.Marshal(ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageManifest,
		Config:    configBlob,
		Layers:    []ocispec.Descriptor{layerBlob},
	})
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	return oras.TagBytes(ctx, target, ocispec.MediaTypeImageManifest, manifest, tag)
}

// PushIndex pushes an image index of manifests, and tags it.
func (r *Registry) PushIndex(ctx context.Context, repository, tag string, manifests ...ocispec.Descriptor) (ocispec.Descriptor, error) {
	target, err := r.Repository(repository)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	return PutIndex(ctx, target, tag, manifests...)
}

// PutIndex puts an image index of manifests into a registry or a layout, and tags it.
func PutIndex(ctx context.Context, target oras.Target, tag string, manifests ...ocispec.Descriptor) (ocispec.Descriptor, error) {
	content, err := json.Marshal(ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageIndex,
		Manifests: manifests,
	})
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	return oras.TagBytes(ctx, target, ocispec.MediaTypeImageIndex, content, tag)
}

// layer returns a tar archive of one file.
func layer(name, content string) ([]byte, error) {
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))}); err != nil {
		return nil, err
	}
	if _, err := w.Write([]byte(content)); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return archive.Bytes(), nil
}
