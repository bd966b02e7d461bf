// SPDX-License-Identifier: Apache-2.0

package docs_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// foreign are symptoms that neither the plugin nor notation's libraries word, but the
// loader and the notation CLI.
var foreign = []string{
	"GLIBC_2.… not found", "Successfully signed", "notation sign", "verify",
	"a credentials store is required", "signature verification failed for all the signatures",
}

var quoted = regexp.MustCompile("`([^`]+)`")

// A symptom is found by its words, so they must be the ones that a program says.
func TestSymptomsAreWordedAsProgramsWordThem(t *testing.T) {
	sources := sourcesOf(t, "../internal", "../pkcs11", "../plugin", "../action", "../cmd",
		moduleDir(t, "github.com/notaryproject/notation-go"),
		moduleDir(t, "github.com/notaryproject/notation-core-go"),
		moduleDir(t, "github.com/miekg/pkcs11"),
		moduleDir(t, "oras.land/oras-go/v2"))
	_, table, _ := strings.Cut(page(t, "troubleshooting.md"), "\n## By symptom\n")
	table, _, _ = strings.Cut(table, "\n## ")
	phrases := 0
	for line := range strings.Lines(table) {
		cells := strings.Split(line, "|")
		if len(cells) < 3 {
			continue
		}
		for _, match := range quoted.FindAllStringSubmatch(cells[1], -1) {
			if slices.Contains(foreign, match[1]) {
				continue
			}
			phrases++
			if !strings.Contains(sources, match[1]) {
				t.Errorf("nobody says %q", match[1])
			}
		}
	}
	if phrases < 10 {
		t.Errorf("only %d symptoms were looked for", phrases)
	}
}

// sourcesOf returns the Go sources in folders, without tests.
func sourcesOf(t *testing.T, folders ...string) string {
	t.Helper()
	var all strings.Builder
	for _, folder := range folders {
		err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
				return err
			}
			content, err := os.ReadFile(path)
			all.Write(content)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all.String()
}

func moduleDir(t *testing.T, module string) string {
	t.Helper()
	dir, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(dir))
}
