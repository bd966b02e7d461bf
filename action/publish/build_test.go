// SPDX-License-Identifier: Apache-2.0

package publish

import (
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/content/memory"
	orasregistry "oras.land/oras-go/v2/registry"

	"github.com/notation-pkcs11/notation-pkcs11/action/layout"
	"github.com/notation-pkcs11/notation-pkcs11/action/registry"
	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

// build is what a build leaves behind: an index of two images, with what refers to it.
type build struct {
	index, amd64, arm64         ocispec.Descriptor
	sbom, noteOnSBOM, signature ocispec.Descriptor // the signature is that of arm64
	all                         []ocispec.Descriptor
}

// newBuild puts a build into a layout or a registry.
func newBuild(t *testing.T, into oras.Target) build {
	t.Helper()
	var b build
	must := func(desc ocispec.Descriptor, err error) ocispec.Descriptor {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		b.all = append(b.all, desc)
		return desc
	}
	refer := func(to ocispec.Descriptor, artifactType string) ocispec.Descriptor {
		t.Helper()
		layer, err := oras.PushBytes(t.Context(), into, artifactType, []byte(artifactType+" of "+to.Digest.String()))
		if err != nil {
			t.Fatal(err)
		}
		return must(oras.PackManifest(t.Context(), into, oras.PackManifestVersion1_1, artifactType, oras.PackManifestOptions{
			Subject: &to, Layers: []ocispec.Descriptor{layer}, ManifestAnnotations: map[string]string{"of": to.Digest.String(), ocispec.AnnotationCreated: "2026-01-02T03:04:05Z"},
		}))
	}
	b.amd64 = must(testenv.PutImage(t.Context(), into, "amd64", "amd64"))
	b.arm64 = must(testenv.PutImage(t.Context(), into, "arm64", "arm64"))
	b.amd64.Platform = &ocispec.Platform{OS: "linux", Architecture: "amd64"}
	b.arm64.Platform = &ocispec.Platform{OS: "linux", Architecture: "arm64", Variant: "v8"}
	b.index = must(testenv.PutIndex(t.Context(), into, "build", b.amd64, b.arm64))
	b.sbom = refer(b.index, typeSBOM)
	b.noteOnSBOM = refer(b.sbom, typeNote)
	b.signature = refer(b.arm64, registry.ArtifactTypeSignature)
	return b
}

// everything wants all referrers.
func everything(string) bool { return true }

// layoutSource opens an artifact of a layout.
func layoutSource(t *testing.T, path string, of digest.Digest) registry.Source {
	t.Helper()
	opened, err := layout.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { opened.Close() })
	root, err := opened.Find(t.Context(), registry.LayoutReference{Digest: of})
	if err != nil {
		t.Fatal(err)
	}
	return layout.NewSource(opened, root)
}

func makePlan(t *testing.T, source registry.Source, wanted func(string) bool) *Plan {
	t.Helper()
	plan, err := MakePlan(t.Context(), source, wanted)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// newCopier makes a copier, and says where a plan goes in a repository.
func newCopier(t *testing.T, host, repository string, plan *Plan) (*Copier, registry.Target) {
	t.Helper()
	client := registry.New(registry.Options{CredentialsFile: filepath.Join(t.TempDir(), "config.json")})
	return copierOf(t, client, host, repository, plan)
}

func copierOf(t *testing.T, client *registry.Client, host, repository string, plan *Plan) (*Copier, registry.Target) {
	t.Helper()
	to, err := client.At(registry.Location{Repository: orasregistry.Reference{Registry: host, Repository: repository}}, plan.Source.Root())
	if err != nil {
		t.Fatal(err)
	}
	copier := NewCopier(New(Options{}), 4)
	copier.pause = time.Millisecond
	return copier, to
}

func mustCopy(t *testing.T, c *Copier, plan *Plan, to registry.Target) *Copied {
	t.Helper()
	copied, err := c.Copy(t.Context(), plan, to)
	if err != nil {
		t.Fatal(err)
	}
	settleAll(t, c.pusher)
	return copied
}

// check reads a build from a repository as others do, with oras-go alone.
func (b build) check(t *testing.T, at *testenv.Registry, repository string) {
	t.Helper()
	from, err := at.Repository(repository)
	if err != nil {
		t.Fatal(err)
	}
	copied := memory.New()
	if err := oras.ExtendedCopyGraph(t.Context(), from, copied, b.index, oras.DefaultExtendedCopyGraphOptions); err != nil {
		t.Fatal(err)
	}
	if err := oras.ExtendedCopyGraph(t.Context(), from, copied, b.arm64, oras.DefaultExtendedCopyGraphOptions); err != nil {
		t.Fatal(err)
	}
	for i, desc := range b.all {
		if _, err := content.FetchAll(t.Context(), copied, desc); err != nil {
			t.Errorf("%d of the build: %v", i, err)
		}
	}
	var listed []ocispec.Descriptor
	err = from.Referrers(t.Context(), b.index, typeSBOM, func(page []ocispec.Descriptor) error { listed = append(listed, page...); return nil })
	if err != nil || len(listed) != 1 || listed[0].Digest != b.sbom.Digest || listed[0].Annotations["of"] != b.index.Digest.String() {
		t.Errorf("SBOMs of the index: %+v, %v", listed, err)
	}
}

// writes are the requests that changed something.
func writes(requests []testenv.Request) (list []testenv.Request) {
	for _, r := range requests {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			list = append(list, r)
		}
	}
	return list
}

// pushedBuild pushes a build to app, and plans to copy it as it is seen at a host.
func pushedBuild(t *testing.T, at *testenv.Registry, host string) (build, *Plan) {
	t.Helper()
	repository, err := at.Repository("app")
	if err != nil {
		t.Fatal(err)
	}
	b := newBuild(t, repository)
	return b, makePlan(t, repositorySource(t, host, b.index.Digest), everything)
}

func repositorySource(t *testing.T, host string, of digest.Digest) registry.Source {
	t.Helper()
	client := registry.New(registry.Options{CredentialsFile: filepath.Join(t.TempDir(), "config.json")})
	root, err := client.Resolve(t.Context(), host+"/app@"+of.String())
	if err != nil {
		t.Fatal(err)
	}
	return registry.NewStoredSource(client, root)
}
