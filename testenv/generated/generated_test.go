// SPDX-License-Identifier: Apache-2.0

package generated

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReplaceChangesOnePartAlone(t *testing.T) {
	const page = "a\n<!-- begin generated in -->\nold\n<!-- end generated in -->\n  # begin generated inputs\n  x\n  # end generated inputs\nz"
	for _, test := range []struct {
		part  string
		lines []string
		want  string
	}{
		{"in", []string{"new", "lines"}, strings.Replace(page, "old\n", "new\nlines\n", 1)},
		{"in", nil, strings.Replace(page, "old\n", "", 1)},
		{"inputs", []string{"y", ""}, strings.Replace(page, "  x\n", "  y\n\n", 1)},
	} {
		got, err := Replace(page, test.part, test.lines)
		if err != nil || got != test.want {
			t.Errorf("%s: %v:\n%s", test.part, err, got)
		}
	}
}

func TestPageWithoutWholePartStaysAsItWas(t *testing.T) {
	const begin, end = "<!-- begin generated x -->\n", "<!-- end generated x -->\n"
	for name, page := range map[string]string{
		"no part":     "text\n",
		"no end":      begin + "text\n",
		"no begin":    end,
		"twice":       begin + end + begin + end,
		"longer name": strings.ReplaceAll(begin+end, "x", "xy"),
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "page.md")
			if err := os.WriteFile(path, []byte(page), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := Rewrite(path, map[string][]string{"x": {"new"}}); err == nil || !strings.Contains(err.Error(), "begin generated x") {
				t.Errorf("error %v", err)
			}
			if got, err := os.ReadFile(path); err != nil || string(got) != page {
				t.Errorf("%v: %q", err, got)
			}
		})
	}
}
