// SPDX-License-Identifier: Apache-2.0

package layout

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/content/oci"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"

	"github.com/notation-pkcs11/notation-pkcs11/action/registry"
)

// openLayout opens a layout, which is closed with the test.
func openLayout(t *testing.T, path string) *Layout {
	t.Helper()
	layout, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { layout.Close() })
	return layout
}

// putImage puts an image into a layout, without a tag if that is empty.
func putImage(t *testing.T, into *oci.Store, text, tag string) ocispec.Descriptor {
	t.Helper()
	name := tag
	if name == "" {
		name = "untagged"
	}
	image, err := testenv.PutImage(t.Context(), into, text, name)
	if err == nil && tag == "" {
		err = into.Untag(t.Context(), name)
	}
	if err != nil {
		t.Fatal(err)
	}
	return image
}

// changeIndex changes the index.json of a layout.
func changeIndex(t *testing.T, folder string, change func(*ocispec.Index)) {
	t.Helper()
	path := filepath.Join(folder, ocispec.ImageIndexFile)
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var index ocispec.Index
	if err := json.Unmarshal(content, &index); err != nil {
		t.Fatal(err)
	}
	change(&index)
	if content, err = json.Marshal(index); err != nil {
		t.Fatal(err)
	}
	testenv.PutFile(t, path, string(content))
}

// A layout reads the same as a directory and as an archive, with "./" before its
// entries or without.
func TestLayoutIsReadWhereItIs(t *testing.T) {
	store, folder := testenv.NewLayout(t)
	image := putImage(t, store, "hello", "v1")
	dotted := func(h *tar.Header) { h.Name = "./" + h.Name }
	for name, path := range map[string]string{
		"directory": folder, "archive": testenv.Archive(t, folder, nil), "archive with dots": testenv.Archive(t, folder, dotted),
	} {
		layout := openLayout(t, path)
		found, err := layout.Find(t.Context(), registry.LayoutReference{Path: path})
		if err != nil || found.Digest != image.Digest || found.MediaType != image.MediaType || found.Size != image.Size {
			t.Errorf("%s: %+v, %v", name, found, err)
			continue
		}
		content, err := layout.Manifest(t.Context(), found)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		members, err := registry.ReadMembers(content)
		if err != nil || len(members.Blobs) != 2 {
			t.Fatalf("%s: %+v, %v", name, members, err)
		}
		for _, desc := range members.Blobs {
			blob, err := layout.Blob(t.Context(), desc)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			read, err := io.ReadAll(blob)
			if err != nil || digest.FromBytes(read) != desc.Digest {
				t.Errorf("%s: the blob reads as %s, %v", name, digest.FromBytes(read), err)
			}
			blob.Close()
		}
	}
}

