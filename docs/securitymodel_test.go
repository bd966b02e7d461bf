// SPDX-License-Identifier: Apache-2.0

package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var testFunction = regexp.MustCompile(`(?m)^func (Test|Fuzz|Example)\w`)

// What the security model says is shown by tests: each row of its tables that has
// a column for them names files, and those are tests.
func TestSecurityModelNamesTests(t *testing.T) {
	rows := 0
	for _, title := range []string{"Where secrets go", "Threats", "The agent"} {
		_, section, found := strings.Cut(page(t, "security-model.md"), "\n## "+title+"\n")
		section, _, _ = strings.Cut(section, "\n## ")
		if !found {
			t.Errorf("there is no section %s", title)
		}
		for line := range strings.Lines(section) {
			cells := strings.Split(strings.Trim(line, "| \n"), " | ")
			if len(cells) < 3 || strings.HasPrefix(cells[0], "---") {
				continue
			}
			if rows++; rows == 1 || cells[0] == "attacker" {
				continue // a heading
			}
			names := quoted.FindAllStringSubmatch(cells[len(cells)-1], -1)
			if len(names) == 0 {
				t.Errorf("no test shows what is said of %s", cells[0])
			}
			for _, name := range names {
				content, err := os.ReadFile(filepath.Join("..", name[1]))
				script := strings.HasSuffix(name[1], ".txtar")
				if err != nil || !script && (!strings.HasSuffix(name[1], "_test.go") || !testFunction.Match(content)) {
					t.Errorf("%s: %s is no test: %v", cells[0], name[1], err)
				}
			}
		}
	}
	if rows < 50 {
		t.Errorf("only %d rows were looked at", rows)
	}
}
