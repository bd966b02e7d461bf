// SPDX-License-Identifier: Apache-2.0

package action

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/content/memory"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/registryfaults"
)

const mediaTypeCOSE = "application/cose"

// thumbprints are the annotations that a signature comes with.
var thumbprints = map[string]string{"io.cncf.notary.x509chain.thumbprint#S256": `["` + strings.Repeat("0", 64) + `"]`}

// image pushes an image and resolves it with a client of the test's own.
func image(t *testing.T, host, tag string, push func(ctx context.Context, repository, tag string) (ocispec.Descriptor, error)) (*registries, target) {
	t.Helper()
	if _, err := push(t.Context(), "app", tag); err != nil {
		t.Fatal(err)
	}
	r := newRegistries(registryOptions{credentialsFile: t.TempDir() + "/config.json"})
	found, err := r.resolve(t.Context(), host+"/app:"+tag)
	if err != nil {
		t.Fatal(err)
	}
	return r, found
}

// pushOne pushes a signature that no other is like.
func pushOne(t *testing.T, p *pusher, to target) pushed {
	t.Helper()
	result, err := p.push(t.Context(), to, fmt.Appendf(nil, "envelope %d", time.Now().UnixNano()), mediaTypeCOSE, thumbprints)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func settleAll(t *testing.T, p *pusher) {
	t.Helper()
	if errs := p.settle(t.Context()); len(errs) > 0 {
		t.Fatal(errors.Join(errs...))
	}
}

// listed are the signatures that a reader of the registry finds, sorted.
func listed(t *testing.T, of target) []digest.Digest {
	t.Helper()
	r := newRegistries(registryOptions{credentialsFile: t.TempDir() + "/config.json"})
	of, err := r.resolve(t.Context(), of.String())
	if err != nil {
		t.Fatal(err)
	}
	found, err := r.signatures(t.Context(), of, 10_000)
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
	registry := testenv.Start(t, testenv.NewTagSchemaRegistry)
	r, app := image(t, registry.Host, "v1", registry.PushImage)
	annotations := map[string]string{"io.cncf.notary.x509chain.thumbprint#S256": `["00"]`, ocispec.AnnotationCreated: "2026-01-02T03:04:05Z"}
	p := newPusher(pushOptions{registries: r})
	result, err := p.push(t.Context(), app, []byte("envelope"), mediaTypeCOSE, annotations)
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
		Subject:             &app.desc,
		ManifestAnnotations: annotations,
		Layers:              []ocispec.Descriptor{layer},
		ConfigDescriptor:    &signatureConfig,
	})
	if err != nil {
		t.Fatal(err)
	}
	if result.manifest.Digest != want.Digest {
		t.Errorf("the manifest is %s, and notation's %s", result.manifest.Digest, want.Digest)
	}

	// What a reader gets is what was pushed, and the entry is complete.
	found, err := r.signatures(t.Context(), app, 10)
	if err != nil {
		t.Fatal(err)
	}
	if len(found) != 1 || found[0].ArtifactType != artifactTypeNotation || found[0].Annotations["io.cncf.notary.x509chain.thumbprint#S256"] != `["00"]` {
		t.Fatalf("listed: %+v", found)
	}
	blob, mediaType, err := readBack(t, r, app, found[0])
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := content.FetchAll(t.Context(), app.repo.Manifests(), found[0])
	if err != nil {
		t.Fatal(err)
	}
	if string(blob) != "envelope" || mediaType != mediaTypeCOSE || !strings.Contains(string(manifest), `"2026-01-02T03:04:05Z"`) {
		t.Errorf("read back: %q %q %s", blob, mediaType, manifest)
	}
	if result.index != strings.Replace(app.desc.Digest.String(), ":", "-", 1) {
		t.Errorf("the index is %q", result.index)
	}
}

