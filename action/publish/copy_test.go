// SPDX-License-Identifier: Apache-2.0

package publish

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/content/memory"
	orasregistry "oras.land/oras-go/v2/registry"

	"github.com/notation-pkcs11/notation-pkcs11/action/registry"
	"github.com/notation-pkcs11/notation-pkcs11/testenv"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/registryfaults"
)

const (
	typeSBOM = "application/spdx+json"
	typeNote = "application/vnd.example.note"
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
	layout, err := registry.OpenLayout(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { layout.Close() })
	root, err := layout.Find(t.Context(), registry.LayoutReference{Digest: of})
	if err != nil {
		t.Fatal(err)
	}
	return registry.NewLayoutSource(layout, root)
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

// An index comes with all that is in it and all that refers to any of it, whichever
// way the registry lists that; the blobs before the manifests, and no tag. What is
// there is not sent again.
func TestBuildIsCopiedWhole(t *testing.T) {
	layout, folder := testenv.NewLayout(t)
	b := newBuild(t, layout)
	for _, kind := range testenv.RegistryKinds {
		for _, path := range []string{folder, testenv.Archive(t, folder, nil)} {
			t.Run(kind.Name+" from "+filepath.Base(path), func(t *testing.T) {
				backend := testenv.Start(t, kind.New)
				plan := makePlan(t, layoutSource(t, path, b.index.Digest), everything)
				if plan.Referrers() != 3 || len(plan.Parts()) != 3 || plan.Parts()[0].Desc.Digest != b.index.Digest {
					t.Fatalf("%d referrers, parts %+v", plan.Referrers(), plan.Parts())
				}
				copier, to := newCopier(t, backend.Host, "app", plan)
				copied := mustCopy(t, copier, plan, to)
				if copied.Manifests != len(b.all) || copied.Sent != copied.Blobs || copied.Bytes != plan.Bytes || copied.Since.IsZero() {
					t.Errorf("%+v", copied)
				}
				if moved, planned := copier.Progress(); moved != planned || planned != plan.Bytes {
					t.Errorf("%d of %d bytes", moved, planned)
				}
				manifests := false
				for _, request := range writes(backend.Requests()) {
					if strings.Contains(request.Path, "/manifests/") {
						manifests = true
						if tag := request.Path[strings.LastIndex(request.Path, "/")+1:]; !strings.HasPrefix(tag, "sha256") {
							t.Errorf("the tag %s was set", tag)
						}
					} else if manifests {
						t.Errorf("%s %s after a manifest", request.Method, request.Path)
					}
				}
				b.check(t, backend, "app")

				before := len(backend.Requests())
				again, to := newCopier(t, backend.Host, "app", plan)
				if copied := mustCopy(t, again, plan, to); copied.Sent != 0 || copied.Bytes != 0 {
					t.Errorf("again: %+v", copied)
				}
				if sent := writes(backend.Requests()[before:]); len(sent) > 0 {
					t.Errorf("sent again: %v", sent)
				}
			})
		}
	}
}

// From registry to registry, across kinds: blobs are sent from one host to another.
func TestBuildIsCopiedAcrossRegistries(t *testing.T) {
	for _, from := range testenv.RegistryKinds {
		for _, onto := range testenv.RegistryKinds {
			t.Run(from.Name+" to "+onto.Name, func(t *testing.T) {
				one, two := testenv.Start(t, from.New), testenv.Start(t, onto.New)
				b, plan := pushedBuild(t, one, one.Host)
				copier, to := newCopier(t, two.Host, "mirror/app", plan)
				mustCopy(t, copier, plan, to)
				b.check(t, two, "mirror/app")
			})
		}
	}
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

// Within a registry, blobs are mounted; where that is refused, they are sent.
func TestBlobsAreMountedOrSent(t *testing.T) {
	for _, refusal := range []int{0, 401, 403, 404, 405, 500} {
		t.Run(fmt.Sprint(refusal), func(t *testing.T) {
			backend := testenv.Start(t, testenv.NewRegistry)
			host := testenv.Front(t, backend, func(w http.ResponseWriter, r *http.Request) bool {
				if refusal == 0 || r.URL.Query().Get("mount") == "" {
					return false
				}
				w.WriteHeader(refusal)
				return true
			})
			b, plan := pushedBuild(t, backend, host)
			client := registry.New(registry.Options{CredentialsFile: os.DevNull})
			copier, to := copierOf(t, client, host, "release/app", plan)
			copied, err := copier.Copy(registry.WithoutRetry(t.Context()), plan, to)
			if err != nil {
				t.Fatal(err)
			}
			settleAll(t, copier.pusher)
			if all := copied.Blobs; refusal == 0 && copied.Mounted != all || refusal != 0 && copied.Sent != all {
				t.Errorf("%+v", copied)
			}
			b.check(t, backend, "release/app")
		})
	}
}

// A blob whose upload fails is sent again, from its source and with a token that is
// good then.
func TestBlobIsSentAgain(t *testing.T) {
	layout, folder := testenv.NewLayout(t)
	b := newBuild(t, layout)
	for _, fault := range registryfaults.Faults {
		switch fault.Name {
		case "expired tokens", "401", "429", "500", "502", "503", "504 after", "reset before", "reset after", "closed before", "closed after":
		default:
			continue
		}
		t.Run(fault.Name, func(t *testing.T) {
			backend := testenv.Start(t, testenv.NewRegistry)
			proxy, err := registryfaults.New(backend.Host)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { proxy.Close() })
			proxy.Inject(registryfaults.Rule{Class: registryfaults.PutUpload, Nth: 2, Times: 2, Fault: fault})
			plan := makePlan(t, layoutSource(t, folder, b.index.Digest), everything)
			client := registry.New(registry.Options{Username: registryfaults.Username, Password: registry.NewSecret(registryfaults.Password)})
			copier, to := copierOf(t, client, proxy.Host, "app", plan)
			copied := mustCopy(t, copier, plan, to)
			if moved, planned := copier.Progress(); moved != planned {
				t.Errorf("%d of %d bytes; %+v", moved, planned, copied)
			}
			b.check(t, backend, "app")
		})
	}
}

// What is refused for good is not sent again, and no further blob is.
func TestRefusedBlobIsNotSentAgain(t *testing.T) {
	layout, folder := testenv.NewLayout(t)
	b := newBuild(t, layout)
	for status, c := range map[int]struct {
		times int64
		says  string
	}{
		401: {2, "credentials: "},
		403: {1, "the right to push"},
		404: {1, "create it first if the registry"},
		413: {1, "raise its limit"},
		507: {1, "raise the quota"},
	} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			backend := testenv.Start(t, testenv.NewRegistry)
			var uploads atomic.Int64
			host := testenv.Front(t, backend, func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method != http.MethodPost {
					return false
				}
				uploads.Add(1)
				w.WriteHeader(status)
				return true
			})
			plan := makePlan(t, layoutSource(t, folder, b.index.Digest), nil)
			copier, to := newCopier(t, host, "app", plan)
			_, err := copier.Copy(registry.WithoutRetry(t.Context()), plan, to)
			if err == nil || !strings.Contains(err.Error(), "at the target: ") || !strings.Contains(err.Error(), c.says) {
				t.Errorf("the error names no side, or not what to do: %v", err)
			}
			if n := uploads.Load(); n != c.times {
				t.Errorf("%d uploads were begun", n)
			}
		})
	}
}

