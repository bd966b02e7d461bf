// SPDX-License-Identifier: Apache-2.0

package action

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/content/oci"

	"github.com/notation-pkcs11/notation-pkcs11/action/report"
	"github.com/notation-pkcs11/notation-pkcs11/testenv"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/pki"
)

const typeSBOM = "application/spdx+json"

// buildLayout is what a build leaves behind: an image of two platforms with an SBOM.
func buildLayout(t *testing.T) (store *oci.Store, folder string, index, sbom ocispec.Descriptor) {
	t.Helper()
	store, folder = testenv.NewLayout(t)
	must := func(desc ocispec.Descriptor, err error) ocispec.Descriptor {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return desc
	}
	var platforms []ocispec.Descriptor
	for _, architecture := range []string{"amd64", "arm64"} {
		platform := must(testenv.PutImage(t.Context(), store, architecture, architecture))
		if err := store.Untag(t.Context(), architecture); err != nil {
			t.Fatal(err)
		}
		platform.Platform = &ocispec.Platform{OS: "linux", Architecture: architecture}
		platforms = append(platforms, platform)
	}
	index = must(testenv.PutIndex(t.Context(), store, "build", platforms...))
	sbom = must(oras.PackManifest(t.Context(), store, oras.PackManifestVersion1_1, typeSBOM, oras.PackManifestOptions{
		Subject: &index, ManifestAnnotations: map[string]string{ocispec.AnnotationCreated: "2026-01-02T03:04:05Z"},
	}))
	return store, folder, index, sbom
}

// tagged is what a tag names; empty: it is not there.
func tagged(t *testing.T, at *testenv.Registry, repository, tag string) digest.Digest {
	t.Helper()
	from, err := at.Repository(repository)
	if err != nil {
		t.Fatal(err)
	}
	found, err := from.Resolve(t.Context(), tag)
	if err != nil && !strings.Contains(err.Error(), "not found") {
		t.Fatal(err)
	}
	return found.Digest
}

// tagWrites are the places in a list of requests at which tags were written.
func tagWrites(requests []testenv.Request) (tags []string, last int) {
	for i, r := range requests {
		name := r.Path[strings.LastIndex(r.Path, "/")+1:]
		switch {
		case r.Method == http.MethodGet || r.Method == http.MethodHead:
		case strings.Contains(r.Path, "/manifests/") && !strings.HasPrefix(name, "sha256"):
			tags, last = append(tags, name), i
		default:
			if len(tags) > 0 {
				tags = append(tags, r.Method+" "+r.Path) // after a tag
			}
		}
	}
	return tags, last
}

// One step takes a build to a tag that can be trusted: all tags are set after
// everything else.
func TestBuildGetsItsTagsLast(t *testing.T) {
	_, folder, index, sbom := buildLayout(t)
	for _, kind := range testenv.RegistryKinds {
		t.Run(kind.Name, func(t *testing.T) {
			w := newRunWorld(t)
			w.registry = testenv.Start(t, kind.New)
			inputs := map[string]string{
				"INPUT_SOURCE":                    "oci-layout:" + testenv.Archive(t, folder, nil) + ":build",
				"INPUT_TARGET_ARTIFACT_REFERENCE": w.registry.Host + "/app:v1",
				"INPUT_TAGS":                      "stable\n" + w.registry.Host + "/mirror/app:v1",
				"INPUT_RECURSIVE":                 "true",
			}
			r := w.run(t, inputs)
			if n := r.report.Count(); r.code != 0 || n.Artifacts != 6 || n.Copied != 2 || n.Signed != 6 || n.Verified != 6 || n.Tagged != 2 {
				t.Fatalf("exit code %d, %+v", r.code, n)
			}
			for repository, tags := range map[string][]string{"app": {"v1", "stable"}, "mirror/app": {"v1"}} {
				for _, tag := range tags {
					if got := tagged(t, w.registry, repository, tag); got != index.Digest {
						t.Errorf("%s:%s names %s", repository, tag, got)
					}
				}
			}
			if tags, _ := tagWrites(r.requests); len(tags) != 3 {
				t.Errorf("the tags, and what was written after them: %q", tags)
			}
			a := r.artifact
			if a.Source == "" || a.Copied == nil || a.Copied.Referrers != 1 || a.Copied.Untagged == "" || len(a.Tags) != 2 || a.Tags[0].Result != report.TagSet {
				t.Errorf("%+v, %+v, %+v", a.Source, a.Copied, a.Tags)
			}
			at, err := w.registry.Repository("app")
			if err != nil {
				t.Fatal(err)
			}
			var found []digest.Digest
			if err := at.Referrers(t.Context(), index, typeSBOM, func(page []ocispec.Descriptor) error {
				for _, d := range page {
					found = append(found, d.Digest)
				}
				return nil
			}); err != nil || !slices.Equal(found, []digest.Digest{sbom.Digest}) {
				t.Errorf("SBOMs %v, %v", found, err)
			}

			// The same again: nothing is sent, and tags that are right are not written.
			again := maps.Clone(inputs)
			again["INPUT_SKIP_SIGNED"] = "true"
			r = w.run(t, again)
			if n := r.report.Count(); r.code != 0 || n.AlreadySigned != 6 || r.artifact.Tags[0].Result != report.TagUnchanged {
				t.Errorf("again: exit code %d, %+v, %+v", r.code, n, r.artifact.Tags)
			}
			if tags, _ := tagWrites(r.requests); len(tags) > 0 {
				t.Errorf("again: %q", tags)
			}
		})
	}
}

