// SPDX-License-Identifier: Apache-2.0

package docs_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

// Each whole workflow of a page passes actionlint beside this repository's own: the
// inputs that it hands to the action, or to the reusable workflow, are there.
func TestWorkflowsOfPagesPassActionlint(t *testing.T) {
	project := t.TempDir()
	if err := os.Mkdir(filepath.Join(project, ".git"), 0o700); err != nil { // by which actionlint knows a project
		t.Fatal(err)
	}
	for _, path := range []string{"action.yml", ".github/actionlint.yaml", ".github/workflows/sign.yml"} {
		testenv.PutFile(t, filepath.Join(project, path), page(t, filepath.Join("..", path)))
	}
	here := strings.NewReplacer(
		"uses: notation-pkcs11/notation-pkcs11/.github/workflows/sign.yml@v1", "uses: ./.github/workflows/sign.yml",
		"uses: notation-pkcs11/notation-pkcs11@v1", "uses: ./",
	)
	workflows := 0
	for path, content := range pages(t) {
		for _, block := range blocks(content) {
			if block.language == "yaml" && strings.Contains(block.text, "on:\n") && strings.Contains(block.text, "\njobs:\n") {
				workflows++
				name := fmt.Sprintf("%s-line-%d.yml", strings.ReplaceAll(path, "/", "-"), block.line)
				testenv.PutFile(t, filepath.Join(project, ".github/workflows", name), here.Replace(block.text))
			}
		}
	}
	if workflows < 2 {
		t.Fatalf("only %d workflows were looked at", workflows)
	}
	path, err := exec.Command("go", "tool", "-modfile=../testenv/tools/actionlint/go.mod", "-n", "actionlint").Output()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), strings.TrimSpace(string(path)), "-no-color", "-shellcheck=", "-pyflakes=")
	cmd.Dir = project
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