// The figures are those of docs/guarantees.md.
func TestRequestsOfAPush(t *testing.T) {
	for _, c := range []struct {
		name               string
		kind               func() (*testenv.Registry, error)
		first, next, looks int
	}{
		{"referrers API", testenv.NewRegistry, 6, 3, 0},
		{"referrers tag schema", testenv.NewTagSchemaRegistry, 8, 5, 1},
		{"docker-registry", testenv.NewDockerRegistry, 8, 5, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			registry := testenv.Start(t, c.kind)
			r, app := image(t, registry.Host, "v1", registry.PushImage)
			p := newPusher(pushOptions{registries: r, journal: t.TempDir()})
			for i, want := range []int{c.first, c.next, c.next} {
				before := len(registry.Requests())
				pushOne(t, p, app)
				if made := len(registry.Requests()) - before; made != want {
					t.Errorf("push %d took %d requests, not %d", i, made, want)
				}
			}
			before := len(registry.Requests())
			settleAll(t, p)
			if made := len(registry.Requests()) - before; made != c.looks {
				t.Errorf("the last look took %d requests, not %d", made, c.looks)
			}
			if got := listed(t, app); len(got) != 3 {
				t.Errorf("%d of 3 are listed", len(got))
			}
		})
	}
}

func TestForcedTagSchemaOnARegistryWithTheAPI(t *testing.T) {
	registry := testenv.Start(t, testenv.NewRegistry)
	r, app := image(t, registry.Host, "v1", registry.PushImage)
	p := newPusher(pushOptions{registries: r, mode: "true"})
	one, two := pushOne(t, p, app), pushOne(t, p, app)
	settleAll(t, p)
	content, err := (&registryTag{repo: app.repo, subject: app.desc.Digest}).read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if missing := content.index.lacks([]ocispec.Descriptor{one.manifest, two.manifest}); one.index == "" || len(missing) > 0 {
		t.Errorf("index %q lacks %v", one.index, missing)
	}
}

// isIndex reports whether a request is for a referrers index.
func isIndex(r *http.Request) bool { return strings.Contains(r.URL.Path, "/manifests/sha256-") }

// The first answer is lost, and what is sent again is refused: that says nothing
// of the first.
func TestRefusalAfterALostAnswerKeepsTheNote(t *testing.T) {
	registry := testenv.Start(t, testenv.NewTagSchemaRegistry)
	proxy := testenv.Start(t, func() (*registryfaults.Proxy, error) { return registryfaults.New(registry.Host) })
	if _, err := registry.PushImage(t.Context(), "app", "v1"); err != nil {
		t.Fatal(err)
	}
	journal := t.TempDir()
	pusherOfRun := func() (*pusher, target) {
		r := newRegistries(registryOptions{username: registryfaults.Username, password: newSecret(registryfaults.Password)})
		app, err := r.resolve(t.Context(), proxy.Host+"/app:v1")
		if err != nil {
			t.Fatal(err)
		}
		return newPusher(pushOptions{registries: r, journal: journal}), app
	}
	faults := map[string]registryfaults.Fault{}
	for _, f := range registryfaults.Faults {
		faults[f.Name] = f
	}
	proxy.Inject(registryfaults.Rule{Class: registryfaults.PutManifest, Nth: 1, Times: 1, Fault: faults["504 after"]})
	proxy.Inject(registryfaults.Rule{Class: registryfaults.PutManifest, Nth: 2, Fault: faults["403"]})
	p, app := pusherOfRun()
	lost, err := p.push(t.Context(), app, []byte("envelope"), mediaTypeCOSE, thumbprints)
	if err == nil {
		t.Fatal("it was refused and says nothing")
	}
	proxy.Heal()
	p, app = pusherOfRun()
	p.journal.opened = time.Now() // as another process
	again := pushOne(t, p, app)
	settleAll(t, p)
	direct := app
	direct.ref.Registry = registry.Host
	want := slices.Sorted(slices.Values([]digest.Digest{lost.manifest.Digest, again.manifest.Digest}))
	if got := listed(t, direct); !slices.Equal(got, want) {
		t.Errorf("listed are %v, not %v", got, want)
	}
}

