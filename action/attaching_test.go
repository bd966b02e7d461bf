// SPDX-License-Identifier: Apache-2.0

package action

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/content"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

// sbomsOf lists the SBOMs of an artifact, as others see them.
func sbomsOf(t *testing.T, at *testenv.Registry, repository string, of ocispec.Descriptor) []ocispec.Descriptor {
	t.Helper()
	from, err := at.Repository(repository)
	if err != nil {
		t.Fatal(err)
	}
	var found []ocispec.Descriptor
	if err := from.Referrers(t.Context(), of, typeSBOM, func(page []ocispec.Descriptor) error { found = append(found, page...); return nil }); err != nil {
		t.Fatal(err)
	}
	return found
}

// A file becomes a referrer as oras attach makes it, and is signed in the same run; the
// same file does not become another.
func TestAttachedFilesAreSigned(t *testing.T) {
	for _, kind := range testenv.RegistryKinds {
		t.Run(kind.Name, func(t *testing.T) {
			w := newRunWorld(t)
			w.registry = testenv.Start(t, kind.New)
			reference, image := w.image(t, "app", "build")
			const content1 = `{"spdxVersion":"SPDX-2.3"}`
			file := testenv.PutFile(t, w.path("a=b/sbom.spdx.json"), content1)
			inputs := map[string]string{"INPUT_TARGET_ARTIFACT_REFERENCE": reference, "INPUT_ATTACH": file + "=" + typeSBOM, "INPUT_TAGS": "v1"}
			r := w.run(t, inputs)
			if n := r.report.Count(); r.code != 0 || n.Artifacts != 2 || n.Signed != 2 || n.Verified != 2 || n.Tagged != 1 {
				t.Fatalf("exit code %d, %+v", r.code, n)
			}
			sboms := sbomsOf(t, w.registry, "app", image)
			if len(sboms) != 1 {
				t.Fatalf("SBOMs %+v", sboms)
			}
			from, err := w.registry.Repository("app")
			if err != nil {
				t.Fatal(err)
			}
			text, err := content.FetchAll(t.Context(), from, sboms[0])
			if err != nil {
				t.Fatal(err)
			}
			var manifest ocispec.Manifest
			if err := json.Unmarshal(text, &manifest); err != nil {
				t.Fatal(err)
			}
			if layer := manifest.Layers[0]; len(manifest.Layers) != 1 || manifest.ArtifactType != typeSBOM || layer.MediaType != typeSBOM ||
				layer.Digest != digest.FromString(content1) || layer.Annotations[ocispec.AnnotationTitle] != "sbom.spdx.json" ||
				manifest.Config.Digest != ocispec.DescriptorEmptyJSON.Digest || manifest.Subject.Digest != image.Digest {
				t.Errorf("%s", text)
			}
			if tags, _ := tagWrites(r.requests); len(tags) != 1 {
				t.Errorf("the tag, and what came after it: %q", tags)
			}
			if strings.Contains(strings.Split(r.outputs, "signature_digests")[0], sboms[0].Digest.String()) {
				t.Errorf("the SBOM is among the artifacts' digests: %q", r.outputs)
			}

			// Once more, and by another program, which writes a time into it.
			again := maps.Clone(inputs)
			again["INPUT_SKIP_SIGNED"] = "true"
			if r := w.run(t, again); r.code != 0 || r.report.Count().AlreadySigned != 2 || !r.report.Artifacts[1].Attached.Existed {
				t.Errorf("again: exit code %d, %+v", r.code, r.report.Count())
			}
			other := testenv.PutFile(t, w.path("other.json"), "by oras")
			layer, err := oras.PushBytes(t.Context(), from, typeSBOM, []byte("by oras"))
			if err != nil {
				t.Fatal(err)
			}
			byOras, err := oras.PackManifest(t.Context(), from, oras.PackManifestVersion1_1, typeSBOM, oras.PackManifestOptions{Subject: &image, Layers: []ocispec.Descriptor{layer}})
			if err != nil {
				t.Fatal(err)
			}
			again["INPUT_ATTACH"] = other + "=" + typeSBOM
			if r := w.run(t, again); r.code != 0 || r.report.Artifacts[1].Digest != byOras.Digest.String() || r.report.Artifacts[1].Signed == nil {
				t.Errorf("by oras: exit code %d, %+v", r.code, r.report.Artifacts)
			}
			if n := len(sbomsOf(t, w.registry, "app", image)); n != 2 {
				t.Errorf("%d SBOMs", n)
			}
		})
	}
}

// With several targets, a file belongs to each; with recursive, to the roots.
func TestFilesAreAttachedToEachTarget(t *testing.T) {
	w := newRunWorld(t)
	_, folder, index, _ := buildLayout(t)
	file := testenv.PutFile(t, w.path("scan.json"), "{}")
	r := w.run(t, map[string]string{
		"INPUT_SOURCE":                    "oci:" + folder,
		"INPUT_TARGET_ARTIFACT_REFERENCE": w.registry.Host + "/a:v1\n" + w.registry.Host + "/b:v1",
		"INPUT_ATTACH":                    file + "=application/vnd.example.scan",
		"INPUT_RECURSIVE":                 "true",
	})
	if n := r.report.Count(); r.code != 0 || n.Artifacts != 8 || n.Verified != 8 {
		t.Fatalf("exit code %d, %+v", r.code, n)
	}
	attached := 0
	for _, a := range r.report.Artifacts {
		if a.Attached != nil {
			attached++
		}
	}
	if attached != 2 || tagged(t, w.registry, "a", "v1") != index.Digest || tagged(t, w.registry, "b", "v1") != index.Digest {
		t.Errorf("%d are attached", attached)
	}
}

func TestMistakesInFilesToAttach(t *testing.T) {
	w := newRunWorld(t)
	reference, _ := w.image(t, "app", "v1")
	for says, inputs := range map[string]map[string]string{
		"is not PATH=ARTIFACT-TYPE":  {"INPUT_ATTACH": "sbom.json"},
		"what is attached is signed": {"INPUT_ATTACH": "sbom.json=" + typeSBOM, "INPUT_MODE": "verify"},
		"no such file":               {"INPUT_ATTACH": w.path("none") + "=" + typeSBOM},
		"not a regular file":         {"INPUT_ATTACH": w.dir + "=" + typeSBOM},
	} {
		all := map[string]string{"INPUT_TARGET_ARTIFACT_REFERENCE": reference}
		maps.Copy(all, inputs)
		if r := w.run(t, all); r.code != 2 || !strings.Contains(r.log, says) || len(r.requests) > 0 {
			t.Errorf("%q: exit code %d, %d requests", says, r.code, len(r.requests))
		}
	}
}
