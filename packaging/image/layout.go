// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	_ "crypto/sha256" // of go-digest
	"encoding/json"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// layout is an OCI image layout in memory.
type layout struct {
	created   time.Time
	blobs     map[digest.Digest][]byte
	referrers []ocispec.Descriptor // manifests that no index lists
}

func newLayout(created time.Time) *layout {
	return &layout{created: created, blobs: map[digest.Digest][]byte{}}
}

func (l *layout) add(mediaType string, content []byte) ocispec.Descriptor {
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(content), Size: int64(len(content))}
	l.blobs[d.Digest] = content
	return d
}

func (l *layout) addJSON(mediaType string, value any) (ocispec.Descriptor, error) {
	content, err := json.Marshal(value)
	return l.add(mediaType, content), err
}

// addEmpty adds the configuration of artifacts that have none.
func (l *layout) addEmpty() ocispec.Descriptor {
	return l.add(ocispec.MediaTypeEmptyJSON, []byte("{}"))
}

// addLayer returns the layer, and the digest of its tar.
func (l *layout) addLayer(files *rootfs) (layer ocispec.Descriptor, unpacked digest.Digest, err error) {
	content, err := files.tar()
	if err != nil {
		return ocispec.Descriptor{}, "", err
	}
	var zipped bytes.Buffer
	z, err := gzip.NewWriterLevel(&zipped, gzip.BestCompression)
	if err != nil {
		return ocispec.Descriptor{}, "", err
	}
	if _, err := z.Write(content); err != nil {
		return ocispec.Descriptor{}, "", err
	}
	if err := z.Close(); err != nil {
		return ocispec.Descriptor{}, "", err
	}
	return l.add(ocispec.MediaTypeImageLayerGzip, zipped.Bytes()), digest.FromBytes(content), nil
}

// write writes the layout as a tar, in which the image has a name.
func (l *layout) write(path string, image ocispec.Descriptor, name string) error {
	image.Annotations = map[string]string{ocispec.AnnotationRefName: name}
	index, err := json.Marshal(ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageIndex,
		Manifests: append([]ocispec.Descriptor{image}, l.referrers...),
	})
	if err != nil {
		return err
	}
	version, err := json.Marshal(ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion})
	if err != nil {
		return err
	}
	files := newRootfs(l.created)
	files.addFile(ocispec.ImageLayoutFile, 0o644, version)
	files.addFile(ocispec.ImageIndexFile, 0o644, index)
	for _, d := range slices.Sorted(maps.Keys(l.blobs)) {
		files.addFile(ocispec.ImageBlobsDir+"/"+d.Algorithm().String()+"/"+d.Encoded(), 0o644, l.blobs[d])
	}
	content, err := files.tar()
	if err != nil {
		return err
	}
	return os.WriteFile(path, content, 0o644)
}

// rootfs is a tree of files, all owned by root and of one time.
type rootfs struct {
	modified time.Time
	headers  map[string]*tar.Header
	contents map[string][]byte
}

func newRootfs(modified time.Time) *rootfs {
	return &rootfs{modified: modified, headers: map[string]*tar.Header{}, contents: map[string][]byte{}}
}

func (r *rootfs) addFile(name string, mode int64, content []byte) {
	r.put(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(content))}, content)
}

func (r *rootfs) addDirectory(name string, mode int64, owner int) {
	r.put(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: mode, Uid: owner, Gid: owner}, nil)
}

func (r *rootfs) put(header *tar.Header, content []byte) {
	header.ModTime, header.Format = r.modified, tar.FormatPAX
	r.headers[header.Name], r.contents[header.Name] = header, content
}

// tar returns the files in the order of their names, in which a directory comes
// before what is in it.
func (r *rootfs) tar() ([]byte, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, name := range slices.Sorted(maps.Keys(r.headers)) {
		if err := w.WriteHeader(r.headers[name]); err != nil {
			return nil, err
		}
		if _, err := w.Write(r.contents[name]); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
