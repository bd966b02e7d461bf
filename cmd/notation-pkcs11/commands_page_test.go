// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"strings"
	"testing"
)

// The page of commands has a line for each command, and each flag that all of
// them have. The README has the commands.
func TestPagesHaveEveryCommand(t *testing.T) {
	read := func(path string) string {
		t.Helper()
		page, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(page)
	}
	readme, page := read("../../README.md"), read("../../docs/commands.md")
	root := newRoot()
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		if cmd.Hidden { // which is for nobody to type
			continue
		}
		if !strings.Contains(page, "`"+cmd.Name()) {
			t.Errorf("docs/commands.md lacks the command %s", cmd.Name())
		}
		if cmd.Name() == "completion" || cmd.Name() == "version" {
			continue
		}
		if !strings.Contains(readme, "| `"+cmd.Name()) {
			t.Errorf("the README lacks the command %s", cmd.Name())
		}
		if !strings.Contains(cmd.Example, "notation-pkcs11 "+cmd.Name()) {
			t.Errorf("the command %s has no example", cmd.Name())
		}
	}
	for _, f := range settingFlags {
		if !strings.Contains(page, "`--"+flagName(f.key)+"`") {
			t.Errorf("docs/commands.md lacks the flag --%s", flagName(f.key))
		}
	}
}

// What is typed in the examples of each command is parsed: its flags exist.
func TestExamplesAreCommandLines(t *testing.T) {
	for _, cmd := range newRoot().Commands() {
		for line := range strings.Lines(cmd.Example) {
			line, _, _ := strings.Cut(line, " -- ") // after which another command follows
			for word := range strings.FieldsSeq(line) {
				if name, ok := strings.CutPrefix(word, "--"); ok && cmd.Flags().Lookup(name) == nil {
					t.Errorf("%s has no flag --%s", cmd.Name(), name)
				}
			}
		}
	}
}