// Whatever fails, each tag stays what it was.
func TestTagStaysWhereSomethingFails(t *testing.T) {
	_, folder, index, _ := buildLayout(t)
	w := newRunWorld(t)
	_, before := w.image(t, "app", "v1")
	stranger := pki.New(t, "stranger root", nil, pki.AsAuthority)
	inputs := map[string]string{
		"INPUT_SOURCE":                    "oci:" + folder,
		"INPUT_TARGET_ARTIFACT_REFERENCE": w.registry.Host + "/app:v1\n" + w.registry.Host + "/other/app:v1",
	}
	for name, c := range map[string]struct{ variable, value string }{
		"another artifact": {"INPUT_TARGET_ARTIFACT_REFERENCE", w.registry.Host + "/app:v1\n" + w.registry.Host + "/other/app@" + before.Digest.String()},
		"the policy":       {"INPUT_TRUSTED_CERTIFICATES", string(testenv.EncodePEM(stranger.Cert))},
	} {
		changed := maps.Clone(inputs)
		changed[c.variable] = c.value
		r := w.run(t, changed)
		if r.code == 0 || tagged(t, w.registry, "app", "v1") != before.Digest || tagged(t, w.registry, "other/app", "v1") != "" {
			t.Errorf("%s: exit code %d, %s", name, r.code, tagged(t, w.registry, "app", "v1"))
		}
		if r.code == 1 && (len(r.artifact.Tags) != 1 || r.artifact.Tags[0].Result != report.TagNotSet) {
			t.Errorf("%s: %+v", name, r.artifact.Tags)
		}
	}

	// A target that fails keeps the others of its source from their tags.
	front := testenv.Front(t, w.registry, func(rw http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPost || !strings.HasPrefix(r.URL.Path, "/v2/third/") {
			return false
		}
		rw.WriteHeader(http.StatusForbidden)
		return true
	})
	changed := maps.Clone(inputs)
	changed["INPUT_TARGET_ARTIFACT_REFERENCE"] = front + "/app:v1\n" + front + "/third/app:v1"
	r := w.run(t, changed)
	if r.code != 1 || !strings.Contains(r.artifact.Error, "no tag is set, because "+front+"/third/app:v1 did not pass") || tagged(t, w.registry, "app", "v1") != before.Digest {
		t.Errorf("exit code %d, %q", r.code, r.artifact.Error)
	}
	if !strings.Contains(r.report.Artifacts[1].Error, "at the target: ") {
		t.Errorf("%q", r.report.Artifacts[1].Error)
	}

	// The next run completes it.
	if r := w.run(t, inputs); r.code != 0 || tagged(t, w.registry, "app", "v1") != index.Digest || tagged(t, w.registry, "other/app", "v1") != index.Digest {
		t.Errorf("exit code %d", r.code)
	} else if r.artifact.Tags[0].Before != before.Digest.String() {
		t.Errorf("%+v", r.artifact.Tags)
	}
}

// Tags work without a source: the artifact is signed where it is, and in other
// repositories as well.
func TestTagsOfAnArtifactThatIsThere(t *testing.T) {
	w := newRunWorld(t)
	reference, image := w.image(t, "app", "build-7")
	r := w.run(t, map[string]string{"INPUT_TARGET_ARTIFACT_REFERENCE": reference, "INPUT_TAGS": "v1\n" + w.registry.Host + "/release/app:v1"})
	if n := r.report.Count(); r.code != 0 || n.Signed != 2 || n.Copied != 1 || n.Tagged != 2 {
		t.Fatalf("exit code %d, %+v", r.code, n)
	}
	if tagged(t, w.registry, "app", "v1") != image.Digest || tagged(t, w.registry, "release/app", "v1") != image.Digest {
		t.Error("a tag is missing")
	}
}

