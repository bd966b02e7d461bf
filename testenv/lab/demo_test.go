// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

// buildPlugin builds the plugin under the name that "notation plugin install"
// wants, and the action beside it.
func buildPlugin(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notation-pkcs11")
	out, err := exec.Command("go", "build", "-o", filepath.Dir(path), "../../cmd/notation-pkcs11", "../../cmd/notation-pkcs11-action").CombinedOutput()
	if err != nil {
		t.Fatalf("build the executables: %v\n%s", err, out)
	}
	return path
}

// ownTempDir gives the demo a temporary directory that has nothing else in it.
func ownTempDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	return dir
}

func checkEmpty(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if path != dir {
			t.Errorf("%s is left over", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestDemo(t *testing.T) {
	plugin := buildPlugin(t)
	for _, choice := range []string{"", "registry2"} {
		t.Run("registry "+choice, func(t *testing.T) {
			temp := ownTempDir(t)
			var out bytes.Buffer
			if err := demo(t.Context(), newTerminal(&out, os.Getenv), plugin, choice); err != nil {
				t.Fatalf("%v\n%s", err, &out)
			}
			for text, count := range map[string]int{
				"Successfully installed plugin pkcs11":  1,
				"No manifest has the image as":          2,
				"$ notation sign --signature-format":    4,
				"Successfully signed localhost:":        4,
				"$ notation list":                       2,
				"$ notation inspect":                    1,
				"Successfully verified signature":       3,
				"$ notation-pkcs11-action --source":     1,
				"The tag v2 points to the build.":       1,
				`"subject": {`:                          4,
				"  config       {}":                     4,
				"bytes of application/cose":             2,
				"bytes of application/jose+json":        2,
				"The referrers index, under the tag":    1,
				"There is no referrers index: no tag":   3,
				"GET /v2/app/referrers/sha256:":         4,
				": this registry has no Referrers API":  2,
				"$ notation-pkcs11 generate-key":        2,
				"$ notation-pkcs11 check":               1,
				"With --force-referrers-tag=false, ":    1,
				"Verification looks for the referrers":  1,
				"same digest before and after":          2,
				"io.cncf.notary.x509chain.thumbprint#S": 8, // two manifests twice, their index, and the API's answer
			} {
				if got := strings.Count(out.String(), text); got != count {
					t.Errorf("%q is there %d times, want %d", text, got, count)
				}
			}
			if strings.Contains(out.String(), testenv.UserPIN) {
				t.Error("the PIN is in the output")
			}
			checkEmpty(t, temp)
		})
	}
}

func TestFailedStepEndsTheDemo(t *testing.T) {
	temp := ownTempDir(t)
	var out bytes.Buffer
	err := demo(t.Context(), newTerminal(&out, os.Getenv), filepath.Join(temp, "notation-none"), "")
	if err == nil || !strings.Contains(err.Error(), "notation-pkcs11 generate-key") {
		t.Errorf("error %v does not name the step", err)
	}
	if strings.Contains(out.String(), "$ notation key add") {
		t.Error("it went on after a failed step")
	}
	checkEmpty(t, temp)
}

func TestUnknownRegistryChoice(t *testing.T) {
	err := demo(t.Context(), newTerminal(&bytes.Buffer{}, os.Getenv), "", "registry3")
	if err == nil || !strings.Contains(err.Error(), `"registry3"`) {
		t.Errorf("error %v does not name the choice", err)
	}
}
