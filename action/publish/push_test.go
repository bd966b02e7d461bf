// SPDX-License-Identifier: Apache-2.0

package publish

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/content/memory"
	orasregistry "oras.land/oras-go/v2/registry"

	"github.com/notation-pkcs11/notation-pkcs11/action/registry"
	"github.com/notation-pkcs11/notation-pkcs11/testenv"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/registryfaults"
)

const mediaTypeCOSE = "application/cose"

// thumbprints are the annotations that a signature comes with.
var thumbprints = map[string]string{"io.cncf.notary.x509chain.thumbprint#S256": `["` + strings.Repeat("0", 64) + `"]`}

// image pushes an image and resolves it with a client of the test's own.
func image(t *testing.T, host, tag string, push func(ctx context.Context, repository, tag string) (ocispec.Descriptor, error)) (*registry.Client, registry.Target) {
	t.Helper()
	if _, err := push(t.Context(), "app", tag); err != nil {
		t.Fatal(err)
	}
	r := registry.New(registry.Options{CredentialsFile: t.TempDir() + "/config.json"})
	found, err := r.Resolve(t.Context(), host+"/app:"+tag)
	if err != nil {
		t.Fatal(err)
	}
	return r, found
}

// unread is an artifact that no request is sent for.
func unread(t *testing.T, host, repository string, desc ocispec.Descriptor) registry.Target {
	t.Helper()
	found, err := registry.New(registry.Options{}).At(registry.Location{Repository: orasregistry.Reference{Registry: host, Repository: repository}}, desc)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// pushOne pushes a signature that no other is like.
func pushOne(t *testing.T, p *Pusher, to registry.Target) Pushed {
	t.Helper()
	result, err := p.Push(t.Context(), to, fmt.Appendf(nil, "envelope %d", time.Now().UnixNano()), mediaTypeCOSE, thumbprints)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func settleAll(t *testing.T, p *Pusher) {
	t.Helper()
	if errs := p.Settle(t.Context()); len(errs) > 0 {
		t.Fatal(errors.Join(errs...))
	}
}

// listed are the signatures that a reader of the registry finds, sorted.
func listed(t *testing.T, of registry.Target) []digest.Digest {
	t.Helper()
	r := registry.New(registry.Options{CredentialsFile: t.TempDir() + "/config.json"})
	of, err := r.Resolve(t.Context(), of.String())
	if err != nil {
		t.Fatal(err)
	}
	found, err := r.Signatures(t.Context(), of, 10_000)
	if err != nil {
		t.Fatal(err)
	}
	var digests []digest.Digest
	for _, manifest := range found {
		digests = append(digests, manifest.Digest)
	}
	slices.Sort(digests)
	return digests
}

func TestPushedSignatureIsAsNotationWritesIt(t *testing.T) {
	backend := testenv.Start(t, testenv.NewTagSchemaRegistry)
	r, app := image(t, backend.Host, "v1", backend.PushImage)
	annotations := map[string]string{"io.cncf.notary.x509chain.thumbprint#S256": `["00"]`, ocispec.AnnotationCreated: "2026-01-02T03:04:05Z"}
	p := New(Options{})
	result, err := p.Push(t.Context(), app, []byte("envelope"), mediaTypeCOSE, annotations)
	if err != nil {
		t.Fatal(err)
	}
	settleAll(t, p)

	// oras-go's packer is what notation-go pushes with.
	store := memory.New()
	layer, err := oras.PushBytes(t.Context(), store, mediaTypeCOSE, []byte("envelope"))
	if err != nil {
		t.Fatal(err)
	}
	want, err := oras.PackManifest(t.Context(), store, oras.PackManifestVersion1_1, "", oras.PackManifestOptions{
		Subject:             &app.Desc,
		ManifestAnnotations: annotations,
		Layers:              []ocispec.Descriptor{layer},
		ConfigDescriptor:    &registry.SignatureConfig,
	})
	if err != nil {
		t.Fatal(err)
	}
	if result.Manifest.Digest != want.Digest {
		t.Errorf("the manifest is %s, and notation's %s", result.Manifest.Digest, want.Digest)
	}

	// What a reader gets is what was pushed, and the entry is complete.
	found, err := r.Signatures(t.Context(), app, 10)
	if err != nil {
		t.Fatal(err)
	}
	if len(found) != 1 || found[0].ArtifactType != registry.ArtifactTypeSignature || found[0].Annotations["io.cncf.notary.x509chain.thumbprint#S256"] != `["00"]` {
		t.Fatalf("listed: %+v", found)
	}
	var blob []byte
	var mediaType string
	if err := r.Envelope(t.Context(), app, found[0], func(b []byte, m string) { blob, mediaType = b, m }); err != nil {
		t.Fatal(err)
	}
	manifest, err := content.FetchAll(t.Context(), app.Store.TagSchema().Manifests(), found[0])
	if err != nil {
		t.Fatal(err)
	}
	if string(blob) != "envelope" || mediaType != mediaTypeCOSE || !strings.Contains(string(manifest), `"2026-01-02T03:04:05Z"`) {
		t.Errorf("read back: %q %q %s", blob, mediaType, manifest)
	}
	if result.IndexTag != strings.Replace(app.Desc.Digest.String(), ":", "-", 1) {
		t.Errorf("the index is %q", result.IndexTag)
	}
}

// The figures are those of docs/guarantees.md.
func TestRequestsOfAPush(t *testing.T) {
	for _, c := range []struct {
		name               string
		kind               func() (*testenv.Registry, error)
		first, next, looks int
	}{
		{"referrers API", testenv.NewRegistry, 5, 2, 0},
		{"referrers tag schema", testenv.NewTagSchemaRegistry, 7, 4, 1},
		{"docker-registry", testenv.NewDockerRegistry, 9, 5, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			backend := testenv.Start(t, c.kind)
			_, app := image(t, backend.Host, "v1", backend.PushImage)
			p := New(Options{Journal: t.TempDir()})
			for i, want := range []int{c.first, c.next, c.next} {
				before := len(backend.Requests())
				pushOne(t, p, app)
				if made := len(backend.Requests()) - before; made != want {
					t.Errorf("push %d took %d requests, not %d", i, made, want)
				}
			}
			before := len(backend.Requests())
			settleAll(t, p)
			if made := len(backend.Requests()) - before; made != c.looks {
				t.Errorf("the last look took %d requests, not %d", made, c.looks)
			}
			if got := listed(t, app); len(got) != 3 {
				t.Errorf("%d of 3 are listed", len(got))
			}
		})
	}
}

func TestForcedTagSchemaOnARegistryWithTheAPI(t *testing.T) {
	backend := testenv.Start(t, testenv.NewRegistry)
	_, app := image(t, backend.Host, "v1", backend.PushImage)
	p := New(Options{Mode: "true"})
	one, two := pushOne(t, p, app), pushOne(t, p, app)
	settleAll(t, p)
	content, err := (&registryTag{repo: app.Store.TagSchema(), subject: app.Desc.Digest, tag: registry.ReferrersTag(app.Desc.Digest)}).read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if missing := content.index.lacks([]ocispec.Descriptor{one.Manifest, two.Manifest}); one.IndexTag == "" || len(missing) > 0 {
		t.Errorf("index %q lacks %v", one.IndexTag, missing)
	}
	if got := listed(t, app); len(got) != 2 {
		t.Errorf("by the API %v are listed", got)
	}
}

// isIndex reports whether a request is for a referrers index.
func isIndex(r *http.Request) bool { return strings.Contains(r.URL.Path, "/manifests/sha256-") }

// The first answer is lost, and what is sent again is refused: that says nothing
// of the first.
func TestRefusalAfterALostAnswerKeepsTheNote(t *testing.T) {
	backend := testenv.Start(t, testenv.NewTagSchemaRegistry)
	proxy := testenv.Start(t, func() (*registryfaults.Proxy, error) { return registryfaults.New(backend.Host) })
	if _, err := backend.PushImage(t.Context(), "app", "v1"); err != nil {
		t.Fatal(err)
	}
	journal := t.TempDir()
	pusherOfRun := func() (*Pusher, registry.Target) {
		r := registry.New(registry.Options{Username: registryfaults.Username, Password: registry.NewSecret(registryfaults.Password)})
		app, err := r.Resolve(t.Context(), proxy.Host+"/app:v1")
		if err != nil {
			t.Fatal(err)
		}
		return New(Options{Journal: journal}), app
	}
	faults := map[string]registryfaults.Fault{}
	for _, f := range registryfaults.Faults {
		faults[f.Name] = f
	}
	proxy.Inject(registryfaults.Rule{Class: registryfaults.PutManifest, Nth: 1, Times: 1, Fault: faults["504 after"]})
	proxy.Inject(registryfaults.Rule{Class: registryfaults.PutManifest, Nth: 2, Fault: faults["403"]})
	p, app := pusherOfRun()
	lost, err := p.Push(t.Context(), app, []byte("envelope"), mediaTypeCOSE, thumbprints)
	if err == nil {
		t.Fatal("it was refused and says nothing")
	}
	proxy.Heal()
	p, app = pusherOfRun()
	p.journal.opened = time.Now() // as another process
	again := pushOne(t, p, app)
	settleAll(t, p)
	direct := unread(t, backend.Host, "app", app.Desc)
	want := slices.Sorted(slices.Values([]digest.Digest{lost.Manifest.Digest, again.Manifest.Digest}))
	if got := listed(t, direct); !slices.Equal(got, want) {
		t.Errorf("listed are %v, not %v", got, want)
	}
}

// The run is cancelled while the manifest is on its way.
func TestCancelledPushIsFinished(t *testing.T) {
	backend := testenv.Start(t, testenv.NewTagSchemaRegistry)
	ctx, cancel := context.WithCancel(t.Context())
	host := testenv.Front(t, backend, func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/manifests/sha256:") {
			cancel()
		}
		return false
	})
	_, app := image(t, host, "v1", backend.PushImage)
	p := New(Options{})
	result, err := p.Push(ctx, app, []byte("envelope"), mediaTypeCOSE, thumbprints)
	if err != nil {
		t.Fatal(err)
	}
	if errs := p.Settle(ctx); len(errs) > 0 {
		t.Fatal(errs)
	}
	if got := listed(t, app); !slices.Equal(got, []digest.Digest{result.Manifest.Digest}) {
		t.Errorf("listed are %v", got)
	}
	if _, err := p.Push(ctx, app, []byte("another"), mediaTypeCOSE, thumbprints); !errors.Is(err, context.Canceled) {
		t.Errorf("a push after the cancellation: %v", err)
	}
}