// An upload in which nothing moves ends.
func TestStalledTransferEnds(t *testing.T) {
	layout, folder := testenv.NewLayout(t)
	b := newBuild(t, layout)
	backend := testenv.Start(t, testenv.NewRegistry)
	host := testenv.Front(t, backend, func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPut {
			return false
		}
		io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
		return true
	})
	plan := makePlan(t, layoutSource(t, folder, b.index.Digest), nil)
	copier, to := newCopier(t, host, "app", plan)
	copier.stall = 50 * time.Millisecond
	_, err := copier.Copy(t.Context(), plan, to)
	if !errors.As(err, new(stalledError)) || !strings.Contains(err.Error(), "no byte was transferred for 50ms") {
		t.Error(err)
	}
}

// A blob with another content than its digest says is refused, and is named.
func TestCorruptBlobIsRefused(t *testing.T) {
	layout, folder := testenv.NewLayout(t)
	image, err := testenv.PutImage(t.Context(), layout, "hello", "v1")
	if err != nil {
		t.Fatal(err)
	}
	source := layoutSource(t, folder, image.Digest)
	plan := makePlan(t, source, nil)
	layer := plan.blobs[0].desc.Digest
	file := filepath.Join(folder, "blobs", "sha256", layer.Encoded())
	if err := os.Chmod(file, 0o600); err != nil {
		t.Fatal(err)
	}
	testenv.PutFile(t, file, strings.Repeat("x", int(plan.blobs[0].desc.Size)))
	backend := testenv.Start(t, testenv.NewRegistry)
	copier, to := newCopier(t, backend.Host, "app", plan)
	_, err = copier.Copy(t.Context(), plan, to)
	if err == nil || !strings.Contains(err.Error(), "at the source: ") || !strings.Contains(err.Error(), layer.String()) {
		t.Error(err)
	}
	for _, request := range backend.Requests() {
		if request.Method == http.MethodPut && request.Status < 300 {
			t.Errorf("%s was taken", request.Path)
		}
	}
}