func TestArtifactOfALayoutIsFound(t *testing.T) {
	store, folder := testenv.NewLayout(t)
	first := putImage(t, store, "first", "v1")
	alone := openLayout(t, folder)

	// What refers to an image, by subject or by tag, is no second image.
	sbom, err := oras.PackManifest(t.Context(), store, oras.PackManifestVersion1_1, "application/spdx+json", oras.PackManifestOptions{Subject: &first})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := testenv.PutIndex(t.Context(), store, registry.ReferrersTag(first.Digest), sbom); err != nil {
		t.Fatal(err)
	}
	if _, err := testenv.PutImage(t.Context(), store, "cosign", registry.ReferrersTag(first.Digest)+".sig"); err != nil {
		t.Fatal(err)
	}
	if err := store.Tag(t.Context(), first, "stable"); err != nil { // the same image twice is one
		t.Fatal(err)
	}
	withReferrers := openLayout(t, folder)
	for name, layout := range map[string]*Layout{"one image": alone, "one image with referrers": withReferrers} {
		if found, err := layout.Find(t.Context(), registry.LayoutReference{}); err != nil || found.Digest != first.Digest {
			t.Errorf("%s: %s, %v", name, found.Digest, err)
		}
	}
	var referrers []ocispec.Descriptor
	source := NewSource(withReferrers, first)
	err = source.Referrers(t.Context(), first, func(page []ocispec.Descriptor) error { referrers = append(referrers, page...); return nil })
	if err != nil || len(referrers) != 1 || referrers[0].Digest != sbom.Digest || referrers[0].ArtifactType != "application/spdx+json" {
		t.Errorf("referrers %+v, %v", referrers, err)
	}
	if tags, err := source.CosignTags(t.Context(), first.Digest); err != nil || len(tags) != 1 || tags[0] != registry.ReferrersTag(first.Digest)+".sig" {
		t.Errorf("cosign's tags %q, %v", tags, err)
	}

	// docker save of two images writes two with the tag alone as ref.name.
	second := putImage(t, store, "second", "v2")
	changeIndex(t, folder, func(index *ocispec.Index) {
		for i := range index.Manifests {
			m := &index.Manifests[i]
			switch m.Digest {
			case first.Digest:
				m.Annotations = map[string]string{ocispec.AnnotationRefName: "latest", annotationContainerdName: "docker.io/library/first:latest"}
			case second.Digest:
				m.Annotations = map[string]string{ocispec.AnnotationRefName: "latest", annotationContainerdName: "docker.io/library/second:latest"}
			}
		}
	})
	two := openLayout(t, folder)
	for _, ref := range []registry.LayoutReference{{}, {Name: "latest"}} {
		_, err := two.Find(t.Context(), ref)
		if err == nil || !strings.Contains(err.Error(), "2 artifacts") || !strings.Contains(err.Error(), second.Digest.String()) ||
			!strings.Contains(err.Error(), "docker.io/library/first:latest") {
			t.Errorf("%+v: %v", ref, err)
		}
	}
	for _, c := range []struct {
		ref  registry.LayoutReference
		want digest.Digest
	}{
		{registry.LayoutReference{Name: "docker.io/library/second:latest"}, second.Digest},
		{registry.LayoutReference{Digest: second.Digest}, second.Digest},
		{registry.LayoutReference{Digest: sbom.Digest}, sbom.Digest},
		{registry.LayoutReference{Name: "docker.io/library/first:latest", Digest: first.Digest}, first.Digest},
	} {
		if found, err := two.Find(t.Context(), c.ref); err != nil || found.Digest != c.want {
			t.Errorf("%+v: %s, %v", c.ref, found.Digest, err)
		}
	}
	for _, ref := range []registry.LayoutReference{{Name: "none"}, {Digest: digest.FromString("none")}, {Name: "docker.io/library/first:latest", Digest: second.Digest}} {
		if found, err := two.Find(t.Context(), ref); err == nil {
			t.Errorf("%+v: %s", ref, found.Digest)
		}
	}
}

// A platform's manifest is found by its digest, with its own media type, although
// index.json lists the index alone.
func TestPlatformOfALayoutIsFoundByDigest(t *testing.T) {
	store, folder := testenv.NewLayout(t)
	platform := putImage(t, store, "amd64", "")
	index, err := testenv.PutIndex(t.Context(), store, "v1", platform)
	if err != nil {
		t.Fatal(err)
	}
	// oras lists the platform, too: the index is the one image even so.
	if found, err := openLayout(t, folder).Find(t.Context(), registry.LayoutReference{}); err != nil || found.Digest != index.Digest {
		t.Errorf("%+v, %v", found, err)
	}
	changeIndex(t, folder, func(i *ocispec.Index) { i.Manifests = []ocispec.Descriptor{index} })
	found, err := openLayout(t, folder).Find(t.Context(), registry.LayoutReference{Digest: platform.Digest})
	if err != nil || found.MediaType != ocispec.MediaTypeImageManifest || found.Size != platform.Size {
		t.Errorf("%+v, %v", found, err)
	}
}

