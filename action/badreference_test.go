// SPDX-License-Identifier: Apache-2.0

package action

import (
	"strings"
	"testing"
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