// docker save keeps the whole index, and the platforms that were pulled.
func TestPartialLayoutIsRefusedWithWhatIsAbsent(t *testing.T) {
	layout, folder := testenv.NewLayout(t)
	b := newBuild(t, layout)
	if err := os.Remove(filepath.Join(folder, "blobs", "sha256", b.arm64.Digest.Encoded())); err != nil {
		t.Fatal(err)
	}
	var absent *AbsentError
	_, err := MakePlan(t.Context(), layoutSource(t, folder, b.index.Digest), everything)
	if !errors.As(err, &absent) || !slices.Equal(absent.Platforms, []string{"linux/arm64/v8"}) || !strings.Contains(err.Error(), "docker save --platform") {
		t.Error(err)
	}
	if plan := makePlan(t, layoutSource(t, folder, b.amd64.Digest), everything); len(plan.Parts()) != 1 {
		t.Errorf("%+v", plan.Parts())
	}
}

func TestForeignLayersMayBeAbsent(t *testing.T) {
	layout, folder := testenv.NewLayout(t)
	const foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
	must := func(desc ocispec.Descriptor, err error) ocispec.Descriptor {
		if err != nil {
			t.Fatal(err)
		}
		return desc
	}
	present := must(oras.PushBytes(t.Context(), layout, foreign, []byte("present")))
	config := must(oras.PushBytes(t.Context(), layout, ocispec.MediaTypeImageConfig, []byte("{}")))
	absent := ocispec.Descriptor{MediaType: foreign, Digest: digest.FromString("absent"), Size: 6}
	manifest := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Config: config, Layers: []ocispec.Descriptor{present, absent}}
	text, err := json.Marshal(manifest)
	if err != nil {
		t.Fatal(err)
	}
	image := registry.DescriptorOf(manifest.MediaType, text)
	// Not through the store, which wants all of it.
	testenv.PutFile(t, filepath.Join(folder, "blobs", "sha256", image.Digest.Encoded()), string(text))
	plan := makePlan(t, layoutSource(t, folder, image.Digest), nil)
	// Most registries have to be told which such layers to take; these do.
	lenient := func() (host string) {
		backend := testenv.Start(t, testenv.NewRegistry)
		taken := false
		return testenv.Front(t, backend, func(w http.ResponseWriter, r *http.Request) bool {
			switch manifest := strings.HasSuffix(r.URL.Path, "/manifests/"+image.Digest.String()); {
			case manifest && r.Method == http.MethodPut:
				taken = true
				w.WriteHeader(http.StatusCreated)
			case manifest && taken:
				w.Header().Set("Content-Type", image.MediaType)
				w.Write(text)
			default:
				return false
			}
			return true
		})
	}
	host := lenient()
	copier, to := newCopier(t, host, "app", plan)
	if copied := mustCopy(t, copier, plan, to); copied.Sent != 2 {
		t.Errorf("%+v", copied)
	}

	// That a registry has it not shows when it is read.
	again := makePlan(t, repositorySource(t, host, image.Digest), nil)
	host = lenient()
	copier, to = newCopier(t, host, "app", again)
	if copied := mustCopy(t, copier, again, to); copied.Sent != 2 {
		t.Errorf("from a registry: %+v", copied)
	}
}