func TestFailedIndexIsReported(t *testing.T) {
	backend := testenv.Start(t, testenv.NewTagSchemaRegistry)
	var refuse bool
	host := testenv.Front(t, backend, func(w http.ResponseWriter, r *http.Request) bool {
		if refuse && isIndex(r) && r.Method == http.MethodPut {
			w.WriteHeader(http.StatusForbidden)
			return true
		}
		return false
	})
	_, app := image(t, host, "v1", backend.PushImage)
	refuse = true
	journal := t.TempDir()
	p := New(Options{Journal: journal})
	result, err := p.Push(t.Context(), app, []byte("envelope"), mediaTypeCOSE, nil)
	var unlisted *UnlistedError
	if !errors.As(err, &unlisted) || !strings.Contains(err.Error(), "can't push to ") || !strings.Contains(err.Error(), result.Manifest.Digest.String()) {
		t.Fatalf("push: %v", err)
	}
	refuse = false
	settleAll(t, p)
	if got := listed(t, app); len(got) != 0 {
		t.Errorf("what was reported as not listed is listed: %v", got)
	}

	p = New(Options{Journal: journal})
	p.journal.opened = time.Now() // as another process
	again := pushOne(t, p, app)
	settleAll(t, p)
	if got := listed(t, app); len(got) != 2 || len(again.Warnings) != 1 {
		t.Errorf("listed are %v; the next run said %q", got, again.Warnings)
	}
}

