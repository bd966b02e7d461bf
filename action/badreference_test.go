// SPDX-License-Identifier: Apache-2.0

package action

import (
	"strings"
	"testing"

	contract "github.com/notaryproject/notation-plugin-framework-go/plugin"
)

func TestPasswordInAReferenceIsNotShown(t *testing.T) {
	for _, reference := range []string{"me:hush-4711@ghcr.io/me/app:v1", "https://me:hush-4711@ghcr.io/me/app:v1", "https://hush-4711@ghcr.io/me/app@sha256:" + strings.Repeat("a", 64)} {
		_, err := parse(map[string]string{"target_artifact_reference": reference})
		if err == nil || strings.Contains(err.Error(), "hush") || !strings.Contains(err.Error(), "registry_password") {
			t.Errorf("%v", err)
		}
	}
	if _, err := parse(map[string]string{"target_artifact_reference": "ghcr.io:443/me/app:v1@sha256:" + strings.Repeat("a", 64)}); err != nil {
		t.Error(err)
	}
	if _, err := parse(map[string]string{"target_artifact_reference": "oci://ghcr.io/me/app:v1"}); err == nil || !strings.Contains(err.Error(), "begins with a scheme; write it like") {
		t.Errorf("%v", err)
	}
}

func TestValueOfABooleanFlagAfterABlank(t *testing.T) {
	w := newRunWorld(t)
	r := w.run(t, nil, "--recursive", "true")
	if r.code != exitUsage || !strings.Contains(r.log, "write --name=value") {
		t.Errorf("exit code %d", r.code)
	}
}

// What a key is denied for may be the PIN, so the error says which PIN that was.
func TestDeniedKeySaysWhereThePINComesFrom(t *testing.T) {
	w := newRunWorld(t)
	w.plugin.Err = &contract.Error{ErrCode: contract.ErrorCodeAccessDenied, Message: "the PIN is wrong"}
	reference, _ := w.image(t, "app", "v1")
	w.plugin.Secrets = func(string, map[string]string) []string { return []string{variablePIN} }
	for name, c := range map[string]struct{ variable, value, says string }{
		"input":    {"INPUT_PIN", "471147", "the PIN comes from the input pin"},
		"variable": {variablePIN, "471147", "comes from the environment variable " + variablePIN},
		"empty":    {"INPUT_PIN", "", "a secret that the job can't see is empty"},
	} {
		r := w.run(t, map[string]string{"INPUT_MODE": "sign", "INPUT_TARGET_ARTIFACT_REFERENCE": reference, c.variable: c.value})
		if r.code != exitFailure || !strings.Contains(r.artifact.Error, c.says) {
			t.Errorf("%s: %s", name, r.artifact.Error)
		}
	}
	// The built-in plugin knows its variable alone.
	w.plugin.Err = &contract.Error{ErrCode: contract.ErrorCodeAccessDenied, Message: "the PIN is wrong. Check the environment variable " + variablePIN + " before the token locks."}
	r := w.run(t, map[string]string{"INPUT_MODE": "sign", "INPUT_TARGET_ARTIFACT_REFERENCE": reference, "INPUT_PIN": "471147"})
	if !strings.HasSuffix(r.artifact.Error, ": the PIN is wrong. Check the input pin before the token locks (ACCESS_DENIED)") {
		t.Errorf("%s", r.artifact.Error)
	}
}
