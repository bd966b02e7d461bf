// SPDX-License-Identifier: Apache-2.0

//go:build snapshot

package packaging

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

func imageFile(t *testing.T) string {
	t.Helper()
	return filepath.Join(released, "notation-pkcs11-action-image_"+version(t)+".tar")
}

// layout is what is in the tar of an OCI layout, by name.
type layout map[string][]byte

func openLayout(t *testing.T) layout {
	t.Helper()
	content, err := os.ReadFile(imageFile(t))
	if err != nil {
		t.Fatal(err)
	}
	files := layout{}
	for archive := tar.NewReader(bytes.NewReader(content)); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[header.Name], err = io.ReadAll(archive); err != nil {
			t.Fatal(err)
		}
	}
}

// blob returns the content that a descriptor describes.
func (l layout) blob(t *testing.T, d ocispec.Descriptor) []byte {
	t.Helper()
	content := l["blobs/sha256/"+d.Digest.Encoded()]
	if d.Digest != digest.FromBytes(content) || d.Size != int64(len(content)) {
		t.Fatalf("the blob of %+v is another one, of %d bytes", d, len(content))
	}
	return content
}

func (l layout) decode(t *testing.T, content []byte, value any) {
	t.Helper()
	if err := json.Unmarshal(content, value); err != nil {
		t.Fatal(err)
	}
}

// images returns the manifests of the images by their architecture, and the
// descriptors of what refers to them.
func (l layout) images(t *testing.T) (images map[string]ocispec.Descriptor, referrers []ocispec.Descriptor) {
	t.Helper()
	var list, index ocispec.Index
	l.decode(t, l["index.json"], &list)
	if name := list.Manifests[0].Annotations[ocispec.AnnotationRefName]; name != version(t) {
		t.Errorf("the image is called %q", name)
	}
	l.decode(t, l.blob(t, list.Manifests[0]), &index)
	images = map[string]ocispec.Descriptor{}
	for _, image := range index.Manifests {
		images[image.Platform.Architecture] = image
	}
	return images, list.Manifests[1:]
}

// unpackImage unpacks an image's layers into a directory, as a runtime does.
func (l layout) unpackImage(t *testing.T, image ocispec.Descriptor) (root string, config ocispec.Image) {
	t.Helper()
	var manifest ocispec.Manifest
	l.decode(t, l.blob(t, image), &manifest)
	l.decode(t, l.blob(t, manifest.Config), &config)
	root = t.TempDir()
	if err := os.Chmod(root, 0o755); err != nil { // another user goes in
		t.Fatal(err)
	}
	for n, layer := range manifest.Layers {
		zipped, err := gzip.NewReader(bytes.NewReader(l.blob(t, layer)))
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(zipped)
		if err != nil {
			t.Fatal(err)
		}
		if got := digest.FromBytes(content); got != config.RootFS.DiffIDs[n] {
			t.Errorf("layer %d unpacks to %s, the configuration has %s", n, got, config.RootFS.DiffIDs[n])
		}
		untar := exec.CommandContext(t.Context(), "tar", "--extract", "--same-permissions", "--numeric-owner", "--directory", root)
		untar.Stdin = bytes.NewReader(content)
		if out, err := untar.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	return root, config
}

// The image for this machine runs as what it says: with nothing but its own
// files, as a user without rights, it reads from a registry and writes a report.
func TestImageRunsAsAnUnprivilegedUser(t *testing.T) {
	l := openLayout(t)
	images, _ := l.images(t)
	root, config := l.unpackImage(t, images["amd64"])
	if config.Config.User != "65532:65532" || config.Architecture != "amd64" {
		t.Errorf("the image is %+v, and runs as %q", config.Platform, config.Config.User)
	}
	if err := os.WriteFile(filepath.Join(root, "etc/hosts"), []byte("127.0.0.1 localhost\n"), 0o644); err != nil { // a runtime's part
		t.Fatal(err)
	}
	registry := testenv.Start(t, testenv.NewRegistry)
	target, err := registry.PushImage(t.Context(), "app", "v1")
	if err != nil {
		t.Fatal(err)
	}
	args := append([]string{"chroot", "--userspec=" + config.Config.User, root}, config.Config.Entrypoint...)
	args = append(args, "--mode", "inspect", "--target-artifact-reference", registry.Host+"/app@"+target.Digest.String(), "--report", "/tmp/report.json")
	if os.Getuid() != 0 {
		args = append([]string{"sudo"}, args...)
	}
	run := exec.CommandContext(t.Context(), args[0], args[1:]...)
	run.Env = append(config.Config.Env, "PATH="+os.Getenv("PATH")) // in which chroot is
	out, err := run.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	report, err := os.ReadFile(filepath.Join(root, "tmp/report.json"))
	if err != nil || !strings.Contains(string(report), target.Digest.String()) {
		t.Errorf("the report is %s, %v\n%s", report, err, out)
	}
}

// In an emulator, with the image's own loader and libraries.
func TestImageOfARM64Starts(t *testing.T) {
	l := openLayout(t)
	images, _ := l.images(t)
	root, config := l.unpackImage(t, images["arm64"])
	if config.Architecture != "arm64" {
		t.Errorf("the image is %+v", config.Platform)
	}
	if got := output(t, "qemu-aarch64", "-L", root, filepath.Join(root, config.Config.Entrypoint[0]), "--version"); !strings.Contains(got, version(t)) {
		t.Errorf("it says %q, and is version %s", got, version(t))
	}
}

// The bill of materials of an image names the executable's modules and the
// packages of its base, and no file of the image can change its user.
func TestImageSaysWhatItIsMadeOf(t *testing.T) {
	l := openLayout(t)
	images, referrers := l.images(t)
	bills := map[digest.Digest]string{}
	for _, referrer := range referrers {
		var manifest ocispec.Manifest
		l.decode(t, l.blob(t, referrer), &manifest)
		if manifest.ArtifactType != "application/vnd.cyclonedx+json" || manifest.Subject == nil {
			t.Fatalf("%+v refers to no image", manifest)
		}
		bills[manifest.Subject.Digest] = string(l.blob(t, manifest.Layers[0]))
	}
	for architecture, image := range images {
		for _, want := range []string{"pkg:deb/debian/libc6@", "pkg:deb/debian/ca-certificates@", "github.com/notaryproject/notation-go"} {
			if !strings.Contains(bills[image.Digest], want) {
				t.Errorf("the bill of materials of %s lacks %s", architecture, want)
			}
		}
		root, _ := l.unpackImage(t, image)
		for _, path := range []string{"etc/ssl/certs/ca-certificates.crt", "etc/os-release", "var/lib/dpkg/status.d/libc6"} {
			if content, err := os.ReadFile(filepath.Join(root, path)); err != nil || len(content) == 0 {
				t.Errorf("%s of %s: %v", path, architecture, err)
			}
		}
		if found := output(t, "find", root, "-perm", "/6000", "-type", "f"); found != "" {
			t.Errorf("%s: files that change their user: %s", architecture, found)
		}
	}
}
