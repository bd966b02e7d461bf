// SPDX-License-Identifier: Apache-2.0

package docs_test

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

// Whole workflows of pages pass GitHub's linter.
func TestWorkflowsOfPagesAreValid(t *testing.T) {
	testenv.Long(t, "builds actionlint")
	found, err := exec.CommandContext(t.Context(), "go", "tool", "-modfile=../testenv/tools/actionlint/go.mod", "-n", "actionlint").Output()
	if err != nil {
		t.Fatal(err)
	}
	linter := strings.TrimSpace(string(found))
	workflows := 0
	for path, text := range pages(t) {
		for _, block := range blocks(text) {
			if block.language != "yaml" || !strings.HasPrefix(block.text, "on:") || !strings.Contains(block.text, "\njobs:") {
				continue
			}
			workflows++
			lint := exec.CommandContext(t.Context(), linter, "-stdin-filename", filepath.Base(path)+".yml", "-")
			lint.Dir, lint.Stdin = t.TempDir(), bytes.NewBufferString(block.text)
			if output, err := lint.CombinedOutput(); err != nil {
				t.Errorf("%s, line %d: %v\n%s", path, block.line, err, output)
			}
		}
	}
	if workflows < 2 {
		t.Errorf("only %d workflows were looked at", workflows)
	}
}
