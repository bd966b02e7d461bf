// SPDX-License-Identifier: Apache-2.0

// Command image writes the container image of the action's executable as an OCI
// layout in a tar, for amd64 and arm64, without a daemon:
//
//	go run ./packaging/image RELEASE PACKAGES VERSION TIME OUTPUT
//
// RELEASE is a directory with the executables and their bills of materials,
// PACKAGES one with a directory of Debian packages for each architecture, TIME
// the commit's (RFC 3339). The same files make the same image.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	program = "notation-pkcs11-action"
	// user is that of distroless' nonroot, whom cluster policies know.
	user = 65532

	mediaTypeBill = "application/vnd.cyclonedx+json"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 5 {
		return errors.New("RELEASE, PACKAGES, VERSION, TIME and OUTPUT are needed")
	}
	created, err := time.Parse(time.RFC3339, args[3])
	if err != nil {
		return err
	}
	b := builder{release: args[0], packages: args[1], version: args[2], created: created.UTC(), layout: newLayout(created)}
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Annotations: b.annotations()}
	for _, architecture := range []string{"amd64", "arm64"} {
		image, err := b.image(architecture)
		if err != nil {
			return fmt.Errorf("%s: %w", architecture, err)
		}
		index.Manifests = append(index.Manifests, image)
	}
	descriptor, err := b.layout.addJSON(ocispec.MediaTypeImageIndex, index)
	if err != nil {
		return err
	}
	return b.layout.write(args[4], descriptor, args[2])
}

// builder makes the images of one release.
type builder struct {
	release, packages string
	version           string
	created           time.Time
	layout            *layout
}

func (b *builder) annotations() map[string]string {
	return map[string]string{
		ocispec.AnnotationTitle:       program,
		ocispec.AnnotationDescription: "Sign and verify artifacts in registries with keys in PKCS#11 tokens",
		ocispec.AnnotationSource:      "https://github.com/notation-pkcs11/notation-pkcs11",
		ocispec.AnnotationLicenses:    "Apache-2.0",
		ocispec.AnnotationVersion:     b.version,
		ocispec.AnnotationCreated:     b.created.Format(time.RFC3339),
	}
}

// image adds the image of an architecture, and its bill of materials as an
// artifact that refers to it.
func (b *builder) image(architecture string) (ocispec.Descriptor, error) {
	packages, err := filepath.Glob(filepath.Join(b.packages, architecture, "*.deb"))
	if err != nil || len(packages) == 0 {
		return ocispec.Descriptor{}, fmt.Errorf("no Debian packages in %s: %v", b.packages, err)
	}
	base := newRootfs(b.created)
	var components []component
	for _, path := range packages {
		c, err := base.addPackage(path)
		if err != nil {
			return ocispec.Descriptor{}, fmt.Errorf("%s: %w", filepath.Base(path), err)
		}
		components = append(components, c)
	}
	base.addSystem()

	name := fmt.Sprintf("%s_%s_linux_%s", program, b.version, architecture)
	executable, err := os.ReadFile(filepath.Join(b.release, name))
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	top := newRootfs(b.created)
	top.addFile("usr/bin/"+program, 0o755, executable)

	config := ocispec.Image{
		Created:  &b.created,
		Platform: ocispec.Platform{OS: "linux", Architecture: architecture},
		Config: ocispec.ImageConfig{
			User:       fmt.Sprintf("%d:%d", user, user),
			Entrypoint: []string{"/usr/bin/" + program},
			WorkingDir: "/home/nonroot",
			Env:        []string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/home/nonroot"},
			Labels:     b.annotations(),
		},
		RootFS: ocispec.RootFS{Type: "layers"},
	}
	manifest := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Annotations: b.annotations()}
	for _, files := range []*rootfs{base, top} {
		layer, unpacked, err := b.layout.addLayer(files)
		if err != nil {
			return ocispec.Descriptor{}, err
		}
		manifest.Layers = append(manifest.Layers, layer)
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, unpacked)
	}
	if manifest.Config, err = b.layout.addJSON(ocispec.MediaTypeImageConfig, config); err != nil {
		return ocispec.Descriptor{}, err
	}
	image, err := b.layout.addJSON(ocispec.MediaTypeImageManifest, manifest)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	if err := b.attachBill(image, filepath.Join(b.release, name+".cdx.json"), components); err != nil {
		return ocispec.Descriptor{}, err
	}
	image.Platform = &config.Platform
	return image, nil
}

// attachBill adds the executable's bill of materials, with the packages, as an
// artifact whose subject is the image.
func (b *builder) attachBill(image ocispec.Descriptor, path string, packages []component) error {
	content, err := extendBill(path, packages)
	if err != nil {
		return err
	}
	bill := b.layout.add(mediaTypeBill, content)
	manifest, err := b.layout.addJSON(ocispec.MediaTypeImageManifest, ocispec.Manifest{
		Versioned:    specs.Versioned{SchemaVersion: 2},
		MediaType:    ocispec.MediaTypeImageManifest,
		ArtifactType: mediaTypeBill,
		Config:       b.layout.addEmpty(),
		Layers:       []ocispec.Descriptor{bill},
		Subject:      &image,
		Annotations:  map[string]string{ocispec.AnnotationCreated: b.created.Format(time.RFC3339)},
	})
	if err != nil {
		return err
	}
	manifest.ArtifactType = mediaTypeBill
	b.layout.referrers = append(b.layout.referrers, manifest)
	return nil
}
