// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"strings"
	"testing"
)

// The README has a line for each command, and each flag that all of them have.
func TestReadmeHasEveryCommand(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	root := newRoot()
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		if cmd.Hidden { // which is for nobody to type
			continue
		}
		if !strings.Contains(string(readme), "`"+cmd.Name()) {
			t.Errorf("the README lacks the command %s", cmd.Name())
		}
		if cmd.Name() != "completion" && cmd.Name() != "version" && !strings.Contains(cmd.Example, "notation-pkcs11 "+cmd.Name()) {
			t.Errorf("the command %s has no example", cmd.Name())
		}
	}
	for _, f := range settingFlags {
		if !strings.Contains(string(readme), "`--"+flagName(f.key)+"`") {
			t.Errorf("the README lacks the flag --%s", flagName(f.key))
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
