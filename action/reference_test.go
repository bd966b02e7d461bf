// SPDX-License-Identifier: Apache-2.0

package action

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/notation-pkcs11/notation-pkcs11/testenv/generated"
)

var update = flag.Bool("update", false, "write the generated parts of action.yml and of the documentation")

// parts are those that follow from inputTable and outputTable.
var parts = []struct {
	file, part string
	lines      func() []string
}{
	{"action.yml", "inputs", manifestInputs},
	{"action.yml", "outputs", manifestOutputs},
	{"action.yml", "environment", manifestEnvironment},
	{signWorkflow, "inputs", workflowInputs},
	{signWorkflow, "secrets", workflowSecrets},
	{signWorkflow, "outputs", workflowOutputs},
	{signWorkflow, "results", workflowResults},
	{signWorkflow, "values", workflowValues},
	{"docs/action.md", "inputs", referenceInputs},
	{"docs/action.md", "outputs", referenceOutputs},
	{"docs/report.md", "example", exampleJSON},
	{"docs/report.md", "summary", exampleSummary},
	{"docs/report.md", "list", exampleList},
}

// The manifest of the action and the documentation say what the tables say. To
// bring them up to date: go test ./action -run TestReference -update
func TestReferenceFollowsTheTables(t *testing.T) {
	for _, g := range parts {
		t.Run(g.file+" "+g.part, func(t *testing.T) {
			text := readDocument(t, g.file)
			want, err := generated.Replace(text, g.part, g.lines())
			if err != nil {
				t.Fatalf("%s: %v", g.file, err)
			}
			if want == text {
				return
			}
			if !*update {
				t.Fatalf("%s differs from the tables in action/inputtable.go; run: go test ./action -run TestReference -update", g.file)
			}
			if err := os.WriteFile(filepath.Join("..", g.file), []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// readDocument reads a file of the repository, by its path in there.
func readDocument(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func manifestInputs() []string {
	var lines []string
	for _, i := range inputTable {
		lines = append(lines, i.name+":", "  description: >-")
		lines = append(lines, fold(i.text, "    ", 90)...)
		if i.name == "target_artifact_reference" {
			lines = append(lines, "  required: true")
		}
		if i.fallback != "" {
			lines = append(lines, fmt.Sprintf("  default: %q", i.fallback))
		}
	}
	return lines
}

func manifestOutputs() []string {
	var lines []string
	for _, o := range outputTable {
		lines = append(lines, o.name+":", "  description: >-")
		lines = append(lines, fold(o.text, "    ", 90)...)
		lines = append(lines, fmt.Sprintf("  value: ${{ steps.run.outputs.%s }}", o.name))
	}
	return lines
}

func manifestEnvironment() []string {
	var lines []string
	for _, i := range inputTable {
		lines = append(lines, fmt.Sprintf("%s: ${{ inputs.%s }}", i.variable(), i.name))
	}
	return lines
}

func referenceInputs() []string {
	var lines []string
	section := ""
	for _, i := range inputTable {
		if i.section != section {
			section = i.section
			lines = append(lines, "", "### "+section, "")
		}
		line := "- **`" + i.name + "`**"
		if i.fallback != "" {
			line += " (default: `" + i.fallback + "`)"
		}
		line += ": " + i.text
		if i.example != "" {
			line += " Example: `" + i.example + "`"
		}
		lines = append(lines, line)
	}
	return append(lines, "")
}

func referenceOutputs() []string {
	lines := []string{""}
	for _, o := range outputTable {
		lines = append(lines, fmt.Sprintf("- **`%s`**: %s", o.name, o.text))
	}
	return append(lines, "")
}

// fold breaks a text into indented lines.
func fold(text, indent string, columns int) []string {
	var lines []string
	line := indent
	for _, word := range strings.Fields(text) {
		if len(line)+len(word) > columns && line != indent {
			lines = append(lines, strings.TrimRight(line, " "))
			line = indent
		}
		line += word + " "
	}
	return append(lines, strings.TrimRight(line, " "))
}

// What stands in a run script is code, and an expression in it is filled in by
// whoever wrote the value.
func TestManifestHasNoExpressionInAScript(t *testing.T) {
	for line := range strings.Lines(readDocument(t, "action.yml")) {
		if _, script, isRun := strings.Cut(line, "run:"); isRun && strings.Contains(script, "${{") {
			t.Errorf("expression in a script: %s", strings.TrimSpace(line))
		}
		if strings.Contains(line, "run: |") || strings.Contains(line, "run: >") {
			t.Errorf("a script of several lines, which this test can't judge: %s", strings.TrimSpace(line))
		}
	}
}
