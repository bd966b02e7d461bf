// SPDX-License-Identifier: Apache-2.0

package action

import (
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

// layoutSteps are the calls by which a run takes a layout from one state to the next.
var layoutSteps = []string{"write", "fsync", "renameat,renameat2", "unlinkat"}

// Whenever a run that writes to a layout is killed, a name there is what it was, or names
// the new artifact, which verifies; and the next run completes it.
func TestLayoutNameIsRightWheneverTheRunIsKilled(t *testing.T) {
	t.Parallel()
	w := newFaultWorld(t)
	_, build, image, _ := buildLayout(t)
	for _, call := range layoutSteps {
		killed := true
		for nth := 1; killed; nth++ { // of a thread
			killed = false
			t.Run(fmt.Sprintf("%s %d", call, nth), func(t *testing.T) { killed = w.killInLayout(t, build, image.Digest, call, nth) })
			if nth == 1 && !killed {
				t.Errorf("no run was killed at %s", call)
			}
		}
	}
}

// killInLayout kills a run at its nth call of one kind, unless it ends before that.
func (w *faultWorld) killInLayout(t *testing.T, build string, image digest.Digest, call string, nth int) (killed bool) {
	store, folder := testenv.NewLayout(t)
	before, err := testenv.PutImage(t.Context(), store, "before", "v1")
	if err != nil {
		t.Fatal(err)
	}
	runner := w.runner(t, w.kinds[0], w.signer)
	inputs := map[string]string{
		"INPUT_SOURCE":                    "oci-layout:" + build + ":build",
		"INPUT_TARGET_ARTIFACT_REFERENCE": "oci-layout:" + folder + ":v1",
		"INPUT_RECURSIVE":                 "true",
		"INPUT_CONCURRENCY":               "1",
	}
	verify := map[string]string{"INPUT_MODE": "verify", "INPUT_TARGET_ARTIFACT_REFERENCE": "oci-layout:" + folder + ":v1", "INPUT_RECURSIVE": "true"}
	child := w.child(t, inputs, runner)
	traced := exec.CommandContext(t.Context(), "strace", "-f", "-qq", "-o", os.DevNull, "-e", "trace="+call,
		"-e", fmt.Sprintf("inject=%s:signal=KILL:when=%d", call, nth), "--", child.Path)
	traced.Env = child.Env
	out, err := traced.CombinedOutput()
	if killed = err != nil; killed && traced.ProcessState.ExitCode() >= 0 && traced.ProcessState.ExitCode() != 137 {
		t.Fatalf("it was not killed, and failed: %v\n%s", err, out)
	}
	switch now := nameIn(t, folder, "v1"); {
	case now == image:
		if r := runner.run(t, verify); r.code != 0 {
			t.Errorf("what is named does not verify: exit code %d", r.code)
		}
	case now != before.Digest || !killed:
		t.Errorf("v1 is %s", now)
	}
	if r := runner.run(t, inputs); r.code != 0 || nameIn(t, folder, "v1") != image {
		t.Fatalf("the next run: exit code %d, v1 is %s", r.code, nameIn(t, folder, "v1"))
	}
	if r := runner.run(t, verify); r.code != 0 || r.report.Count().Verified != 3 {
		t.Errorf("after the next run: exit code %d", r.code)
	}
	return killed
}