// The look of a cancelled run comes too soon, so the next run must look again.
func TestCancelledRunLeavesItsNotes(t *testing.T) {
	backend := testenv.Start(t, testenv.NewTagSchemaRegistry)
	_, app := image(t, backend.Host, "v1", backend.PushImage)
	journal := t.TempDir()
	p := New(Options{Journal: journal})
	pushOne(t, p, app)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		ctx  context.Context
		left int
	}{{ctx, 1}, {t.Context(), 0}} {
		if errs := p.Settle(c.ctx); len(errs) > 0 {
			t.Fatal(errs)
		}
		if left, err := os.ReadDir(journal); err != nil || len(left) != c.left {
			t.Errorf("%d notes are left, not %d: %v", len(left), c.left, err)
		}
	}
}

// Some registries answer 412 too where a rule makes tags immutable.
func TestImmutableTagIsReportedAtOnce(t *testing.T) {
	backend := testenv.Start(t, testenv.NewTagSchemaRegistry)
	host := testenv.Front(t, backend, func(w http.ResponseWriter, r *http.Request) bool {
		immutable := isIndex(r) && r.Method == http.MethodPut
		if immutable {
			w.WriteHeader(http.StatusPreconditionFailed)
			fmt.Fprint(w, `{"errors":[{"code":"PRECONDITION","message":"the tag is immutable"}]}`)
		}
		return immutable
	})
	_, app := image(t, host, "v1", backend.PushImage)
	start := time.Now()
	_, err := New(Options{}).Push(t.Context(), app, []byte("envelope"), mediaTypeCOSE, nil)
	if err == nil || !strings.Contains(err.Error(), "the tag is immutable") || time.Since(start) > 5*time.Second {
		t.Errorf("after %v: %v", time.Since(start), err)
	}
}

