// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

func TestReferenceIsResolvedOnce(t *testing.T) {
	registry := testenv.Start(t, testenv.NewRegistry)
	r, byTag := pushedImage(t, registry.Host, "v1", registry.PushImage)
	pushed := byTag.Desc
	if byTag.Tag != "v1" || byTag.Desc.Digest.String() != pushed.Digest.String() || byTag.Text != registry.Host+"/app:v1" {
		t.Errorf("by tag: %+v", byTag)
	}
	for _, text := range []string{
		registry.Host + "/app@" + pushed.Digest.String(),
		registry.Host + "/app:ignored@" + pushed.Digest.String(),
	} {
		before := len(registry.Requests())
		byDigest, err := r.Resolve(t.Context(), text)
		if err != nil {
			t.Fatal(err)
		}
		if byDigest.Tag != "" || byDigest.Desc.Digest != pushed.Digest || byDigest.Desc.Size != pushed.Size || byDigest.Store != byTag.Store {
			t.Errorf("%s: %+v", text, byDigest)
		}
		if made := len(registry.Requests()) - before; made != 1 {
			t.Errorf("%s took %d requests", text, made)
		}
	}
	for _, text := range []string{"app:v1", registry.Host + "/app", registry.Host + "/app:none", registry.Host + "/app@sha256:00", "bad host/app:v1"} {
		if _, err := r.Resolve(t.Context(), text); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// What is signed is what the manifest is, with or without a mediaType in it.
func TestManifestToSignIsWhatItsMembersSay(t *testing.T) {
	const image, index = ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageIndex
	for _, c := range []struct {
		body, called string
		good         bool
	}{
		{`{"schemaVersion":2,"config":{},"layers":[]}`, image, true},
		{`{"schemaVersion":2,"config":{},"layers":[]}`, mediaTypeDockerManifest, true},
		{`{"schemaVersion":2,"config":{},"layers":[]}`, index, false},
		{`{"schemaVersion":2,"manifests":[]}`, index, true},
		{`{"schemaVersion":2,"manifests":[]}`, mediaTypeDockerList, true},
		{`{"schemaVersion":2,"manifests":[]}`, image, false},
		{`{"schemaVersion":2}`, image, false},
		{`{"config":{},"layers":[]}`, image, false},
		{`{"schemaVersion":2,"manifests":[],"layers":[]}`, index, false},
		{`{"schemaVersion":2,"mediaType":"` + index + `","manifests":[],"config":{}}`, index, false},
		{`{"schemaVersion":2,"mediaType":"` + image + `","manifests":[],"config":{},"layers":[]}`, image, false},
		{`{"schemaVersion":2,"mediaType":"` + image + `","config":{},"layers":[]}`, index, false},
		{`{"schemaVersion":2,"mediaType":"` + MediaTypeArtifactManifest + `","blobs":[]}`, MediaTypeArtifactManifest, true},
	} {
		host := testenv.ServeRegistry(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", c.called)
			fmt.Fprint(w, c.body)
		}))
		r := New(Options{CredentialsFile: os.DevNull, Signing: true})
		found, err := r.Resolve(t.Context(), host+"/app:v1")
		if (err == nil) != c.good || c.good && found.Desc.MediaType != c.called {
			t.Errorf("%s, called a %s: %s, %v", c.body, c.called, found.Desc.MediaType, err)
		}
	}
}

// pushIndex pushes an index of manifests.
func pushIndex(t *testing.T, to Target, tag string, manifests ...ocispec.Descriptor) ocispec.Descriptor {
	t.Helper()
	index := ocispec.Index{MediaType: ocispec.MediaTypeImageIndex, Manifests: manifests}
	index.SchemaVersion = 2
	content, err := json.Marshal(index)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := PutManifest(t.Context(), to.Store.TagSchema(), tag, index.MediaType, content, nil); err != nil {
		t.Fatal(err)
	}
	return DescriptorOf(index.MediaType, content)
}