// promoted are the inputs of a promotion from staging to release.
func (w *runWorld) promoted(source string) map[string]string {
	return map[string]string{
		"INPUT_MODE":                      "promote",
		"INPUT_KEY_ID":                    "",
		"INPUT_SOURCE":                    source,
		"INPUT_TARGET_ARTIFACT_REFERENCE": w.registry.Host + "/release/app:v1",
		"INPUT_COPY_REFERRERS":            "false", // signatures come along even so
	}
}

func TestSignedArtifactIsPromoted(t *testing.T) {
	for _, kind := range testenv.RegistryKinds {
		t.Run(kind.Name, func(t *testing.T) {
			staging, w := newRunWorld(t), newRunWorld(t)
			w.registry = testenv.Start(t, kind.New)
			w.root, w.signer, w.plugin = staging.root, staging.signer, staging.plugin
			w.env = w.environment()
			reference, image := staging.image(t, "app", "v1")
			if r := staging.run(t, map[string]string{"INPUT_TARGET_ARTIFACT_REFERENCE": reference, "INPUT_MODE": "sign"}); r.code != 0 {
				t.Fatalf("exit code %d", r.code)
			}
			r := w.run(t, w.promoted("docker://"+staging.registry.Host+"/app:v1"))
			a := r.artifact
			if r.code != 0 || a.AtSource == nil || a.AtSource.Verdict != report.Verified || a.Verification == nil || a.Verification.Verdict != report.Verified {
				t.Fatalf("exit code %d, %+v, %+v", r.code, a.AtSource, a.Verification)
			}
			if tagged(t, w.registry, "release/app", "v1") != image.Digest {
				t.Error("it is not tagged")
			}
			if tags, _ := tagWrites(r.requests); len(tags) != 1 {
				t.Errorf("%q", tags)
			}
			if !strings.Contains(r.outputs, "true") {
				t.Errorf("outputs %q", r.outputs)
			}
		})
	}
}

// What is unsigned, expired, or signed by a stranger, is not promoted: nothing of it gets to the
// target.
func TestWhatIsNotTrustedIsNotPromoted(t *testing.T) {
	w := newRunWorld(t)
	unsigned, _ := w.image(t, "staging", "unsigned")
	expired, _ := w.image(t, "staging", "expired")
	if r := w.run(t, map[string]string{"INPUT_TARGET_ARTIFACT_REFERENCE": expired, "INPUT_MODE": "sign", "INPUT_EXPIRY": "1s"}); r.code != 0 {
		t.Fatalf("exit code %d", r.code)
	}
	made := time.Now()
	strange, _ := w.image(t, "staging", "strange")
	if r := w.run(t, map[string]string{"INPUT_TARGET_ARTIFACT_REFERENCE": strange, "INPUT_MODE": "sign"}); r.code != 0 {
		t.Fatalf("exit code %d", r.code)
	}
	time.Sleep(time.Until(made.Add(2 * time.Second))) // until the one has expired
	own := string(testenv.EncodePEM(w.root.Cert))
	other := string(testenv.EncodePEM(pki.New(t, "other root", nil, pki.AsAuthority).Cert))
	for name, c := range map[string]struct{ source, trusted string }{
		"unsigned": {unsigned, own}, "a stranger's": {strange, other}, "expired": {expired, own},
	} {
		inputs := w.promoted(c.source)
		inputs["INPUT_TRUSTED_CERTIFICATES"] = c.trusted
		r := w.run(t, inputs)
		if r.code != 1 || !strings.Contains(r.artifact.Error, "at the source ") {
			t.Errorf("%s: exit code %d, %q", name, r.code, r.artifact.Error)
		}
		for _, request := range r.requests {
			if strings.Contains(request.Path, "/release/") {
				t.Errorf("%s: %s %s", name, request.Method, request.Path)
			}
		}
	}
}

