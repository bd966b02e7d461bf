// SPDX-License-Identifier: Apache-2.0

package action

import (
	"bytes"
	"cmp"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/content/oci"

	"github.com/notation-pkcs11/notation-pkcs11/action/registry"
	"github.com/notation-pkcs11/notation-pkcs11/action/report"
	"github.com/notation-pkcs11/notation-pkcs11/testenv"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/pki"
)

// layoutScope is a repository that what is in a layout is for.
const layoutScope = "registry.example/app"

// notationFor is a notation that trusts a world's root for all.
func notationFor(t *testing.T, w *runWorld) *testenv.Notation {
	t.Helper()
	n := testenv.Start(t, testenv.NewNotation)
	if err := n.Trust(w.root.Cert); err != nil {
		t.Fatal(err)
	}
	return n
}

// inLayout runs a command of notation on an artifact in a layout.
func inLayout(t *testing.T, n *testenv.Notation, command string, args ...string) testenv.Result {
	t.Helper()
	r, err := n.Run(t.Context(), []string{"NOTATION_EXPERIMENTAL=1"}, append([]string{command, "--oci-layout"}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// nameIn is what a name stands for in a layout, as others see it; empty: it is not there.
func nameIn(t *testing.T, folder, name string) digest.Digest {
	t.Helper()
	if _, err := os.Stat(folder); os.IsNotExist(err) {
		return ""
	}
	store, err := oci.New(folder)
	if err != nil {
		t.Fatal(err)
	}
	found, err := store.Resolve(t.Context(), name)
	if err != nil && !strings.Contains(err.Error(), "not found") {
		t.Fatal(err)
	}
	return found.Digest
}

// Signing and verifying take no registry; notation finds the same, of each manifest.
func TestLayoutIsSignedAndVerifiedWithoutARegistry(t *testing.T) {
	_, folder, index, _ := buildLayout(t)
	w := newRunWorld(t)
	file := testenv.PutFile(t, w.path("report.json.txt"), "no findings")
	inputs := map[string]string{
		"INPUT_TARGET_ARTIFACT_REFERENCE": "oci-layout:" + folder + ":build",
		"INPUT_RECURSIVE":                 "true",
		"INPUT_ATTACH":                    file + "=text/plain",
		"INPUT_REQUIRED_REFERRERS":        "text/plain",
		"INPUT_SKIP_SIGNED":               "true",
	}
	r := w.run(t, inputs)
	if n := r.report.Count(); r.code != 0 || n.Artifacts != 4 || n.Signed != 4 || n.Verified != 4 {
		t.Fatalf("exit code %d, %+v", r.code, n)
	}
	if r.artifact.Digest != index.Digest.String() || r.artifact.Verification.Statement.Scope != "*" {
		t.Errorf("%+v", r.artifact)
	}
	if len(r.requests) > 0 {
		t.Errorf("requests %v", r.requests)
	}
	n := notationFor(t, w)
	for _, a := range r.report.Artifacts {
		at := folder + "@" + a.Digest
		if result := inLayout(t, n, "verify", at, "--scope", layoutScope); result.ExitCode != 0 {
			t.Errorf("notation verify: %s", result.Stderr)
		}
		if result := inLayout(t, n, "list", at); !strings.Contains(result.Stdout, a.Signed.Digest) {
			t.Errorf("notation lists %s", result.Stdout)
		}
	}

	again := w.run(t, inputs)
	if n := again.report.Count(); again.code != 0 || n.AlreadySigned != 4 || !slices.ContainsFunc(again.report.Artifacts, func(a report.Artifact) bool { return a.Attached != nil && a.Attached.Existed }) {
		t.Errorf("again: exit code %d, %+v", again.code, n)
	}
	inputs["INPUT_MODE"], inputs["INPUT_ATTACH"], inputs["INPUT_SKIP_SIGNED"] = "verify", "", ""
	if r := w.run(t, inputs); r.code != 0 || r.report.Count().Verified != 3 {
		t.Errorf("verify: exit code %d", r.code)
	}
	inputs["INPUT_MODE"], inputs["INPUT_REQUIRED_REFERRERS"] = "inspect", ""
	if r := w.run(t, inputs); r.code != 0 || len(r.artifact.Inspection.Signatures) != 1 {
		t.Errorf("inspect: exit code %d, %+v", r.code, r.artifact.Inspection)
	}
	left, err := filepath.Glob(filepath.Join(folder, "ingest", "*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if _, err := os.Stat(filepath.Join(folder, "index.json.lock")); err == nil {
		t.Error("the lock is left behind")
	}
}

// Of the signature that notation makes in a layout, the verdict is the same.
func TestNotationsSignatureInALayoutIsVerified(t *testing.T) {
	_, folder, index, _ := buildLayout(t)
	w := newRunWorld(t)
	n := notationFor(t, w)
	if err := n.AddKeyFile("release", w.signer.Key, []*x509.Certificate{w.signer.Cert, w.root.Cert}); err != nil {
		t.Fatal(err)
	}
	if result := inLayout(t, n, "sign", "--key", "release", folder+"@"+index.Digest.String()); result.ExitCode != 0 {
		t.Fatalf("notation sign: %s", result.Stderr)
	}
	verify := map[string]string{"INPUT_MODE": "verify", "INPUT_TARGET_ARTIFACT_REFERENCE": "oci:" + folder + "@" + index.Digest.String()}
	if r := w.run(t, verify); r.code != 0 || len(r.artifact.Verification.Signatures) != 1 {
		t.Errorf("exit code %d", r.code)
	}
	stranger := pki.New(t, "stranger root", nil, pki.AsAuthority)
	verify["INPUT_TRUSTED_CERTIFICATES"] = string(testenv.EncodePEM(stranger.Cert))
	if r := w.run(t, verify); r.code != 1 || r.artifact.Verification.Verdict != report.Failed {
		t.Errorf("a stranger's: exit code %d", r.code)
	}
}

// changeListed changes a manifest that the index.json of a layout lists.
func changeListed(t *testing.T, folder string, listed digest.Digest, change func(*ocispec.Manifest)) {
	t.Helper()
	edit := func(path string, value any, change func()) []byte {
		text, err := os.ReadFile(path)
		if err == nil {
			err = json.Unmarshal(text, value)
		}
		if err != nil {
			t.Fatal(err)
		}
		change()
		if text, err = json.Marshal(value); err != nil {
			t.Fatal(err)
		}
		return text
	}
	blobs := filepath.Join(folder, "blobs", "sha256")
	var manifest ocispec.Manifest
	changed := edit(filepath.Join(blobs, listed.Encoded()), &manifest, func() { change(&manifest) })
	var index ocispec.Index
	text := edit(filepath.Join(folder, "index.json"), &index, func() {
		i := slices.IndexFunc(index.Manifests, func(d ocispec.Descriptor) bool { return d.Digest == listed })
		index.Manifests[i].Digest, index.Manifests[i].Size = digest.FromBytes(changed), int64(len(changed))
	})
	testenv.PutFile(t, filepath.Join(blobs, digest.FromBytes(changed).Encoded()), string(changed))
	testenv.PutFile(t, filepath.Join(folder, "index.json"), string(text))
}

// What notation takes for a signature in a layout is what counts: the media type of the
// config, and a subject that is the same in all. (A registry says itself which are.)
func TestSignaturesInALayoutAreThoseOfNotation(t *testing.T) {
	w := newRunWorld(t)
	n := notationFor(t, w)
	for name, change := range map[string]func(*ocispec.Manifest){
		"as it is": func(*ocispec.Manifest) {},
		"another config": func(m *ocispec.Manifest) {
			m.Config.MediaType, m.ArtifactType = "application/x", registry.ArtifactTypeSignature
		},
		"another type, too":   func(m *ocispec.Manifest) { m.ArtifactType = "application/x" },
		"a subject's size":    func(m *ocispec.Manifest) { m.Subject.Size++ },
		"a subject's type":    func(m *ocispec.Manifest) { m.Subject.MediaType = ocispec.MediaTypeImageManifest },
		"two layers":          func(m *ocispec.Manifest) { m.Layers = append(m.Layers, m.Layers[0]) },
		"another annotation":  func(m *ocispec.Manifest) { m.Annotations["a"] = "b" },
		"no such signature":   func(m *ocispec.Manifest) { m.Layers[0].Digest = digest.FromString("none") },
		"an envelope of size": func(m *ocispec.Manifest) { m.Layers[0].Size++ },
	} {
		t.Run(name, func(t *testing.T) {
			_, folder, index, _ := buildLayout(t)
			at := map[string]string{"INPUT_TARGET_ARTIFACT_REFERENCE": "oci-layout:" + folder + "@" + index.Digest.String(), "INPUT_MODE": "sign"}
			signed := w.run(t, at)
			if signed.code != 0 {
				t.Fatalf("exit code %d", signed.code)
			}
			changeListed(t, folder, digest.Digest(signed.artifact.Signed.Digest), change)
			theirs := inLayout(t, n, "verify", folder+"@"+index.Digest.String(), "--scope", layoutScope)
			at["INPUT_MODE"] = "verify"
			if ours := w.run(t, at); (ours.code == 0) != (theirs.ExitCode == 0) {
				t.Errorf("exit code %d, and notation's %d: %s", ours.code, theirs.ExitCode, theirs.Stderr)
			}
		})
	}
}

// across are the inputs of a promotion between a registry and a layout, either way.
func (w *runWorld) across(source, target string) map[string]string {
	inputs := w.promoted(source)
	inputs["INPUT_TARGET_ARTIFACT_REFERENCE"], inputs["INPUT_COPY_REFERRERS"] = target, "true"
	return inputs
}

// scoped trusts a root for one repository, and nobody for any other.
func (w *runWorld) scoped(t *testing.T, inputs map[string]string, scope string) {
	t.Helper()
	policy, err := json.Marshal(map[string]any{"version": "1.0", "trustPolicies": []map[string]any{{
		"name": "release", "registryScopes": []string{scope}, "signatureVerification": map[string]string{"level": "strict"},
		"trustStores": []string{"ca:root"}, "trustedIdentities": []string{"*"},
	}, {
		"name": "none", "registryScopes": []string{"registry.example/none"}, "signatureVerification": map[string]string{"level": "skip"},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	testenv.PutFile(t, w.path("trust/x509/ca/root/root.pem"), string(testenv.EncodePEM(w.root.Cert)))
	inputs["INPUT_TRUST_POLICY"], inputs["INPUT_TRUST_STORE"] = string(policy), w.path("trust")
	inputs["INPUT_TRUSTED_CERTIFICATES"], inputs["INPUT_TRUSTED_IDENTITIES"] = "", ""
}

// orasDiscover returns what lists the digests of an artifact's referrers with the oras
// command, sorted.
func orasDiscover(t *testing.T) func(args ...string) []string {
	t.Helper()
	tools := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-C", "../testenv/tools/oras", "-trimpath", "-o", tools, "oras.land/oras/cmd/oras").CombinedOutput(); err != nil {
		t.Fatalf("build oras: %v\n%s", err, out)
	}
	return func(args ...string) []string {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), filepath.Join(tools, "oras"), append([]string{"discover", "--format", "json", "--depth", "1"}, args...)...).Output()
		if err != nil {
			t.Fatalf("oras discover: %v", err)
		}
		var found struct {
			Referrers []struct {
				Digest string `json:"digest"`
			} `json:"referrers"`
		}
		if err := json.Unmarshal(out, &found); err != nil {
			t.Fatalf("oras discover: %v\n%s", err, out)
		}
		var digests []string
		for _, referrer := range found.Referrers {
			digests = append(digests, referrer.Digest)
		}
		slices.Sort(digests)
		return digests
	}
}

// A release crosses an air gap: out of a registry into a layout, and from there into a
// registry of the other kind, with all that refers to it. Both ends are judged by the
// target's statement.
func TestReleaseCrossesAnAirGap(t *testing.T) {
	_, build, index, sbom := buildLayout(t)
	discover := orasDiscover(t)
	for i, kind := range testenv.RegistryKinds {
		t.Run(kind.Name, func(t *testing.T) {
			outside := newRunWorld(t)
			outside.registry = testenv.Start(t, kind.New)
			reference := outside.registry.Host + "/app:v1"
			if r := outside.run(t, map[string]string{"INPUT_SOURCE": "oci:" + build + ":build", "INPUT_TARGET_ARTIFACT_REFERENCE": reference, "INPUT_RECURSIVE": "true"}); r.code != 0 {
				t.Fatalf("exit code %d", r.code)
			}
			folder := filepath.Join(outside.path("carried"), "release")
			out := outside.across(reference, "oci-layout:"+folder+":v1")
			out["INPUT_TRUST_POLICY_SCOPE"] = layoutScope
			outside.scoped(t, out, layoutScope)
			r := outside.run(t, out)
			a := r.artifact
			if r.code != 0 || a.Scope != layoutScope || a.AtSource.Statement.Name != "release" || a.Verification.Statement.Scope != layoutScope || a.Tags[0].Result != report.TagSet {
				t.Fatalf("out: exit code %d, %+v", r.code, a)
			}
			if tags, _ := tagWrites(r.requests); len(tags) > 0 {
				t.Errorf("the registry was written to: %q", tags)
			}
			if !strings.Contains(r.summary, "--oci-layout") {
				t.Errorf("the summary does not say how to verify it: %s", r.summary)
			}
			n := notationFor(t, outside)
			if result := inLayout(t, n, "verify", folder+":v1", "--scope", layoutScope); result.ExitCode != 0 {
				t.Errorf("notation verify: %s", result.Stderr)
			}
			if nameIn(t, folder, "v1") != index.Digest {
				t.Errorf("v1 is %s", nameIn(t, folder, "v1"))
			}
			before := discover("--plain-http", reference)
			if !slices.Contains(before, sbom.Digest.String()) || len(before) != 2 {
				t.Errorf("oras discovers %v", before)
			}
			if there := discover("--oci-layout", folder+":v1"); !slices.Equal(there, before) {
				t.Errorf("oras discovers %v in the layout, and not %v", there, before)
			}

			inside := newRunWorld(t)
			inside.registry = testenv.Start(t, testenv.RegistryKinds[(i+1)%len(testenv.RegistryKinds)].New)
			inside.root = outside.root
			inside.env = inside.environment()
			r = inside.run(t, inside.across("oci-layout:"+folder, inside.registry.Host+"/release/app:v1"))
			if r.code != 0 || tagged(t, inside.registry, "release/app", "v1") != index.Digest {
				t.Fatalf("in: exit code %d", r.code)
			}
			if sboms := sbomsOf(t, inside.registry, "release/app", index); len(sboms) != 1 || sboms[0].Digest != sbom.Digest {
				t.Errorf("SBOMs %v", sboms)
			}
			if there := discover("--plain-http", inside.registry.Host+"/release/app:v1"); !slices.Equal(there, before) {
				t.Errorf("oras discovers %v behind the gap, and not %v", there, before)
			}
			if result, err := notationFor(t, inside).Run(t.Context(), nil, "verify", inside.registry.Host+"/release/app@"+index.Digest.String()); err != nil || result.ExitCode != 0 {
				t.Errorf("notation verify: %v %s", err, result.Stderr)
			}
		})
	}
}

// What is not trusted gets no name in a layout, is not listed there, and what had the
// name keeps it. The next run that may, moves it.
func TestLayoutNameStaysWhereSomethingFails(t *testing.T) {
	w := newRunWorld(t)
	_, folder, before, _ := buildLayout(t)
	reference, image := w.image(t, "app", "v1")
	target := "oci-layout:" + folder + ":build"
	listed := func() string {
		text, err := os.ReadFile(filepath.Join(folder, "index.json"))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	untouched := listed()
	promote := w.across(reference, target)
	if r := w.run(t, promote); r.code != 1 || !strings.Contains(r.artifact.Error, "at the source") || listed() != untouched {
		t.Errorf("unsigned: exit code %d, %q", r.code, r.artifact.Error)
	}
	stranger := pki.New(t, "stranger root", nil, pki.AsAuthority)
	sign := map[string]string{"INPUT_SOURCE": reference, "INPUT_TARGET_ARTIFACT_REFERENCE": target, "INPUT_TRUSTED_CERTIFICATES": string(testenv.EncodePEM(stranger.Cert))}
	if r := w.run(t, sign); r.code != 1 || nameIn(t, folder, "build") != before.Digest || strings.Contains(listed(), image.Digest.String()) {
		t.Errorf("a policy that says no: exit code %d, %s", r.code, nameIn(t, folder, "build"))
	}
	delete(sign, "INPUT_TRUSTED_CERTIFICATES")
	if r := w.run(t, sign); r.code != 0 || nameIn(t, folder, "build") != image.Digest || r.artifact.Tags[0].Before != before.Digest.String() {
		t.Errorf("exit code %d, %s", r.code, nameIn(t, folder, "build"))
	}
	if nameIn(t, folder, before.Digest.String()) != before.Digest {
		t.Error("what had the name is not listed any more")
	}
	untouched = listed()
	sign["INPUT_SKIP_SIGNED"] = "true"
	if r := w.run(t, sign); r.code != 0 || r.artifact.Tags[0].Result != report.TagUnchanged || listed() != untouched {
		t.Errorf("again: exit code %d, %+v", r.code, r.artifact.Tags)
	}
}

// A target without a name is kept without one; names go along with tags, and an artifact
// gets others in the same layout.
func TestLayoutTargetsTakeNoNameOrSeveral(t *testing.T) {
	w := newRunWorld(t)
	reference, image := w.image(t, "app", "v1")
	folder, other := w.path("one"), w.path("two")
	r := w.run(t, map[string]string{
		"INPUT_SOURCE":                    reference,
		"INPUT_TARGET_ARTIFACT_REFERENCE": "oci-layout:" + folder,
	})
	if r.code != 0 || nameIn(t, folder, image.Digest.String()) != image.Digest || len(r.artifact.Tags) != 0 {
		t.Errorf("exit code %d", r.code)
	}
	r = w.run(t, map[string]string{
		"INPUT_TARGET_ARTIFACT_REFERENCE": "oci-layout:" + folder,
		"INPUT_TAGS":                      "stable\noci-layout:" + other + ":registry.example/app:v1\n" + w.registry.Host + "/mirror/app:v2",
	})
	if n := r.report.Count(); r.code != 0 || n.Signed != 3 || n.Tagged != 3 {
		t.Errorf("exit code %d, %+v", r.code, n)
	}
	if nameIn(t, folder, "stable") != image.Digest || nameIn(t, other, "registry.example/app:v1") != image.Digest || tagged(t, w.registry, "mirror/app", "v2") != image.Digest {
		t.Error("a name is missing")
	}
	r = w.run(t, w.across("oci-layout:"+folder+":stable", "oci-layout:"+folder+":production"))
	if r.code != 0 || nameIn(t, folder, "production") != image.Digest || r.artifact.Copied.Sent != 0 {
		t.Errorf("within a layout: exit code %d, %+v", r.code, r.artifact.Copied)
	}
}

// Runs in several processes sign what is in one layout: no signature gets lost.
func TestRunsInALayoutAtOnceLoseNothing(t *testing.T) {
	const processes = 6
	_, folder, index, _ := buildLayout(t)
	w := newFaultWorld(t)
	inputs := map[string]string{"INPUT_MODE": "sign", "INPUT_TARGET_ARTIFACT_REFERENCE": "oci-layout:" + folder + ":build", "INPUT_RECURSIVE": "true"}
	var children []func() error
	for range processes {
		var log bytes.Buffer
		child := w.child(t, inputs, w.runner(t, w.kinds[0], w.signer))
		child.Stdout, child.Stderr = &log, &log
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		children = append(children, func() error {
			if err := child.Wait(); err != nil {
				return fmt.Errorf("%w\n%s", err, &log)
			}
			return nil
		})
	}
	for _, wait := range children {
		if err := wait(); err != nil {
			t.Error(err)
		}
	}
	store, err := oci.New(folder)
	if err != nil {
		t.Fatal(err)
	}
	platforms, err := content.Successors(t.Context(), store, index)
	if err != nil {
		t.Fatal(err)
	}
	for _, manifest := range append(platforms, index) {
		manifest = ocispec.Descriptor{MediaType: manifest.MediaType, Digest: manifest.Digest, Size: manifest.Size}
		signatures := 0
		above, err := store.Predecessors(t.Context(), manifest)
		if err != nil {
			t.Fatal(err)
		}
		for _, referrer := range above {
			text, err := content.FetchAll(t.Context(), store, referrer)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(text), registry.ArtifactTypeSignature) {
				signatures++
			}
		}
		if signatures != processes {
			t.Errorf("%d signatures of %s are found", signatures, manifest.Digest)
		}
	}
}

// What is wrong with a layout as a target is known before anything is done.
func TestLayoutTargetsThatCantBe(t *testing.T) {
	w := newRunWorld(t)
	reference, image := w.image(t, "app", "v1")
	_, folder, _, _ := buildLayout(t)
	archive := testenv.Archive(t, folder, nil)
	other := filepath.Dir(testenv.PutFile(t, w.path("documents/letter.txt"), "Dear"))
	empty := w.path("absent")
	for name, c := range map[string]struct {
		target, want string
		more         map[string]string
	}{
		"an archive":               {archive + ":build", "is a file, and a target must be a directory", nil},
		"an archive with a source": {archive + ":v1", "is a file, and a target must be a directory", map[string]string{"INPUT_SOURCE": reference}},
		"an archive to be":         {empty + ":v1", "nothing is written into one", map[string]string{"INPUT_SOURCE": reference, "scheme": "oci-archive:"}},
		"no directory":             {empty, "no such file", nil},
		"no layout":                {other, "there is no layout", nil},
		"other files":              {other + ":v1", "has letter.txt in it and is no OCI image layout", map[string]string{"INPUT_SOURCE": reference}},
		"no such name":             {folder + ":v2", `has nothing with the name "v2"`, nil},
		"no such digest":           {folder + "@" + image.Digest.String(), "no such file", nil},
		"a bad name":               {empty + ":a b", `"a b" is no name`, map[string]string{"INPUT_SOURCE": reference}},
		"a name of the schema":     {empty + ":sha256-" + image.Digest.Encoded(), "is no name", map[string]string{"INPUT_SOURCE": reference}},
		"no scope":                 {folder + ":build", "set trust_policy_scope", map[string]string{"scoped": layoutScope}},
		"a scope with a tag":       {folder + ":build", "has a tag or a digest", map[string]string{"INPUT_TRUST_POLICY_SCOPE": layoutScope + ":v1"}},
		"a level of skip": {empty + ":v1", "level skip", map[string]string{
			"INPUT_MODE": "promote", "INPUT_SOURCE": reference, "scoped": layoutScope, "INPUT_TRUST_POLICY_SCOPE": "registry.example/none",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			inputs := map[string]string{"INPUT_TARGET_ARTIFACT_REFERENCE": cmp.Or(c.more["scheme"], "oci-layout:") + c.target}
			maps.Copy(inputs, c.more)
			if scope := inputs["scoped"]; scope != "" {
				w.scoped(t, inputs, scope)
			}
			r := w.run(t, inputs)
			if r.code != 2 || !strings.Contains(r.log, c.want) || len(r.requests) > 0 {
				t.Errorf("exit code %d, %d requests: %s", r.code, len(r.requests), r.log)
			}
			if _, err := os.Stat(empty); err == nil {
				t.Error("the directory was made")
			}
		})
	}
	r := w.run(t, map[string]string{"INPUT_TARGET_ARTIFACT_REFERENCE": reference, "INPUT_TRUST_POLICY_SCOPE": layoutScope})
	if r.code != 2 || !strings.Contains(r.log, "no target is an OCI image layout") {
		t.Errorf("a scope without a layout: exit code %d", r.code)
	}
}
