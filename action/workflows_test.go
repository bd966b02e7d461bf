// SPDX-License-Identifier: Apache-2.0

package action

import (
	"os"
	"strings"
	"testing"

	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/content/oci"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

// workflowSteps are the inputs of each step with the action in the workflows of a page.
func workflowSteps(t *testing.T, path string) []map[string]string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var steps []map[string]string
	for _, step := range strings.Split(string(content), "uses: notation-pkcs11/notation-pkcs11@v1\n    with:\n")[1:] {
		inputs, list := map[string]string{}, ""
		for line := range strings.Lines(step) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
			switch {
			case strings.HasPrefix(line, "        "):
				inputs[list] += strings.TrimSpace(line) + "\n"
				continue
			case !strings.HasPrefix(line, "      "):
				name = ""
			case value == "|":
				list, value = name, ""
			}
			if name == "" {
				break
			}
			inputs[name] = strings.Trim(value, `"`)
		}
		steps = append(steps, inputs)
	}
	return steps
}

// The workflows of the page run, one after the other: a build gets its tags, is
// promoted, and carried over an air gap.
func TestWorkflowsFromBuildToTag(t *testing.T) {
	steps := workflowSteps(t, "../docs/build-to-tag.md")
	if len(steps) != 3 {
		t.Fatalf("%d steps", len(steps))
	}
	w := newRunWorld(t)
	known := map[string]bool{}
	for _, input := range inputTable {
		known[input.name] = true
	}
	_, build, image, _ := buildLayout(t)
	release := w.path("release")
	places := strings.NewReplacer("image.tar", testenv.Archive(t, build, nil), "oci-layout:release", "oci-layout:"+release,
		"ghcr.io", w.registry.Host, "registry.example", w.registry.Host, "registry.internal:5000", w.registry.Host+"/gap")
	for i, step := range steps {
		if i == 2 { // oras writes the layout that is carried over
			layout, err := oci.New(release)
			if err != nil {
				t.Fatal(err)
			}
			from, err := w.registry.Repository("me/app")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := oras.ExtendedCopy(t.Context(), from, "v1", layout, "v1", oras.DefaultExtendedCopyOptions); err != nil {
				t.Fatal(err)
			}
		}
		inputs := map[string]string{}
		for name, value := range step {
			if !known[name] {
				t.Errorf("step %d: there is no input %s", i+1, name)
			}
			switch name {
			case "source", "target_artifact_reference", "tags", "mode":
				inputs["INPUT_"+strings.ToUpper(name)] = places.Replace(value)
			}
		}
		if r := w.run(t, inputs); r.code != 0 {
			t.Fatalf("step %d: exit code %d", i+1, r.code)
		}
	}
	for repository, tags := range map[string][]string{"me/app": {"v1", "latest"}, "me/mirror/app": {"v1"}, "production/app": {"v1"}, "gap/app": {"v1"}} {
		for _, tag := range tags {
			if got := tagged(t, w.registry, repository, tag); got != image.Digest {
				t.Errorf("%s:%s names %q", repository, tag, got)
			}
		}
	}
}