// Which referrers come along is for the caller to say; cosign's are named.
func TestReferrersComeAlongAsWanted(t *testing.T) {
	layout, folder := testenv.NewLayout(t)
	b := newBuild(t, layout)
	cosign := registry.ReferrersTag(b.amd64.Digest) + ".sig"
	if _, err := testenv.PutImage(t.Context(), layout, "cosign's", cosign); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		wanted func(string) bool
		found  int
	}{
		"none":       {nil, 0},
		"all":        {everything, 3},
		"SBOMs":      {func(t string) bool { return t == typeSBOM }, 1},
		"signatures": {func(t string) bool { return t == registry.ArtifactTypeSignature }, 1},
	} {
		plan := makePlan(t, layoutSource(t, folder, b.index.Digest), c.wanted)
		if plan.Referrers() != c.found {
			t.Errorf("%s: %d", name, plan.Referrers())
		}
		if c.wanted != nil && (len(plan.Warnings) != 1 || !strings.Contains(plan.Warnings[0], cosign)) {
			t.Errorf("%s: warnings %q", name, plan.Warnings)
		}
	}
}

// Some registries answer with the artifact where there is no index of referrers: what
// is in an index refers to nothing.
func TestArtifactIsNoListOfItsReferrers(t *testing.T) {
	backend := testenv.Start(t, testenv.NewTagSchemaRegistry)
	behind := testenv.ProxyTo(backend)
	var index ocispec.Descriptor
	host := testenv.ServeRegistry(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if tag := registry.ReferrersTag(index.Digest); strings.HasSuffix(r.URL.Path, "/"+tag) {
			r.URL.Path = strings.Replace(r.URL.Path, tag, index.Digest.String(), 1)
		}
		behind.ServeHTTP(w, r)
	}))
	b, _ := pushedBuild(t, backend, backend.Host)
	index = b.index
	plan := makePlan(t, repositorySource(t, host, b.index.Digest), everything)
	if len(plan.Parts()) != 3 || plan.Referrers() != 1 { // the signature of arm64
		t.Errorf("parts %+v, %d referrers", plan.Parts(), plan.Referrers())
	}
}

// What a registry deleted because it had no tag is sent again just before the tag.
func TestCollectedManifestsAreSentAgain(t *testing.T) {
	layout, folder := testenv.NewLayout(t)
	b := newBuild(t, layout)
	for _, kind := range testenv.RegistryKinds {
		t.Run(kind.Name, func(t *testing.T) {
			backend := testenv.Start(t, kind.New)
			plan := makePlan(t, layoutSource(t, folder, b.index.Digest), everything)
			copier, to := newCopier(t, backend.Host, "app", plan)
			mustCopy(t, copier, plan, to)
			if again, err := copier.Confirm(t.Context(), plan, to); err != nil || len(again) > 0 {
				t.Fatalf("%v, %v", again, err)
			}
			repository, err := backend.Repository("app")
			if err != nil {
				t.Fatal(err)
			}
			for _, collected := range []ocispec.Descriptor{b.index, b.amd64} {
				if err := repository.Manifests().Delete(t.Context(), collected); err != nil {
					t.Fatal(err)
				}
			}
			again, err := copier.Confirm(t.Context(), plan, to)
			if err != nil || !slices.Contains(again, b.index.Digest) || !slices.Contains(again, b.amd64.Digest) {
				t.Fatalf("%v, %v", again, err)
			}
			settleAll(t, copier.pusher)
			b.check(t, backend, "app")
		})
	}
}

func TestTagIsSetOnce(t *testing.T) {
	layout, folder := testenv.NewLayout(t)
	b := newBuild(t, layout)
	plan := makePlan(t, layoutSource(t, folder, b.index.Digest), nil)
	for _, kind := range testenv.RegistryKinds {
		t.Run(kind.Name, func(t *testing.T) {
			backend := testenv.Start(t, kind.New)
			copier, to := newCopier(t, backend.Host, "app", plan)
			mustCopy(t, copier, plan, to)
			tagged, err := copier.Tag(t.Context(), plan.Source, to, "v1")
			if err != nil || !tagged.Set || tagged.Before != "" {
				t.Fatalf("%+v, %v", tagged, err)
			}
			before := len(backend.Requests())
			tagged, err = copier.Tag(t.Context(), plan.Source, to, "v1")
			if err != nil || tagged.Set || tagged.Before != b.index.Digest {
				t.Errorf("again: %+v, %v", tagged, err)
			}
			if sent := writes(backend.Requests()[before:]); len(sent) > 0 {
				t.Errorf("written again: %v", sent)
			}
			repository, err := backend.Repository("app")
			if err != nil {
				t.Fatal(err)
			}
			if found, err := repository.Resolve(t.Context(), "v1"); err != nil || found.Digest != b.index.Digest {
				t.Errorf("%s, %v", found.Digest, err)
			}
		})
	}
}