func TestIndexIsWalkedWhole(t *testing.T) {
	registry := testenv.Start(t, testenv.NewRegistry)
	r, a := pushedImage(t, registry.Host, "a", registry.PushImage)
	_, b := pushedImage(t, registry.Host, "b", registry.PushImage)
	_, c := pushedImage(t, registry.Host, "c", registry.PushImage)
	described := b.Desc // what an index adds is no part of what is signed
	described.Platform = &ocispec.Platform{OS: "linux", Architecture: "arm64"}
	described.Annotations = map[string]string{"x": "y"}
	inner := pushIndex(t, a, "inner", described, c.Desc)
	pushIndex(t, a, "outer", a.Desc, inner, described)

	outer, err := r.Resolve(t.Context(), registry.Host+"/app:outer")
	if err != nil {
		t.Fatal(err)
	}
	children, err := outer.Children(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var found []digest.Digest
	for _, child := range children {
		found = append(found, child.Desc.Digest)
		if child.Desc.Platform != nil || child.Desc.Annotations != nil || child.Desc.Size == 0 {
			t.Errorf("descriptor to sign: %+v", child.Desc)
		}
		if child.Parent == nil || child.Text != child.String() {
			t.Errorf("child: %+v", child)
		}
	}
	if want := []digest.Digest{a.Desc.Digest, inner.Digest, b.Desc.Digest, c.Desc.Digest}; fmt.Sprint(found) != fmt.Sprint(want) {
		t.Errorf("found %v, not %v", found, want)
	}
	if none, err := a.Children(t.Context()); err != nil || len(none) != 0 {
		t.Errorf("below an image: %v, %v", none, err)
	}
}

// What an index calls its entries must not keep them from being signed, and
// verified.
func TestIndexIsWalkedWholeWhateverItsEntriesAreCalled(t *testing.T) {
	registry := testenv.Start(t, testenv.NewRegistry)
	r, a := pushedImage(t, registry.Host, "a", registry.PushImage)
	var entries []ocispec.Descriptor
	want := map[digest.Digest]bool{}
	for i, mediaType := range []string{
		"", ocispec.MediaTypeImageManifest + "; charset=utf-8", "application/vnd.docker.distribution.manifest.v1+prettyjws",
		MediaTypeArtifactManifest, "application/x",
	} {
		_, found := pushedImage(t, registry.Host, fmt.Sprint(i), registry.PushImage)
		want[found.Desc.Digest] = true
		found.Desc.MediaType = mediaType
		entries = append(entries, found.Desc)
	}
	inner := pushIndex(t, a, "inner", a.Desc) // is called an image
	want[a.Desc.Digest], want[inner.Digest] = true, true
	inner.MediaType = ocispec.MediaTypeImageManifest
	content, err := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": ocispec.MediaTypeImageIndex, "manifests": append(entries, inner)})
	if err != nil {
		t.Fatal(err)
	}
	outer := DescriptorOf(ocispec.MediaTypeImageIndex, content)
	called := outer.MediaType // in the registry's headers
	host := testenv.Front(t, registry, func(w http.ResponseWriter, req *http.Request) bool {
		ours := strings.HasSuffix(req.URL.Path, "/manifests/outer") || strings.HasSuffix(req.URL.Path, outer.Digest.String())
		if ours {
			w.Header().Set("Content-Type", called)
			w.Header().Set("Docker-Content-Digest", outer.Digest.String())
			w.Header().Set("Content-Length", fmt.Sprint(len(content)))
			w.Write(content)
		}
		return ours
	})
	below := func() ([]Target, error) {
		root, err := r.Resolve(t.Context(), host+"/app:outer")
		if err != nil {
			t.Fatal(err)
		}
		return root.Children(t.Context())
	}
	children, err := below()
	if err != nil {
		t.Fatal(err)
	}
	for _, child := range children {
		if !want[child.Desc.Digest] {
			t.Errorf("found %s", child)
		}
		delete(want, child.Desc.Digest)
	}
	if len(want) > 0 {
		t.Errorf("left out: %v", want)
	}
	for _, called = range []string{ocispec.MediaTypeImageManifest, mediaTypeDockerList} {
		if children, err := below(); err == nil || !strings.Contains(err.Error(), "calls it") {
			t.Errorf("an index that is called a %q: %v, %v", called, children, err)
		}
	}
}

// An index of many platforms often comes without all of its manifests.
func TestMissingChildIsNamedAndHidesNoOther(t *testing.T) {
	registry := testenv.Start(t, testenv.NewRegistry)
	r, a := pushedImage(t, registry.Host, "a", registry.PushImage)
	_, b := pushedImage(t, registry.Host, "b", registry.PushImage)
	pushIndex(t, a, "index", a.Desc, b.Desc)
	index, err := r.Resolve(t.Context(), registry.Host+"/app:index")
	if err != nil {
		t.Fatal(err)
	}
	host := testenv.Front(t, registry, func(w http.ResponseWriter, req *http.Request) bool {
		gone := strings.Contains(req.URL.Path, a.Desc.Digest.String())
		if gone {
			w.WriteHeader(http.StatusNotFound)
		}
		return gone
	})
	if index, err = r.Resolve(t.Context(), host+"/app@"+index.Desc.Digest.String()); err != nil {
		t.Fatal(err)
	}
	children, err := index.Children(t.Context())
	if err == nil || !strings.Contains(err.Error(), a.Desc.Digest.String()) {
		t.Errorf("error: %v", err)
	}
	if len(children) != 1 || children[0].Desc.Digest != b.Desc.Digest {
		t.Errorf("children: %v", children)
	}
}

func TestWalkIsBounded(t *testing.T) {
	registry := testenv.Start(t, testenv.NewRegistry)
	r, a := pushedImage(t, registry.Host, "a", registry.PushImage)
	nested := a.Desc
	for i := range MaxDepth + 2 {
		nested = pushIndex(t, a, fmt.Sprintf("nested%d", i), nested)
	}
	deep, err := r.Resolve(t.Context(), registry.Host+"/app@"+nested.Digest.String())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := deep.Children(t.Context()); err == nil || !strings.Contains(err.Error(), "nested deeper") {
		t.Errorf("deep: %v", err)
	}

	var many []ocispec.Descriptor
	for i := range maxChildren + 1 {
		many = append(many, ocispec.Descriptor{
			MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString(fmt.Sprint(i)), Size: 100, ArtifactType: ArtifactTypeSignature,
		})
	}
	content, err := json.Marshal(ocispec.Index{MediaType: ocispec.MediaTypeImageIndex, Manifests: many})
	if err != nil {
		t.Fatal(err)
	}
	host := testenv.Front(t, registry, func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
		w.Header().Set("Docker-Content-Digest", digest.FromBytes(content).String())
		w.Header().Set("Content-Length", fmt.Sprint(len(content)))
		w.Write(content)
		return true
	})
	wide, err := r.Resolve(t.Context(), host+"/app:wide")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := wide.Children(t.Context()); err == nil || !strings.Contains(err.Error(), "more than 1000") {
		t.Errorf("wide: %v", err)
	}
}

