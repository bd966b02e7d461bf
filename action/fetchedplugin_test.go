// SPDX-License-Identifier: Apache-2.0

package action

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/notation-pkcs11/notation-pkcs11/testenv/download"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/softplugin"
)

// A plugin comes as it is, or in an archive, and signs.
func TestFetchedPluginSigns(t *testing.T) {
	w := newRunWorld(t)
	reference, _ := w.image(t, "app", "v1")
	script := softplugin.Script(t, w.signer)
	for name, content := range map[string][]byte{
		"executable": script,
		"tar.gz":     download.TarGzip(t, download.File("LICENSE", "free"), download.File("bin/notation-soft", string(script))),
		"zip":        download.Zip(t, download.File("notation-soft", string(script)), download.File("README.md", "soft")),
	} {
		t.Run(name, func(t *testing.T) {
			r := w.run(t, map[string]string{
				"INPUT_TARGET_ARTIFACT_REFERENCE": reference,
				"INPUT_PLUGIN_NAME":               "soft",
				"INPUT_PLUGIN_URL":                download.Serve(t, content),
				"INPUT_PLUGIN_CHECKSUM":           strings.ToUpper(download.SHA256(content)),
			})
			if n := r.report.Count(); r.code != 0 || n.Signed != 1 || n.Verified != 1 {
				t.Fatalf("exit code %d, %+v", r.code, n)
			}
		})
	}
	left, err := filepath.Glob(w.path(Name + "-*"))
	left = slices.DeleteFunc(left, func(path string) bool { return strings.HasSuffix(path, ".json") }) // an output names it
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// What does not have the checksum is not even unpacked.
func TestPluginWithAnotherChecksumIsNotUsed(t *testing.T) {
	w := newRunWorld(t)
	reference, _ := w.image(t, "app", "v1")
	ran := w.path("ran")
	script := []byte("#!/bin/sh\ntouch " + ran + "\n")
	r := w.run(t, map[string]string{
		"INPUT_TARGET_ARTIFACT_REFERENCE": reference,
		"INPUT_PLUGIN_NAME":               "soft",
		"INPUT_PLUGIN_URL":                download.Serve(t, script),
		"INPUT_PLUGIN_CHECKSUM":           download.SHA256([]byte("something else")),
	})
	if r.code != 1 || len(r.report.Errors) != 1 || !strings.Contains(r.report.Errors[0], "plugin_checksum") {
		t.Fatalf("exit code %d, errors %q", r.code, r.report.Errors)
	}
	if _, err := os.Stat(ran); err == nil {
		t.Error("it was run")
	}
	if len(r.requests) != 0 {
		t.Errorf("requests %v", r.requests)
	}
}

// A plugin that is installed in notation is used as it is.
func TestInstalledPluginSigns(t *testing.T) {
	w := newRunWorld(t)
	reference, _ := w.image(t, "app", "v1")
	folder := w.path("notation/plugins/soft")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "notation-soft"), softplugin.Script(t, w.signer), 0o700); err != nil {
		t.Fatal(err)
	}
	r := w.run(t, map[string]string{"INPUT_TARGET_ARTIFACT_REFERENCE": reference, "INPUT_PLUGIN_NAME": "soft"})
	if n := r.report.Count(); r.code != 0 || n.Signed != 1 || n.Verified != 1 {
		t.Fatalf("exit code %d, %+v", r.code, n)
	}
}
