// SPDX-License-Identifier: Apache-2.0

package publish

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// FuzzReferrersIndex holds that an index that gets another entry keeps all that
// others put into it, in their order and with the members that are unknown here,
// and lists the new one in the end.
func FuzzReferrersIndex(f *testing.F) {
	for _, seed := range []string{
		`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"digest":"sha256:1","size":1,"annotations":{"a": "<&>\u003c"},"x":1e400}],"later":{"<&>": "<&>"},"annotations":{"a":"<&>"}}`,
		`{}`, `null`, `{"manifests":null}`, `{"manifests":[null,5,"x",[],{}]}`, `{"manifests":[],"annotations":{"a":"b"},"subject":{"digest":"sha256:2"},"artifactType":"a/b"}`,
		`{"manifests":[],"org.example.later":{"deep":[1,2.50]}}`, `{"schemaVersion":1,"manifests":[{"digest":"sha256:1"},{"digest":"sha256:1"}]}`, `{"annotations":null}`,
	} {
		f.Add([]byte(seed))
	}
	entry := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString("signature"), Size: 9}
	f.Fuzz(func(t *testing.T, body []byte) {
		var index referrersIndex
		if err := json.Unmarshal(body, &index); err != nil {
			return
		}
		content, err := index.with([]ocispec.Descriptor{entry})
		if err != nil {
			t.Fatal(err)
		}
		var next referrersIndex
		if err := json.Unmarshal(content, &next); err != nil {
			t.Fatal(err)
		}
		if missing := next.lacks([]ocispec.Descriptor{entry}); len(missing) > 0 || len(next.Manifests) != len(index.Manifests)+1 {
			t.Fatalf("%s became %s", body, content)
		}
		for i, before := range index.Manifests {
			if !sameText(t, before, next.Manifests[i]) {
				t.Errorf("entry %s became %s", before, next.Manifests[i])
			}
		}
		if again, err := next.with(nil); err != nil || !bytes.Equal(again, content) {
			t.Errorf("%s became %s, %v", content, again, err)
		}
		var was, is map[string]json.RawMessage
		if json.Unmarshal(body, &was) != nil || json.Unmarshal(content, &is) != nil {
			return // null is an empty index
		}
		for name, value := range was {
			isMember := func(member string) bool { return strings.EqualFold(name, member) }
			if !slices.ContainsFunc(indexMembers, isMember) && (is[name] == nil || !sameText(t, value, is[name])) {
				t.Errorf("%s: %s became %s", name, value, is[name])
			}
		}
		for _, member := range [][2]json.RawMessage{{index.Subject, next.Subject}, {index.Annotations, next.Annotations}} {
			if len(member[0]) > 0 && !sameText(t, member[0], member[1]) {
				t.Errorf("%s became %s", member[0], member[1])
			}
		}
		if next.ArtifactType != index.ArtifactType {
			t.Errorf("artifact type %q became %q", index.ArtifactType, next.ArtifactType)
		}
	})
}

// sameText compares JSON texts, all but the blanks between.
func sameText(t *testing.T, a, b []byte) bool {
	t.Helper()
	var texts [2]bytes.Buffer
	for i, text := range [][]byte{a, b} {
		if err := json.Compact(&texts[i], text); err != nil {
			t.Fatal(err)
		}
	}
	return texts[0].String() == texts[1].String()
}
