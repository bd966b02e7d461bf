// SPDX-License-Identifier: Apache-2.0

//go:build snapshot

package packaging

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// unpackPackages returns the directories that the deb and the rpm of a program
// are unpacked in, by their form.
func unpackPackages(t *testing.T, program string) map[string]string {
	t.Helper()
	roots := map[string]string{"deb": t.TempDir(), "rpm": t.TempDir()}
	output(t, "dpkg-deb", "--extract", asset(t, program, "linux_amd64.deb"), roots["deb"])
	output(t, "sh", "-c", `rpm2cpio "$1" | cpio --extract --make-directories --no-absolute-filenames --quiet --directory "$2"`, "sh",
		asset(t, program, "linux_amd64.rpm"), roots["rpm"])
	return roots
}

func TestPackagesPutTheExecutableIntoUsrBin(t *testing.T) {
	for program, released := range map[string]string{
		"notation-pkcs11":        pluginOf(t, "linux_amd64"),
		"notation-pkcs11-action": asset(t, "notation-pkcs11-action", "linux_amd64"),
	} {
		want, err := os.ReadFile(released)
		if err != nil {
			t.Fatal(err)
		}
		for form, root := range unpackPackages(t, program) {
			path := filepath.Join(root, "usr/bin", program)
			got, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o755 {
				t.Errorf("%s of %s: mode %v, %v", form, program, info.Mode(), err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("the %s of %s has another executable than the release", form, program)
			}
			if _, err := os.Stat(filepath.Join(root, "usr/share/doc", program, "copyright")); err != nil {
				t.Error(err)
			}
		}
	}
}

// Each command of the plugin has a man page, and each of the three shells what
// completes commands, at the place where a distribution's shells look.
func TestPackagesHaveTheManual(t *testing.T) {
	var commands []string
	help := output(t, pluginOf(t, "linux_amd64"), "--help")
	_, help, _ = strings.Cut(help, "Available Commands:\n")
	help, _, _ = strings.Cut(help, "\n\n")
	for line := range strings.Lines(help) {
		if name := strings.Fields(line)[0]; name != "completion" && name != "help" {
			commands = append(commands, "notation-pkcs11-"+name)
		}
	}
	if len(commands) < 5 {
		t.Fatalf("the help has the commands %q", commands)
	}
	completions := map[string]map[string]string{
		"deb": {"zsh": "usr/share/zsh/vendor-completions/_notation-pkcs11"},
		"rpm": {"zsh": "usr/share/zsh/site-functions/_notation-pkcs11"},
	}
	for form, root := range unpackPackages(t, "notation-pkcs11") {
		for _, command := range append(commands, "notation-pkcs11", "notation-pkcs11-audit-verify") {
			page := readCompressed(t, filepath.Join(root, "usr/share/man/man1", command+".1.gz"))
			for _, want := range []string{".SH NAME\n" + command + " - ", "notation-pkcs11 " + version(t), ".SH OPTIONS"} {
				if !strings.Contains(page, want) {
					t.Errorf("%s: the page of %s lacks %q", form, command, want)
				}
			}
		}
		completions[form]["bash"] = "usr/share/bash-completion/completions/notation-pkcs11"
		completions[form]["fish"] = "usr/share/fish/vendor_completions.d/notation-pkcs11.fish"
		for shell, path := range completions[form] {
			got, err := os.ReadFile(filepath.Join(root, path))
			if err != nil {
				t.Fatal(err)
			}
			if want := output(t, pluginOf(t, "linux_amd64"), "completion", shell); string(got) != want {
				t.Errorf("%s: the completion for %s is not what the plugin prints", form, shell)
			}
		}
	}
}

func readCompressed(t *testing.T, path string) string {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	r, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}
