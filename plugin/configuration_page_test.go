// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"os"
	"strings"
	"testing"
)

// The table of configuration has every name that is read, on one line for each
// setting.
func TestPageHasEverySetting(t *testing.T) {
	page, err := os.ReadFile("../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range settings {
		documented := false
		for line := range strings.Lines(string(page)) {
			documented = documented || strings.HasPrefix(line, "|") && hasAll(line, s.attribute, s.key, s.variable)
		}
		if !documented {
			t.Errorf("docs/configuration.md lacks %q, %q, %q", s.attribute, s.key, s.variable)
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
