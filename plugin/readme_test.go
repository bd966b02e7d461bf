// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"os"
	"strings"
	"testing"
)

// The README's table of configuration has every name that is read, on one line
// for each setting.
func TestReadmeHasEverySetting(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range settings {
		documented := false
		for line := range strings.Lines(string(readme)) {
			documented = documented || strings.HasPrefix(line, "|") && hasAll(line, s.attribute, s.key, s.variable)
		}
		if !documented {
			t.Errorf("the README's table lacks %q, %q, %q", s.attribute, s.key, s.variable)
		}
	}
}

func hasAll(line string, names ...string) bool {
	for _, name := range names {
		if name != "" && !strings.Contains(line, "`"+name+"`") {
			return false
		}
	}
	return true
}