// The run is cancelled while the manifest is on its way.
func TestCancelledPushIsFinished(t *testing.T) {
	registry := testenv.Start(t, testenv.NewTagSchemaRegistry)
	ctx, cancel := context.WithCancel(t.Context())
	host := testenv.Front(t, registry, func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/manifests/sha256:") {
			cancel()
		}
		return false
	})
	r, app := image(t, host, "v1", registry.PushImage)
	p := newPusher(pushOptions{registries: r})
	result, err := p.push(ctx, app, []byte("envelope"), mediaTypeCOSE, thumbprints)
	if err != nil {
		t.Fatal(err)
	}
	if errs := p.settle(ctx); len(errs) > 0 {
		t.Fatal(errs)
	}
	if got := listed(t, app); !slices.Equal(got, []digest.Digest{result.manifest.Digest}) {
		t.Errorf("listed are %v", got)
	}
	if _, err := p.push(ctx, app, []byte("another"), mediaTypeCOSE, thumbprints); !errors.Is(err, context.Canceled) {
		t.Errorf("a push after the cancellation: %v", err)
	}
}

func TestFailedIndexIsReported(t *testing.T) {
	registry := testenv.Start(t, testenv.NewTagSchemaRegistry)
	var refuse bool
	host := testenv.Front(t, registry, func(w http.ResponseWriter, r *http.Request) bool {
		if refuse && isIndex(r) && r.Method == http.MethodPut {
			w.WriteHeader(http.StatusForbidden)
			return true
		}
		return false
	})
	r, app := image(t, host, "v1", registry.PushImage)
	refuse = true
	journal := t.TempDir()
	p := newPusher(pushOptions{registries: r, journal: journal})
	result, err := p.push(t.Context(), app, []byte("envelope"), mediaTypeCOSE, nil)
	var unlisted *unlistedError
	var access *accessError
	if !errors.As(err, &unlisted) || !errors.As(err, &access) || !strings.Contains(err.Error(), result.manifest.Digest.String()) {
		t.Fatalf("push: %v", err)
	}
	refuse = false
	settleAll(t, p)
	if got := listed(t, app); len(got) != 0 {
		t.Errorf("what was reported as not listed is listed: %v", got)
	}

	p = newPusher(pushOptions{registries: r, journal: journal})
	p.journal.opened = time.Now() // as another process
	again := pushOne(t, p, app)
	settleAll(t, p)
	if got := listed(t, app); len(got) != 2 || len(again.warnings) != 1 {
		t.Errorf("listed are %v; the next run said %q", got, again.warnings)
	}
}

// An index write must not be repeated as it is: what it would write over may be
// newer by then.
func TestIndexIsReadAgainAfterABusyAnswer(t *testing.T) {
	registry := testenv.Start(t, testenv.NewTagSchemaRegistry)
	var mu sync.Mutex
	var requests []string
	busy := 2
	host := testenv.Front(t, registry, func(w http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		if !isIndex(r) {
			return false
		}
		requests = append(requests, r.Method)
		if r.Method == http.MethodPut && busy > 0 {
			busy--
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
			return true
		}
		return false
	})
	r, app := image(t, host, "v1", registry.PushImage)
	start := time.Now()
	p := newPusher(pushOptions{registries: r})
	pushOne(t, p, app)
	if got := strings.Join(requests, " "); got != "GET PUT GET PUT GET PUT" {
		t.Errorf("requests: %s", got)
	}
	if took := time.Since(start); took < 2*time.Second {
		t.Errorf("it did not wait as long as it was asked to, but %v", took)
	}
	settleAll(t, p)
}