// A tag of the source that moves after it was verified does not matter.
func TestSourceTagThatMovesIsNotFollowed(t *testing.T) {
	w := newRunWorld(t)
	reference, image := w.image(t, "staging", "v1")
	if r := w.run(t, map[string]string{"INPUT_TARGET_ARTIFACT_REFERENCE": reference, "INPUT_MODE": "sign"}); r.code != 0 {
		t.Fatalf("exit code %d", r.code)
	}
	staging, err := w.registry.Repository("staging")
	if err != nil {
		t.Fatal(err)
	}
	front := testenv.Front(t, w.registry, func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPost { // it was verified by now
			if _, err := testenv.PutImage(t.Context(), staging, "moved", "v1"); err != nil {
				t.Error(err)
			}
		}
		return false
	})
	inputs := w.promoted(w.registry.Host + "/staging:v1")
	inputs["INPUT_TARGET_ARTIFACT_REFERENCE"] = front + "/release/app:v1"
	if r := w.run(t, inputs); r.code != 0 || tagged(t, w.registry, "release/app", "v1") != image.Digest {
		t.Errorf("exit code %d, %s", r.code, tagged(t, w.registry, "release/app", "v1"))
	}
	if tagged(t, w.registry, "staging", "v1") == image.Digest {
		t.Error("the source's tag did not move")
	}
}

// The login of the target's registry goes to no other host.
func TestPasswordOfTheTargetStaysThere(t *testing.T) {
	w := newRunWorld(t)
	reference, _ := w.image(t, "staging", "v1")
	for name, c := range map[string]struct {
		own  map[string]string
		says string
	}{
		"without a login": {nil, "source_registry_username and source_registry_password are not set"},
		"with its own":    {map[string]string{"INPUT_SOURCE_REGISTRY_USERNAME": "reader", "INPUT_SOURCE_REGISTRY_PASSWORD": "of-the-source"}, "from source_registry_username and source_registry_password"},
	} {
		var seen []string
		front := testenv.Front(t, w.registry, func(rw http.ResponseWriter, r *http.Request) bool {
			_, password, _ := r.BasicAuth()
			seen = append(seen, password)
			rw.Header().Set("WWW-Authenticate", `Basic realm="staging"`)
			rw.WriteHeader(http.StatusUnauthorized)
			return true
		})
		inputs := map[string]string{
			"INPUT_SOURCE":                    strings.Replace(reference, w.registry.Host, front, 1),
			"INPUT_TARGET_ARTIFACT_REFERENCE": w.registry.Host + "/app:v1",
			"INPUT_REGISTRY_USERNAME":         "writer",
			"INPUT_REGISTRY_PASSWORD":         "of-the-target",
		}
		maps.Copy(inputs, c.own)
		r := w.run(t, inputs)
		if r.code != 1 || !strings.Contains(r.artifact.Error, c.says) {
			t.Errorf("%s: exit code %d, %q", name, r.code, r.artifact.Error)
		}
		if slices.Contains(seen, "of-the-target") || c.own != nil && !slices.Contains(seen, "of-the-source") {
			t.Errorf("%s: passwords %q", name, seen)
		}
		if !slices.Contains(r.unset, "INPUT_SOURCE_REGISTRY_PASSWORD") {
			t.Errorf("%s: unset %q", name, r.unset)
		}
	}
}