func TestWhatIsWrongWithALayoutIsNamed(t *testing.T) {
	store, folder := testenv.NewLayout(t)
	image := putImage(t, store, "hello", "v1")
	content, err := openLayout(t, folder).Manifest(t.Context(), image)
	if err != nil {
		t.Fatal(err)
	}
	members, err := registry.ReadMembers(content)
	if err != nil {
		t.Fatal(err)
	}
	layer := members.Blobs[1]
	// read reads all of the image.
	read := func(path string) error {
		layout, err := Open(t.Context(), path)
		if err != nil {
			return err
		}
		defer layout.Close()
		if _, err := layout.Find(t.Context(), registry.LayoutReference{}); err != nil {
			return err
		}
		return layout.Lacks(layer)
	}
	in := func(change func(folder string)) string {
		copied := filepath.Join(t.TempDir(), "layout")
		if err := os.CopyFS(copied, os.DirFS(folder)); err != nil {
			t.Fatal(err)
		}
		change(copied)
		return copied
	}
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	name := func(folder string, d digest.Digest) string {
		return filepath.Join(folder, filepath.FromSlash(blobName(d)))
	}
	linked := in(func(folder string) {
		must(os.Rename(name(folder, layer.Digest), filepath.Join(folder, "elsewhere")))
		must(os.Symlink("../../elsewhere", name(folder, layer.Digest)))
	})
	for what, c := range map[string]struct{ path, says string }{
		"nothing there":      {filepath.Join(folder, "none"), "no such file"},
		"another directory":  {t.TempDir(), "no file oci-layout"},
		"no archive":         {testenv.PutFile(t, t.TempDir()+"/x.tar", strings.Repeat("no tar ", 200)), "no tar archive"},
		"unknown version":    {in(func(f string) { testenv.PutFile(t, f+"/oci-layout", `{"imageLayoutVersion":"9"}`) }), `"9"`},
		"index no JSON":      {in(func(f string) { testenv.PutFile(t, f+"/index.json", `{`) }), "index.json"},
		"index of bad names": {in(func(f string) { testenv.PutFile(t, f+"/index.json", `{"manifests":[{"digest":"sha256:../x"}]}`) }), "sha256:../x"},
		"altered manifest": {in(func(f string) {
			must(os.Chmod(name(f, image.Digest), 0o600))
			testenv.PutFile(t, name(f, image.Digest), strings.Repeat("x", int(image.Size)))
		}), image.Digest.String()},
		"layer absent":           {in(func(f string) { must(os.Remove(name(f, layer.Digest))) }), layer.Digest.String()},
		"layer of another size":  {in(func(f string) { must(os.Truncate(name(f, layer.Digest), 1)) }), layer.Digest.String()},
		"layer a link":           {linked, "a link"},
		"layer a directory":      {in(func(f string) { must(os.Remove(name(f, layer.Digest))); must(os.Mkdir(name(f, layer.Digest), 0o700)) }), "a file is needed"},
		"archive, layer a link":  {testenv.Archive(t, linked, nil), "a link"},
		"archive that leads out": {testenv.Archive(t, folder, func(h *tar.Header) { h.Name = "blobs/../../" + h.Name }), `entry "blobs/../../`},
	} {
		if err := read(c.path); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", what, err)
		}
	}

	// A link out of the layout is not followed by another way either.
	outside := in(func(f string) {
		must(os.RemoveAll(filepath.Join(f, "blobs")))
		must(os.Symlink(filepath.Join(folder, "blobs"), filepath.Join(f, "blobs")))
	})
	if err := read(outside); err == nil {
		t.Error("blobs outside of the layout were read")
	}
}

func TestTruncatedArchiveIsRefused(t *testing.T) {
	store, folder := testenv.NewLayout(t)
	putImage(t, store, "hello", "v1")
	archive := testenv.Archive(t, folder, nil)
	info, err := os.Stat(archive)
	if err != nil {
		t.Fatal(err)
	}
	const trailer, block = 1024, 512
	if err := os.Truncate(archive, info.Size()-trailer-block+10); err != nil { // within its last file
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), archive); err == nil || !strings.Contains(err.Error(), "not a whole one") {
		t.Error(err)
	}
}