// referrersOf answers requests for referrers by an answer of the test's.
func referrersOf(t *testing.T, answer func(w http.ResponseWriter, r *http.Request)) (*Client, Target) {
	registry := testenv.Start(t, testenv.NewRegistry)
	host := testenv.Front(t, registry, func(w http.ResponseWriter, r *http.Request) bool {
		asked := strings.Contains(r.URL.Path, "/referrers/")
		if asked {
			w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
			answer(w, r)
		}
		return asked
	})
	return pushedImage(t, host, "v1", registry.PushImage)
}

func TestReferrersAreBounded(t *testing.T) {
	testenv.Long(t, "lists as much as may be listed")
	page := func(n int) []byte {
		var manifests []ocispec.Descriptor
		for i := range n {
			manifests = append(manifests, ocispec.Descriptor{
				MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString(fmt.Sprint(i)), Size: 100, ArtifactType: ArtifactTypeSignature,
			})
		}
		content, err := json.Marshal(ocispec.Index{Manifests: manifests})
		if err != nil {
			t.Fatal(err)
		}
		return content
	}
	t.Run("more than asked for", func(t *testing.T) {
		r, app := referrersOf(t, func(w http.ResponseWriter, _ *http.Request) { w.Write(page(30)) })
		found, err := r.Signatures(t.Context(), app, 20)
		if _, tooMany := err.(*TooManySignaturesError); !tooMany || len(found) != 20 {
			t.Errorf("%d, %v", len(found), err)
		}
		if found, err = r.Signatures(t.Context(), app, 30); err != nil || len(found) != 30 {
			t.Errorf("%d, %v", len(found), err)
		}
	})
	t.Run("100,000 at once", func(t *testing.T) {
		huge := page(100_000)
		r, app := referrersOf(t, func(w http.ResponseWriter, _ *http.Request) { w.Write(huge) })
		if found, err := r.Signatures(t.Context(), app, 100); err == nil {
			t.Errorf("%d without an error", len(found))
		}
	})
	t.Run("pages for ever", func(t *testing.T) {
		r, app := referrersOf(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Link", `<`+r.URL.Path+`?n=1>; rel="next"`)
			w.Write([]byte(`{"manifests":[]}`))
		})
		if _, err := r.Signatures(t.Context(), app, 100); err == nil || !strings.Contains(err.Error(), "pages") {
			t.Errorf("error: %v", err)
		}
	})
	t.Run("a stream without end", func(t *testing.T) {
		r, app := referrersOf(t, func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := w.Write([]byte(" ")); err != nil {
					return
				}
				w.(http.Flusher).Flush()
				time.Sleep(time.Millisecond)
			}
		})
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		if _, err := r.Signatures(ctx, app, 100); err == nil {
			t.Error("no error")
		}
	})
}

