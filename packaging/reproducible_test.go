// SPDX-License-Identifier: Apache-2.0

//go:build snapshot

package packaging

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A second release of the same commit and files, built in another directory, is
// the same, byte for byte, whether the checkout has a remote or not. Its plugin for this machine is compiled anew, with an
// empty cache; the rest is linked and packed anew.
func TestReleaseIsReproducible(t *testing.T) {
	want, err := os.ReadFile(asset(t, "notation-pkcs11", "checksums.txt"))
	if err != nil {
		t.Fatal(err)
	}
	checkout := filepath.Join(t.TempDir(), "another", "directory")
	copyCheckout(t, checkout)

	build := exec.CommandContext(t.Context(), "packaging/build.sh", "--snapshot")
	build.Dir = checkout
	if log, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	got, err := os.ReadFile(filepath.Join(checkout, "dist/release", filepath.Base(asset(t, "notation-pkcs11", "checksums.txt"))))
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("the checksums of the first build are\n%s\nof the second\n%s", want, got)
	}

	first, err := os.ReadFile(pluginOf(t, "linux_amd64"))
	if err != nil {
		t.Fatal(err)
	}
	recompile := exec.CommandContext(t.Context(), "packaging/goreleaser.sh", "build", "--snapshot", "--clean",
		"--single-target", "--id", "plugin-linux", "--output", "recompiled")
	recompile.Dir = checkout
	recompile.Env = append(os.Environ(), "GOCACHE="+t.TempDir())
	if log, err := recompile.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	second, err := os.ReadFile(filepath.Join(checkout, "recompiled"))
	if err != nil {
		t.Fatal(err)
	}
	if sum(first) != sum(second) {
		t.Error("the plugin that is compiled with an empty cache is another one")
	}
}

// copyCheckout makes a clone with the files as they are here, committed or not. It
// has a remote if there is none here, and none otherwise.
func copyCheckout(t *testing.T, to string) {
	t.Helper()
	output(t, "git", "clone", "--quiet", "..", to)
	if output(t, "git", "-C", "..", "remote") != "" {
		output(t, "git", "-C", to, "remote", "remove", "origin")
	}
	for name := range strings.SplitSeq(output(t, "git", "-C", "..", "ls-files", "-z", "--cached", "--others", "--exclude-standard"), "\x00") {
		if name == "" {
			continue
		}
		copyFile(t, filepath.Join("..", name), filepath.Join(to, name))
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	if os.IsNotExist(err) { // deleted, and not committed yet
		if err := os.Remove(to); err != nil {
			t.Fatal(err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		t.Fatal(err)
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, info.Mode().Perm())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
}
