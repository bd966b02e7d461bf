// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// write writes the page of a kind from tests' output, and returns it.
func write(t *testing.T, kind, page, output string) (string, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "page.md")
	if err := os.WriteFile(path, []byte(page), 0o600); err != nil {
		t.Fatal(err)
	}
	written := run(kind, strings.NewReader(output), io.Discard, path, noon)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text), written
}

// without leaves out the lines with a phrase.
func without(output, phrase string) string {
	lines := slices.DeleteFunc(strings.SplitAfter(output, "\n"), func(line string) bool { return strings.Contains(line, phrase) })
	return strings.Join(lines, "")
}

// What is not whole is not written.
func TestPagesStayAsTheyWere(t *testing.T) {
	measured := recorded(t)
	for name, test := range map[string]struct{ kind, page, output, wants string }{
		"nothing measured":       {"benchmarks", performance, "PASS\n", "are needed"},
		"a benchmark is missing": {"benchmarks", performance, without(measured, "BenchmarkNotationSign/EC-256"), "NotationSign/EC-256 has no"},
		"a unit is missing":      {"benchmarks", performance, strings.ReplaceAll(measured, "verifying-MiB", "MiB"), "has no verifying-MiB"},
		"a benchmark failed":     {"benchmarks", performance, measured + "--- FAIL: BenchmarkMore\n", "--- FAIL: BenchmarkMore"},
		"a package failed":       {"benchmarks", performance, measured + "FAIL\tcmd/more [build failed]", "build failed"},
		"measured twice":         {"benchmarks", performance, measured + measured, "twice"},
		"not a number":           {"benchmarks", performance, "BenchmarkX 2 y ms\n" + measured, "benchmarks:1"},
		"no markers":             {"benchmarks", "old\n", measured, "begin generated"},
		"no end":                 {"benchmarks", partBegins + "old\n", measured, "end generated"},

		"nothing ran":          {"tallies", soaked, "PASS\n", "no fuzz target ran"},
		"a count is missing":   {"tallies", soaked, without(reported, "tally: kills"), "kills: 0 tried"},
		"not all held":         {"tallies", soaked, strings.Replace(reported, "70 held", "69 held", 1), "bad inputs: 70 tried, 69 held"},
		"a test failed":        {"tallies", soaked, reported + "    --- FAIL: TestMore (0.00s)\n", "--- FAIL: TestMore"},
		"a test was skipped":   {"tallies", soaked, reported + "--- SKIP: TestMore (0.00s)\n", "--- SKIP: TestMore"},
		"a target did not run": {"tallies", soaked, without(reported, "fuzz: elapsed: 11m2s"), "action/report FuzzEscapers did not run"},
		"a target has no name": {"tallies", soaked, without(reported, "FuzzParseURI"), "no target was named"},
	} {
		t.Run(name, func(t *testing.T) {
			page, err := write(t, test.kind, test.page, test.output)
			if err == nil || !strings.Contains(err.Error(), test.wants) {
				t.Errorf("error %v, want %q", err, test.wants)
			}
			if page != test.page {
				t.Errorf("the page was changed:\n%s", page)
			}
		})
	}
}