// FuzzListings holds that what an index lists is what everybody reads in it, by
// digests that are some, and that what is no index lists nothing.
func FuzzListings(f *testing.F) {
	one := `{"mediaType":"` + ocispec.MediaTypeImageManifest + `","digest":"` + digest.FromString("one").String() + `","size":3,"platform":{"os":"linux"}}`
	for _, body := range []string{
		`{"manifests":[` + one + `,` + one + `]}`, `{"manifests":[{"digest":"sha256:../../x"}]}`, `{"manifests":[null]}`, `{"manifests":null}`, `{}`, `null`, `[]`, ``,
		`{"mediaType":"` + ocispec.MediaTypeImageIndex + `","manifests":[` + one + `]}`, `{"mediaType":"` + ocispec.MediaTypeImageManifest + `","manifests":[` + one + `]}`,
		`{"manifests":[` + one + `]}{}`, `{"manifests":{"a":1}}`, `{"manifests":[{"digest":"` + digest.SHA512.FromString("one").String() + `"}]}`,
	} {
		f.Add([]byte(body), byte(0))
		f.Add([]byte(body), byte(1))
	}
	types := []string{ocispec.MediaTypeImageIndex, ocispec.MediaTypeImageManifest, mediaTypeDockerList, "text/plain"}
	f.Fuzz(func(t *testing.T, body []byte, which byte) {
		mediaType := types[int(which)%len(types)]
		list, err := listings(mediaType, body)
		if err != nil {
			if list != nil {
				t.Errorf("%+v beside the error %v", list, err)
			}
			return
		}
		var index ocispec.Index
		wrong := json.Unmarshal(body, &index)
		if index.MediaType != "" && index.MediaType != mediaType || !isIndexType(mediaType) && len(list) > 0 {
			t.Errorf("a %s, called %s, lists %+v", index.MediaType, mediaType, list)
		}
		if wrong == nil && len(index.Manifests) != len(list) {
			t.Errorf("%d are listed, %d read", len(index.Manifests), len(list))
		}
		for _, listed := range list {
			if parsed, err := digest.Parse(string(listed.Digest)); err != nil || parsed != listed.Digest {
				t.Errorf("%+v is listed, %v", listed, err)
			}
		}
	})
}