// A tag whose answer is lost is set; one that is refused is not, and the error says
// what may be the reason.
func TestTagThatWasNotAnsweredIsLookedAt(t *testing.T) {
	layout, folder := testenv.NewLayout(t)
	b := newBuild(t, layout)
	plan := makePlan(t, layoutSource(t, folder, b.index.Digest), nil)
	backend := testenv.Start(t, testenv.NewRegistry)
	behind := testenv.ProxyTo(backend)
	refuse := false
	host := testenv.ServeRegistry(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPut || !strings.HasSuffix(r.URL.Path, "/manifests/v1") {
			behind.ServeHTTP(w, r)
			return
		}
		if refuse {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		behind.ServeHTTP(discarded{http.Header{}}, r)
		panic(http.ErrAbortHandler)
	}))
	copier, to := newCopier(t, host, "app", plan)
	mustCopy(t, copier, plan, to)
	if tagged, err := copier.Tag(registry.WithoutRetry(t.Context()), plan.Source, to, "v1"); err != nil || !tagged.Set {
		t.Errorf("%+v, %v", tagged, err)
	}
	refuse = true
	other := makePlan(t, layoutSource(t, folder, b.amd64.Digest), nil)
	to.Desc = other.Source.Root()
	tagged, err := copier.Tag(t.Context(), other.Source, to, "v1")
	if err == nil || tagged.Set || !strings.Contains(err.Error(), "immutable") || !strings.Contains(err.Error(), b.index.Digest.String()) {
		t.Errorf("%+v, %v", tagged, err)
	}
}

// discarded is an answer that nobody gets.
type discarded struct{ header http.Header }

func (d discarded) Header() http.Header         { return d.header }
func (d discarded) Write(p []byte) (int, error) { return len(p), nil }
func (d discarded) WriteHeader(int)             {}

// What refers to something else is no referrer, whatever lists it as one.
func TestReferrerOfAnotherManifestIsNone(t *testing.T) {
	backend := testenv.Start(t, testenv.NewTagSchemaRegistry)
	behind := testenv.ProxyTo(backend)
	b, _ := pushedBuild(t, backend, backend.Host)
	ofARM, ofAMD := registry.ReferrersTag(b.arm64.Digest), registry.ReferrersTag(b.amd64.Digest)
	host := testenv.ServeRegistry(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, ofAMD):
			r.URL.Path = strings.Replace(r.URL.Path, ofAMD, ofARM, 1)
		case strings.HasSuffix(r.URL.Path, ofARM):
			r.URL.Path += "-none"
		}
		behind.ServeHTTP(w, r)
	}))
	if plan := makePlan(t, repositorySource(t, host, b.index.Digest), everything); plan.Referrers() != 2 { // the SBOM, and the note on it
		t.Errorf("%d referrers", plan.Referrers())
	}
}

// Wrong credentials are sent once, lest an account be locked.
func TestWrongCredentialsOfATargetAreSentOnce(t *testing.T) {
	layout, folder := testenv.NewLayout(t)
	b := newBuild(t, layout)
	for name, challenge := range map[string]string{
		"basic":  `Basic realm="here"`,
		"bearer": `Bearer realm="http://%s/token",service="here"`,
	} {
		t.Run(name, func(t *testing.T) {
			var sent atomic.Int64
			host := testenv.ServeRegistry(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Authorization") != "" {
					sent.Add(1)
				}
				w.Header().Set("WWW-Authenticate", strings.ReplaceAll(challenge, "%s", r.Host))
				w.WriteHeader(http.StatusUnauthorized)
			}))
			plan := makePlan(t, layoutSource(t, folder, b.index.Digest), everything)
			client := registry.New(registry.Options{Username: "user", Password: registry.NewSecret("wrong")})
			copier, to := copierOf(t, client, host, "app", plan)
			if _, err := copier.Copy(t.Context(), plan, to); err == nil || sent.Load() != 1 {
				t.Errorf("sent %d times: %v", sent.Load(), err)
			}
		})
	}
}