func TestForeignReferrersStayAsTheyAre(t *testing.T) {
	backend := testenv.Start(t, testenv.NewTagSchemaRegistry)
	_, app := image(t, backend.Host, "v1", backend.PushImage)
	other, err := backend.PushImage(t.Context(), "app", "other")
	if err != nil {
		t.Fatal(err)
	}
	foreign := fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d,"artifactType":"application/spdx+json","data":"e30=","x":{"y":[1,2]}}`, other.MediaType, other.Digest, other.Size)
	index := `{"schemaVersion":2,"mediaType":"` + ocispec.MediaTypeImageIndex + `","manifests":[` + foreign + `],"annotations":{"kept":"yes"}}`
	tag := registry.ReferrersTag(app.Desc.Digest)
	if _, err := registry.PutManifest(t.Context(), app.Store.TagSchema(), tag, ocispec.MediaTypeImageIndex, []byte(index), nil); err != nil {
		t.Fatal(err)
	}
	p := New(Options{})
	result := pushOne(t, p, app)
	settleAll(t, p)
	answer, err := registry.GetManifest(t.Context(), app.Store.TagSchema(), tag, ocispec.MediaTypeImageIndex)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(answer.Body); !strings.Contains(got, foreign) || !strings.Contains(got, `"annotations":{"kept":"yes"}`) || !strings.Contains(got, result.Manifest.Digest.String()) {
		t.Errorf("the index is %s", got)
	}
}

func TestTagThatIsNoIndexIsNotWrittenOver(t *testing.T) {
	backend := testenv.Start(t, testenv.NewDockerRegistry)
	_, app := image(t, backend.Host, "v1", backend.PushImage)
	tag := registry.ReferrersTag(app.Desc.Digest)
	if _, err := backend.PushImage(t.Context(), "app", tag); err != nil {
		t.Fatal(err)
	}
	_, err := New(Options{}).Push(t.Context(), app, []byte("envelope"), mediaTypeCOSE, nil)
	var unlisted *UnlistedError
	if !errors.As(err, &unlisted) || !strings.Contains(err.Error(), tag) {
		t.Errorf("push: %v", err)
	}
}

func BenchmarkPush(b *testing.B) {
	for _, kind := range testenv.RegistryKinds {
		b.Run(kind.Name, func(b *testing.B) {
			backend := testenv.Start(b, kind.New)
			r := registry.New(registry.Options{CredentialsFile: os.DevNull})
			p := New(Options{})
			var targets []registry.Target
			for i := range 100 { // an index grows with its signatures, so they are spread
				if _, err := backend.PushImage(b.Context(), "app", fmt.Sprint(i)); err != nil {
					b.Fatal(err)
				}
				app, err := r.Resolve(b.Context(), fmt.Sprintf("%s/app:%d", backend.Host, i))
				if err != nil {
					b.Fatal(err)
				}
				targets = append(targets, app)
			}
			before, pushes := len(backend.Requests()), 0
			for b.Loop() {
				if _, err := p.Push(b.Context(), targets[pushes%len(targets)], fmt.Appendf(nil, "envelope %d", pushes), mediaTypeCOSE, thumbprints); err != nil {
					b.Fatal(err)
				}
				pushes++
			}
			b.ReportMetric(float64(len(backend.Requests())-before)/float64(pushes), "requests/op")
			before, start := len(backend.Requests()), time.Now()
			if errs := p.Settle(b.Context()); len(errs) > 0 {
				b.Fatal(errs)
			}
			b.ReportMetric(float64(len(backend.Requests())-before), "last-requests")
			b.ReportMetric(float64(time.Since(start).Milliseconds()), "last-ms")
		})
	}
}

func TestRefusedPushSaysWhatLacks(t *testing.T) {
	backend := testenv.Start(t, testenv.NewTagSchemaRegistry)
	host := testenv.Front(t, backend, func(w http.ResponseWriter, r *http.Request) bool {
		refused := r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/blobs/uploads/") && r.Header.Get("User-Agent") == "test/1"
		if refused {
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, `{"errors":[{"code":"DENIED","message":"permission_denied: write_package"}]}`)
		}
		return refused
	})
	if _, err := backend.PushImage(t.Context(), "app", "v1"); err != nil {
		t.Fatal(err)
	}
	r := registry.New(registry.Options{CredentialsFile: os.DevNull, UserAgent: "test/1"})
	app, err := r.Resolve(t.Context(), host+"/app:v1")
	if err != nil {
		t.Fatal(err)
	}
	_, err = New(Options{}).Push(t.Context(), app, []byte("envelope"), mediaTypeCOSE, nil)
	for _, phrase := range []string{"can't push to ", "403", "the right to push", "write_package", "credentials"} {
		if err == nil || !strings.Contains(err.Error(), phrase) {
			t.Errorf("the error does not say %q: %v", phrase, err)
		}
	}
}