// While a token is fetched for the write, another writer adds an entry.
func TestIndexIsReadAgainAfterATokenWasFetched(t *testing.T) {
	for _, c := range []struct {
		name, scope string
	}{
		{"a token that expired", "repository:app:pull,push"},
		{"a registry that asks each time", "repository:app:*"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			registry := testenv.Start(t, testenv.NewDockerRegistry)
			var writes atomic.Int64 // that got through
			var between sync.Once
			var another func()
			host := testenv.Front(t, registry, func(w http.ResponseWriter, r *http.Request) bool {
				switch {
				case r.URL.Path == "/token":
					between.Do(another)
					fmt.Fprint(w, `{"token":"new"}`)
					return true
				case isIndex(r) && r.Method == http.MethodPut && r.Header.Get("Authorization") == "":
					w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="http://%s/token",service="x",scope=%q`, r.Host, c.scope))
					w.WriteHeader(http.StatusUnauthorized)
					return true
				case isIndex(r) && r.Method == http.MethodPut:
					writes.Add(1)
				}
				return false
			})
			r, app := image(t, host, "v1", registry.PushImage)
			other, direct := image(t, registry.Host, "v1", registry.PushImage)
			var theirs pushed
			another = func() { theirs = pushOne(t, newPusher(pushOptions{registries: other}), direct) }
			p := newPusher(pushOptions{registries: r})
			ours := pushOne(t, p, app)
			want := []digest.Digest{ours.manifest.Digest, theirs.manifest.Digest}
			slices.Sort(want)
			if got := listed(t, direct); !slices.Equal(got, want) {
				t.Errorf("listed are %v, not %v", got, want)
			}
			if writes.Load() != 1 {
				t.Errorf("%d writes", writes.Load())
			}
			settleAll(t, p)
		})
	}
}

// The look of a cancelled run comes too soon, so the next run must look again.
func TestCancelledRunLeavesItsNotes(t *testing.T) {
	registry := testenv.Start(t, testenv.NewTagSchemaRegistry)
	r, app := image(t, registry.Host, "v1", registry.PushImage)
	journal := t.TempDir()
	p := newPusher(pushOptions{registries: r, journal: journal})
	pushOne(t, p, app)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		ctx  context.Context
		left int
	}{{ctx, 1}, {t.Context(), 0}} {
		if errs := p.settle(c.ctx); len(errs) > 0 {
			t.Fatal(errs)
		}
		if left, err := os.ReadDir(journal); err != nil || len(left) != c.left {
			t.Errorf("%d notes are left, not %d: %v", len(left), c.left, err)
		}
	}
}

// Another writer comes between our read and our write, and never looks again. A
// registry that honours conditional requests tells us.
func TestConditionalRequestsKeepWhatOthersAdd(t *testing.T) {
	registry := testenv.Start(t, testenv.NewTagSchemaRegistry)
	var mu sync.Mutex
	version, refused := 0, 0 // of the one index
	etag := func() string { return fmt.Sprintf(`"%d"`, version) }
	var between func() // is called once, before our next write
	behind := &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(&url.URL{Scheme: "http", Host: registry.Host}) },
		ModifyResponse: func(resp *http.Response) error {
			resp.Header.Set("ETag", etag())
			return nil
		},
	}
	host := testenv.Front(t, registry, func(w http.ResponseWriter, r *http.Request) bool {
		if !isIndex(r) {
			return false
		}
		mu.Lock()
		defer mu.Unlock()
		if r.Method == http.MethodPut {
			if between != nil {
				between()
				between = nil
				version++
			}
			match, none := r.Header.Get("If-Match"), r.Header.Get("If-None-Match")
			if match != "" && match != etag() || none == "*" && version > 0 {
				refused++
				w.WriteHeader(http.StatusPreconditionFailed)
				return true
			}
			version++
		}
		behind.ServeHTTP(w, r)
		return true
	})
	r, app := image(t, host, "v1", registry.PushImage)
	direct, err := registry.Repository("app")
	if err != nil {
		t.Fatal(err)
	}
	direct.Client = r.client
	p := newPusher(pushOptions{registries: r})
	var want []ocispec.Descriptor
	for i := range 2 { // over no index, and over one
		other, err := registry.PushImage(t.Context(), "app", fmt.Sprintf("other%d", i))
		if err != nil {
			t.Fatal(err)
		}
		between = func() {
			tag := &registryTag{repo: direct, subject: app.desc.Digest, unconditional: true}
			was, err := tag.read(t.Context())
			if err != nil {
				t.Error(err)
			}
			next, err := was.index.with([]ocispec.Descriptor{other})
			if err != nil {
				t.Error(err)
			}
			if err := tag.write(t.Context(), next, was); err != nil {
				t.Error(err)
			}
		}
		want = append(want, other, pushOne(t, p, app).manifest)
	}
	settleAll(t, p)
	found, err := (&registryTag{repo: direct, subject: app.desc.Digest}).read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if missing := found.index.lacks(want); len(missing) > 0 || refused != 2 {
		t.Errorf("%d writes were refused; missing are %v", refused, missing)
	}
}

// A registry, or a proxy before it, that says "changed" when nothing has, must not
// keep us from signing.
func TestBrokenConditionalRequestsAreDoneWithout(t *testing.T) {
	for _, status := range []int{http.StatusPreconditionFailed, http.StatusNotImplemented, http.StatusBadRequest} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			t.Parallel()
			registry := testenv.Start(t, testenv.NewTagSchemaRegistry)
			host := testenv.Front(t, registry, func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method == http.MethodPut && (r.Header.Get("If-Match") != "" || r.Header.Get("If-None-Match") != "") {
					w.WriteHeader(status)
					return true
				}
				return false
			})
			r, app := image(t, host, "v1", registry.PushImage)
			p := newPusher(pushOptions{registries: r})
			pushOne(t, p, app)
			pushOne(t, p, app)
			settleAll(t, p)
			if got := listed(t, app); len(got) != 2 {
				t.Errorf("%d of 2 are listed", len(got))
			}
		})
	}
}

// Some registries answer 412 too where a rule makes tags immutable.
func TestImmutableTagIsReportedAtOnce(t *testing.T) {
	registry := testenv.Start(t, testenv.NewTagSchemaRegistry)
	host := testenv.Front(t, registry, func(w http.ResponseWriter, r *http.Request) bool {
		immutable := isIndex(r) && r.Method == http.MethodPut
		if immutable {
			w.WriteHeader(http.StatusPreconditionFailed)
			fmt.Fprint(w, `{"errors":[{"code":"PRECONDITION","message":"the tag is immutable"}]}`)
		}
		return immutable
	})
	r, app := image(t, host, "v1", registry.PushImage)
	start := time.Now()
	_, err := newPusher(pushOptions{registries: r}).push(t.Context(), app, []byte("envelope"), mediaTypeCOSE, nil)
	if err == nil || !strings.Contains(err.Error(), "the tag is immutable") || time.Since(start) > 5*time.Second {
		t.Errorf("after %v: %v", time.Since(start), err)
	}
}

func TestForeignReferrersStayAsTheyAre(t *testing.T) {
	registry := testenv.Start(t, testenv.NewTagSchemaRegistry)
	r, app := image(t, registry.Host, "v1", registry.PushImage)
	other, err := registry.PushImage(t.Context(), "app", "other")
	if err != nil {
		t.Fatal(err)
	}
	foreign := fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d,"artifactType":"application/spdx+json","data":"e30=","x":{"y":[1,2]}}`, other.MediaType, other.Digest, other.Size)
	index := `{"schemaVersion":2,"mediaType":"` + ocispec.MediaTypeImageIndex + `","manifests":[` + foreign + `],"annotations":{"kept":"yes"}}`
	tag := referrersTag(app.desc.Digest)
	if _, err := putManifest(t.Context(), app.repo, tag, ocispec.MediaTypeImageIndex, []byte(index), nil); err != nil {
		t.Fatal(err)
	}
	p := newPusher(pushOptions{registries: r})
	result := pushOne(t, p, app)
	settleAll(t, p)
	answer, err := getManifest(t.Context(), app.repo, tag, ocispec.MediaTypeImageIndex)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(answer.body); !strings.Contains(got, foreign) || !strings.Contains(got, `"annotations":{"kept":"yes"}`) || !strings.Contains(got, result.manifest.Digest.String()) {
		t.Errorf("the index is %s", got)
	}
}

func TestTagThatIsNoIndexIsNotWrittenOver(t *testing.T) {
	registry := testenv.Start(t, testenv.NewDockerRegistry)
	r, app := image(t, registry.Host, "v1", registry.PushImage)
	tag := referrersTag(app.desc.Digest)
	if _, err := registry.PushImage(t.Context(), "app", tag); err != nil {
		t.Fatal(err)
	}
	_, err := newPusher(pushOptions{registries: r}).push(t.Context(), app, []byte("envelope"), mediaTypeCOSE, nil)
	var unlisted *unlistedError
	if !errors.As(err, &unlisted) || !strings.Contains(err.Error(), tag) {
		t.Errorf("push: %v", err)
	}
}

func BenchmarkPush(b *testing.B) {
	for _, kind := range testenv.RegistryKinds {
		b.Run(kind.Name, func(b *testing.B) {
			registry := testenv.Start(b, kind.New)
			r := newRegistries(registryOptions{credentialsFile: os.DevNull})
			p := newPusher(pushOptions{registries: r})
			var targets []target
			for i := range 100 { // an index grows with its signatures, so they are spread
				if _, err := registry.PushImage(b.Context(), "app", fmt.Sprint(i)); err != nil {
					b.Fatal(err)
				}
				app, err := r.resolve(b.Context(), fmt.Sprintf("%s/app:%d", registry.Host, i))
				if err != nil {
					b.Fatal(err)
				}
				targets = append(targets, app)
			}
			before, pushes := len(registry.Requests()), 0
			for b.Loop() {
				if _, err := p.push(b.Context(), targets[pushes%len(targets)], fmt.Appendf(nil, "envelope %d", pushes), mediaTypeCOSE, thumbprints); err != nil {
					b.Fatal(err)
				}
				pushes++
			}
			b.ReportMetric(float64(len(registry.Requests())-before)/float64(pushes), "requests/op")
			before, start := len(registry.Requests()), time.Now()
			if errs := p.settle(b.Context()); len(errs) > 0 {
				b.Fatal(errs)
			}
			b.ReportMetric(float64(len(registry.Requests())-before), "last-requests")
			b.ReportMetric(float64(time.Since(start).Milliseconds()), "last-ms")
		})
	}
}

func TestRefusedPushSaysWhatLacks(t *testing.T) {
	registry := testenv.Start(t, testenv.NewTagSchemaRegistry)
	host := testenv.Front(t, registry, func(w http.ResponseWriter, r *http.Request) bool {
		refused := r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/blobs/uploads/") && r.Header.Get("User-Agent") == "test/1"
		if refused {
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, `{"errors":[{"code":"DENIED","message":"permission_denied: write_package"}]}`)
		}
		return refused
	})
	if _, err := registry.PushImage(t.Context(), "app", "v1"); err != nil {
		t.Fatal(err)
	}
	r := newRegistries(registryOptions{credentialsFile: os.DevNull, userAgent: "test/1"})
	app, err := r.resolve(t.Context(), host+"/app:v1")
	if err != nil {
		t.Fatal(err)
	}
	_, err = newPusher(pushOptions{registries: r}).push(t.Context(), app, []byte("envelope"), mediaTypeCOSE, nil)
	for _, phrase := range []string{"pushing to", "403", "the right to push", "write_package", "credentials"} {
		if err == nil || !strings.Contains(err.Error(), phrase) {
			t.Errorf("the error does not say %q: %v", phrase, err)
		}
	}
	app.ref.Registry = "ghcr.io"
	if err := (&accessError{403, app.ref, true, true, "none", err}).Error(); !strings.Contains(err, "packages: write") {
		t.Errorf("of ghcr.io it says %q", err)
	}
}