// Mistakes in sources are found before the first request.
func TestMistakesInSources(t *testing.T) {
	w := newRunWorld(t)
	_, folder, index, _ := buildLayout(t)
	target := w.registry.Host + "/app:v1"
	policy := `{"version":"1.0","trustPolicies":[{"name":"nothing","registryScopes":["*"],"signatureVerification":{"level":"skip"}}]}`
	for says, inputs := range map[string]map[string]string{
		"the modes verify and inspect write nothing": {"INPUT_SOURCE": "oci:" + folder, "INPUT_MODE": "verify"},
		"tags is set, and the modes verify":          {"INPUT_TAGS": "v2", "INPUT_MODE": "inspect"},
		"source is missing":                          {"INPUT_MODE": "promote"},
		"give one source, or one per target":         {"INPUT_SOURCE": "oci:a\noci:b"},
		"no source is in a registry":                 {"INPUT_SOURCE": "oci:" + folder, "INPUT_SOURCE_REGISTRY_USERNAME": "x", "INPUT_SOURCE_REGISTRY_PASSWORD": "y"},
		"set both or none":                           {"INPUT_SOURCE": "localhost/app:v1", "INPUT_SOURCE_REGISTRY_USERNAME": "x"},
		"neither a digest nor a tag":                 {"INPUT_SOURCE": w.registry.Host + "/app"},
		"names no path":                              {"INPUT_SOURCE": "oci-layout:"},
		"no such file":                               {"INPUT_SOURCE": "oci-archive:" + folder + "/none"},
		"nothing with the name":                      {"INPUT_SOURCE": "oci:" + folder + ":none"},
		"must be that artifact":                      {"INPUT_SOURCE": "oci:" + folder, "INPUT_TARGET_ARTIFACT_REFERENCE": w.registry.Host + "/app@" + digest.FromString("x").String()},
		"is neither a tag nor a reference":           {"INPUT_SOURCE": "oci:" + folder, "INPUT_TAGS": w.registry.Host + "/app@" + index.Digest.String()},
		"would be set for two sources":               {"INPUT_SOURCE": "oci:" + folder + "\noci:" + folder + ":build", "INPUT_TARGET_ARTIFACT_REFERENCE": target + "\n" + target},
		"there are several":                          {"INPUT_TARGET_ARTIFACT_REFERENCE": target + "\n" + w.registry.Host + "/b:v1", "INPUT_TAGS": "v2"},
		"nor an artifact type":                       {"INPUT_SOURCE": "oci:" + folder, "INPUT_COPY_REFERRERS": "sbom"},
		"has the level skip":                         {"INPUT_SOURCE": "oci:" + folder, "INPUT_MODE": "promote", "INPUT_TRUST_POLICY": policy, "INPUT_TRUSTED_CERTIFICATES": "", "INPUT_TRUSTED_IDENTITIES": ""},
		"no such file or directory":                  {"INPUT_TARGET_ARTIFACT_REFERENCE": "@" + folder + "/none"},
		"is not a regular file":                      {"INPUT_TARGET_ARTIFACT_REFERENCE": "@" + folder},
	} {
		all := map[string]string{"INPUT_TARGET_ARTIFACT_REFERENCE": target}
		maps.Copy(all, inputs)
		if r := w.run(t, all); r.code != 2 || !strings.Contains(r.log, says) || len(r.requests) > 0 {
			t.Errorf("%q: exit code %d, %d requests", says, r.code, len(r.requests))
		}
	}
}

// References can be in a file, one per line, where a variable can't hold them.
func TestReferencesFromAFile(t *testing.T) {
	w := newRunWorld(t)
	_, folder, index, _ := buildLayout(t)
	targets := testenv.PutFile(t, w.path("targets"), w.registry.Host+"/a:v1\n\n  "+w.registry.Host+"/b:v1\r\n")
	tags := testenv.PutFile(t, w.path("tags"), "stable\nlatest\n")
	source := testenv.PutFile(t, w.path("source"), "oci:"+folder)
	r := w.run(t, map[string]string{
		"INPUT_SOURCE":                    "@" + source,
		"INPUT_TARGET_ARTIFACT_REFERENCE": "@" + targets + "\n" + w.registry.Host + "/c:v1",
		"INPUT_TAGS":                      "@" + tags,
	})
	if n := r.report.Count(); r.code != 0 || n.Artifacts != 3 {
		t.Fatalf("exit code %d, %+v", r.code, n)
	}
	for _, repository := range []string{"a", "b", "c"} {
		for _, tag := range []string{"v1", "stable", "latest"} {
			if tagged(t, w.registry, repository, tag) != index.Digest {
				t.Errorf("%s:%s is missing", repository, tag)
			}
		}
	}
}

// A registry that deletes what has no tag, while the run works, gets it once more
// before the tag.
func TestCollectedArtifactIsSentAgainBeforeItsTag(t *testing.T) {
	w := newRunWorld(t)
	_, folder, index, _ := buildLayout(t)
	at, err := w.registry.Repository("app")
	if err != nil {
		t.Fatal(err)
	}
	looks := 0
	front := testenv.Front(t, w.registry, func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodHead && strings.HasSuffix(r.URL.Path, "/manifests/"+index.Digest.String()) {
			if looks++; looks == 2 { // the first was before it was sent
				if err := at.Manifests().Delete(t.Context(), index); err != nil {
					t.Error(err)
				}
			}
		}
		return false
	})
	r := w.run(t, map[string]string{"INPUT_MODE": "sign", "INPUT_SOURCE": "oci:" + folder, "INPUT_TARGET_ARTIFACT_REFERENCE": front + "/app:v1"})
	if r.code != 0 || tagged(t, w.registry, "app", "v1") != index.Digest || !strings.Contains(strings.Join(r.artifact.Warnings, "\n"), "sent again") {
		t.Errorf("exit code %d, warnings %q", r.code, r.artifact.Warnings)
	}
}
