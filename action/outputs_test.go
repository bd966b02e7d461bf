// SPDX-License-Identifier: Apache-2.0

package action

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/notation-pkcs11/notation-pkcs11/testenv/runner"
)

// What the steps after a run need of it: what to verify, and the file that lists all.
func TestOutputsForTheNextStep(t *testing.T) {
	w := newRunWorld(t)
	reference, image := w.image(t, "app", "v1")
	missing := w.registry.Host + "/app:missing"
	r := w.run(t, map[string]string{"INPUT_TARGET_ARTIFACT_REFERENCE": missing + "\n" + reference})
	if r.code != exitFailure || r.report.Count().Verified != 1 {
		t.Fatalf("exit code %d, %+v", r.code, r.report)
	}
	outputs := map[string]string{}
	for _, output := range runner.ReadOutputs(r.outputs) {
		outputs[output[0]] = output[1]
	}
	if got, want := outputs["verify_commands"], "notation verify "+reference; got != want {
		t.Errorf("verify_commands is %q, want %q", got, want)
	}
	content, err := os.ReadFile(outputs["artifacts"])
	if err != nil {
		t.Fatal(err)
	}
	var list []struct {
		Reference, Digest, Verdict, ValidUntil string
		SignatureDigests                       []string
	}
	if err := json.Unmarshal(content, &list); err != nil || len(list) != 2 {
		t.Fatalf("%s: %v", content, err)
	}
	if list[0].Reference != missing || list[0].Digest != "" {
		t.Errorf("%+v", list[0])
	}
	if a := list[1]; a.Digest != image.Digest.String() || a.Verdict != "verified" || a.ValidUntil == "" || len(a.SignatureDigests) != 1 || a.SignatureDigests[0] != outputs["signature_digests"] {
		t.Errorf("%+v", a)
	}
}

// Outside of a runner there are neither outputs nor a directory for files, and nothing
// to warn of.
func TestNoOutputsOutsideOfARunner(t *testing.T) {
	w := newRunWorld(t)
	reference, _ := w.image(t, "app", "v1")
	r := w.run(t, map[string]string{"INPUT_TARGET_ARTIFACT_REFERENCE": reference, "GITHUB_ACTIONS": "", "GITHUB_OUTPUT": "", "RUNNER_TEMP": ""})
	if r.code != exitSuccess || r.outputs != "" || len(r.report.Warnings) != 0 {
		t.Errorf("exit code %d, outputs %q, warnings %q", r.code, r.outputs, r.report.Warnings)
	}
}
