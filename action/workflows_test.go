// SPDX-License-Identifier: Apache-2.0

package action

import (
	"os"
	"strings"
	"testing"

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
// promoted, carried over an air gap, and signed in its layout.
func TestWorkflowsFromBuildToTag(t *testing.T) {
	steps := workflowSteps(t, "../docs/build-to-tag.md")
	if len(steps) != 5 {
		t.Fatalf("%d steps", len(steps))
	}
	w := newRunWorld(t)
	known := map[string]bool{"binary": true} // of action.yml alone
	for _, input := range inputTable {
		known[input.name] = true
	}
	_, build, image, _ := buildLayout(t)
	places := strings.NewReplacer("image.tar", testenv.Archive(t, build, nil), "oci-layout:release", "oci-layout:"+w.path("release"), "oci-layout:build", "oci-layout:"+build,
		"ghcr.io", w.registry.Host, "registry.example", w.registry.Host, "registry.internal:5000", w.registry.Host+"/gap",
		"sbom.spdx.json=", testenv.PutFile(t, w.path("sbom.spdx.json"), "{}")+"=")
	for i, step := range steps {
		inputs := map[string]string{}
		if step["trust_policy"] != "" {
			w.scoped(t, inputs, w.registry.Host+"/gap/app")
		}
		for name, value := range step {
			if !known[name] {
				t.Errorf("step %d: there is no input %s", i+1, name)
			}
			switch name {
			case "source", "target_artifact_reference", "tags", "mode", "attach", "trust_policy_scope":
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
