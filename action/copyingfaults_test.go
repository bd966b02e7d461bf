// SPDX-License-Identifier: Apache-2.0

package action

import (
	"fmt"
	"os"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/registryfaults"
)

// taggedBuild is a build on its way to a tag that names something else so far.
type taggedBuild struct {
	faultSubject
	before digest.Digest
	source string
}

// newTaggedBuild puts an image with an SBOM into a layout, and another under the tag.
func newTaggedBuild(t *testing.T, k faultKind, repository string) taggedBuild {
	t.Helper()
	store, folder := testenv.NewLayout(t)
	image, err := testenv.PutImage(t.Context(), store, repository, "build")
	if err == nil {
		_, err = oras.PackManifest(t.Context(), store, oras.PackManifestVersion1_1, typeSBOM, oras.PackManifestOptions{
			Subject: &image, ManifestAnnotations: map[string]string{ocispec.AnnotationCreated: "2026-01-02T03:04:05Z"},
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	before, err := k.registry.PushImage(t.Context(), repository, "v1")
	if err != nil {
		t.Fatal(err)
	}
	return taggedBuild{faultSubject{kind: k, repository: repository, image: image}, before.Digest, "oci:" + folder}
}

// inputs are those of a run that takes the build to its tag. One request follows the
// other, so that each run has the same ones.
func (b taggedBuild) inputs(proxy *registryfaults.Proxy) map[string]string {
	return map[string]string{
		"INPUT_SOURCE":                    b.source,
		"INPUT_TARGET_ARTIFACT_REFERENCE": proxy.Host + "/" + b.repository + ":v1",
		"INPUT_CONCURRENCY":               "1",
	}
}

// check checks, after a run that failed or not, that the tag names what it named
// before or an artifact that others verify.
func (b taggedBuild) check(t *testing.T, w *faultWorld, succeeded bool) {
	t.Helper()
	switch now := tagged(t, b.kind.registry, b.repository, "v1"); {
	case now == b.image.Digest:
		w.checkVerifies(t, b.faultSubject)
	case now != b.before:
		t.Errorf("the tag names %s", now)
	case succeeded:
		t.Error("the tag is not set")
	}
}

// finish checks that a second run completes the first.
func (b taggedBuild) finish(t *testing.T, w *faultWorld, proxy *registryfaults.Proxy, runner *runWorld) {
	t.Helper()
	r := runner.run(t, b.inputs(proxy))
	if r.code != exitSuccess {
		t.Fatalf("the next run: exit code %d: %s", r.code, r.artifact.Error)
	}
	checkSecrets(t, proxy, r)
	b.check(t, w, true)
}

// wholeRun does a run without faults and returns how many requests it has.
func (w *faultWorld) wholeRun(t *testing.T, k faultKind, repository string) int {
	t.Helper()
	build, proxy := newTaggedBuild(t, k, repository), startFaults(t, k)
	build.finish(t, w, proxy, w.runner(t, k, w.signer))
	return len(proxy.Requests())
}

// Whichever request a registry begins to refuse, the tag names what it did, or the new
// artifact, which verifies; and the next run completes it.
func TestTagIsRightWhicheverRequestFails(t *testing.T) {
	t.Parallel()
	w := newFaultWorld(t)
	faults := map[string]registryfaults.Fault{}
	for _, fault := range registryfaults.Faults {
		faults[fault.Name] = fault
	}
	for i, k := range w.kinds {
		n := w.wholeRun(t, k, fmt.Sprintf("whole-build-%d", i))
		for at := range n {
			for j, name := range []string{"403", "404", "empty answer"} {
				if j != at%3 && os.Getenv("SOAK") == "" {
					continue // each request meets one of them each day
				}
				t.Run(fmt.Sprintf("%s/request %d/%s", k.name, at+1, name), func(t *testing.T) {
					build, proxy := newTaggedBuild(t, k, fmt.Sprintf("fails-%d-%d-%d", i, at, j)), startFaults(t, k)
					proxy.Inject(registryfaults.Rule{Nth: at + 1, Fault: faults[name]})
					runner := w.runner(t, k, w.signer)
					r := runner.run(t, build.inputs(proxy))
					checkSecrets(t, proxy, r)
					build.check(t, w, r.code == exitSuccess)
					proxy.Heal()
					build.finish(t, w, proxy, runner)
				})
			}
		}
	}
}

// The same for a process that is killed at each of its requests: before the registry
// got it, and when the registry has answered.
func TestTagIsRightWheneverTheRunIsKilled(t *testing.T) {
	t.Parallel()
	w := newFaultWorld(t)
	for i, k := range w.kinds {
		for at := range w.wholeRun(t, k, fmt.Sprintf("unkilled-build-%d", i)) {
			for _, late := range []bool{false, true} {
				if late != (at%2 == 0) && os.Getenv("SOAK") == "" {
					continue // half of them are enough for each day
				}
				t.Run(fmt.Sprintf("%s/request %d, carried out %t", k.name, at+1, late), func(t *testing.T) {
					build, proxy := newTaggedBuild(t, k, fmt.Sprintf("killed-build-%d-%d-%t", i, at, late)), startFaults(t, k)
					runner := w.runner(t, k, w.signer)
					killAt(t, w.child(t, build.inputs(proxy), runner), proxy, at+1, late)
					build.check(t, w, false)
					build.finish(t, w, proxy, runner)
				})
			}
		}
	}
}