func TestCompressedArchiveIsRefusedWithWhatUnpacksIt(t *testing.T) {
	store, folder := testenv.NewLayout(t)
	putImage(t, store, "hello", "v1")
	content, err := os.ReadFile(testenv.Archive(t, folder, nil))
	if err != nil {
		t.Fatal(err)
	}
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	if _, err := z.Write(content); err != nil {
		t.Fatal(err)
	}
	z.Close()
	path := testenv.PutFile(t, t.TempDir()+"/image.tar", zipped.String())
	if _, err := Open(t.Context(), path); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("gzip --decompress --stdout %s > layout.tar", path)) {
		t.Error(err)
	}
	for magic, tool := range map[string]string{"\x28\xb5\x2f\xfd": "zstd", "\xfd7zXZ\x00": "xz"} {
		path := testenv.PutFile(t, t.TempDir()+"/image; rm", magic+"rest")
		if _, err := Open(t.Context(), path); err == nil || !strings.Contains(err.Error(), tool+" --decompress --stdout FILE > layout.tar") {
			t.Errorf("%s: %v", tool, err)
		}
	}
}

// The size of an entry of more than 8 GiB is in a PAX header of its own.
func TestArchiveWithAHugeEntry(t *testing.T) {
	const size = 9 << 30
	store, folder := testenv.NewLayout(t)
	image := putImage(t, store, "hello", "v1")
	huge := ocispec.Descriptor{Digest: digest.FromString("huge"), Size: size}
	path := filepath.Join(t.TempDir(), "huge.tar")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	w := tar.NewWriter(file)
	if err := w.WriteHeader(&tar.Header{Name: blobName(huge.Digest), Mode: 0o644, Size: size, Format: tar.FormatPAX}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("begins")); err != nil {
		t.Fatal(err)
	}
	// The rest is a hole in the file.
	if _, err := file.Seek(size-int64(len("begins")), io.SeekCurrent); err != nil {
		t.Fatal(err)
	}
	rest, err := os.ReadFile(testenv.Archive(t, folder, nil))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.Write(rest); err != nil {
		t.Fatal(err)
	}
	layout := openLayout(t, path)
	if found, err := layout.Find(t.Context(), registry.LayoutReference{}); err != nil || found.Digest != image.Digest {
		t.Errorf("behind it: %+v, %v", found, err)
	}
	blob, err := layout.Blob(t.Context(), huge)
	if err != nil {
		t.Fatal(err)
	}
	head := make([]byte, len("begins"))
	if _, err := io.ReadFull(blob, head); err != nil || string(head) != "begins" {
		t.Errorf("it begins with %q, %v", head, err)
	}
}

func TestSparseEntryIsRefused(t *testing.T) {
	if got := kindOf(&tar.Header{Typeflag: tar.TypeReg, PAXRecords: map[string]string{"GNU.sparse.map": "0,1"}}); got != "a sparse file" {
		t.Errorf("it is %q", got)
	}
}

// What index.json calls a manifest would be signed, so it must be what the manifest is.
func TestLayoutThatCallsAManifestSomethingElse(t *testing.T) {
	store, folder := testenv.NewLayout(t)
	image, err := testenv.PutImage(t.Context(), store, "an image", "v1")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(folder, "index.json")
	index, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	testenv.PutFile(t, path, strings.ReplaceAll(string(index), image.MediaType, ocispec.MediaTypeImageIndex))
	l, err := Open(t.Context(), folder)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, ref := range []registry.LayoutReference{{Name: "v1"}, {Digest: image.Digest}} {
		if _, err := l.Find(t.Context(), ref); err == nil || !strings.Contains(err.Error(), "but it is a") {
			t.Errorf("%+v: error %v", ref, err)
		}
	}
}
