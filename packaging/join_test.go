// SPDX-License-Identifier: Apache-2.0

package packaging

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// builtBy writes what two runners built, and returns the checksums of the
// action's executables as the action wants them.
func builtBy(t *testing.T, dir string) (pins string) {
	t.Helper()
	for runner, platform := range map[string]string{"linux": "linux_amd64", "macos": "darwin_arm64"} {
		var list string
		for _, name := range []string{
			"notation-pkcs11_1.2.3_" + platform + ".tar.gz",
			"notation-pkcs11-action_1.2.3_" + platform,
			"notation-pkcs11-action_1.2.3_" + platform + ".cdx.json",
			"notation-pkcs11-action_1.2.3_" + platform + ".deb", // which the action doesn't download
		} {
			digest := sha256.Sum256([]byte(name))
			line := fmt.Sprintf("%s  %s\n", hex.EncodeToString(digest[:]), name)
			list += line
			if strings.HasSuffix(name, "action_1.2.3_"+platform) {
				pins += line
			}
			place(t, filepath.Join(dir, "built", runner, name), name)
		}
		place(t, filepath.Join(dir, "built", runner, "notation-pkcs11_1.2.3_checksums.txt"), list)
	}
	return pins
}

func place(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

const changelog = "# Changelog\n\n## [Unreleased]\n\n## [1.2.3] - 2026-01-02\n\n- Now.\n\n## [1.2.2] - 2026-01-01\n\n- Before.\n"

func join(t *testing.T, dir string) (log string, ok bool) {
	t.Helper()
	script, err := filepath.Abs("join.sh")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), script, "built/linux", "built/macos", "1.2.3")
	cmd.Dir = dir
	output, err := cmd.CombinedOutput()
	return string(output), err == nil
}

func TestReleaseJoinsWhatTheRunnersBuilt(t *testing.T) {
	dir := t.TempDir()
	place(t, filepath.Join(dir, "action/executable.sha256"), "# A comment.\n"+builtBy(t, dir))
	place(t, filepath.Join(dir, "CHANGELOG.md"), changelog)
	if log, ok := join(t, dir); !ok {
		t.Fatal(log)
	}
	files, err := filepath.Glob(filepath.Join(dir, "release", "*"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 8+2 {
		t.Errorf("the release has %q", files)
	}
	notes, err := os.ReadFile(filepath.Join(dir, "release/notes.md"))
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.TrimSpace(string(notes)); got != "- Now." {
		t.Errorf("the notes are %q", got)
	}
}

func TestReleaseStops(t *testing.T) {
	for name, test := range map[string]struct {
		change func(t *testing.T, dir string)
		want   string
	}{
		"executable that the action would refuse": {
			func(t *testing.T, dir string) {
				place(t, filepath.Join(dir, "action/executable.sha256"), "# None yet.\n")
			},
			"the action would refuse its executable",
		},
		"changelog without the version": {
			func(t *testing.T, dir string) {
				place(t, filepath.Join(dir, "CHANGELOG.md"), "# Changelog\n\n## [1.2.2]\n\n- Before.\n")
			},
			"CHANGELOG.md has no entries for 1.2.3",
		},
		"file that was changed on the way": {
			func(t *testing.T, dir string) {
				place(t, filepath.Join(dir, "built/linux/notation-pkcs11_1.2.3_linux_amd64.tar.gz"), "other")
			},
			"linux_amd64.tar.gz: FAILED",
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			place(t, filepath.Join(dir, "action/executable.sha256"), builtBy(t, dir))
			place(t, filepath.Join(dir, "CHANGELOG.md"), changelog)
			test.change(t, dir)
			log, ok := join(t, dir)
			if ok || !strings.Contains(log, test.want) {
				t.Errorf("want %q: %s", test.want, log)
			}
		})
	}
}
