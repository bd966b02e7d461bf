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

// The output of tests, shortened, as go test -v and make fuzz print it.
const output = `=== RUN   TestModuleFaults
    faults_test.go:10: tally: module faults: 1200 tried, 1200 held
--- PASS: TestModuleFaults (9.00s)
    --- PASS: TestModuleFaults/C_Sign (1.00s)
    faults_test.go:20: tally: module faults: 34 tried, 34 held
    faults_test.go:30: tally: registry faults: 500 tried, 500 held
    kill_test.go:30: tally: kills: 60 tried, 60 held
    writers_test.go:30: tally: signatures: 200 tried, 200 held
    input_test.go:30: tally: bad inputs: 70 tried, 70 held
PASS
ok  	github.com/notation-pkcs11/notation-pkcs11/action	30.747s
github.com/notation-pkcs11/notation-pkcs11/pkcs11 FuzzParseURI
fuzz: elapsed: 0s, gathering baseline coverage: 0/226 completed
fuzz: elapsed: 3s, execs: 44594 (14864/sec), new interesting: 219 (total: 226)
fuzz: elapsed: 10m0s, execs: 9044594 (15264/sec), new interesting: 219 (total: 226)
PASS
github.com/notation-pkcs11/notation-pkcs11/action/report FuzzEscapers
fuzz: elapsed: 11m2s, execs: 1000 (2/sec), new interesting: 219 (total: 226)
`

const pages = "before\n<!-- begin generated counts -->\nold\n<!-- end generated counts -->\n" +
	"<!-- begin generated fuzz targets -->\nold\n<!-- end generated fuzz targets -->\nafter\n"

// write writes the two pages from tests' output, and returns them.
func write(t *testing.T, output string) (page, readme string, err error) {
	t.Helper()
	paths := []string{filepath.Join(t.TempDir(), "soak.md"), filepath.Join(t.TempDir(), "README.md")}
	for _, path := range paths {
		if err := os.WriteFile(path, []byte(pages), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	err = run(strings.NewReader(output), io.Discard, paths[0], paths[1], noon)
	var texts []string
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(text))
	}
	return texts[0], texts[1], err
}

func TestPagesHaveEachCount(t *testing.T) {
	page, readme, err := write(t, output)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"garbage | 1,234 | 1,234 |\n",
		"a run | 500 | 500 |\n",
		"listed afterwards | 200 | 200 |\n",
		"| bad inputs | 70 | 70 |\n",
		"| executions of 2 fuzz targets, each for at least 10 min | 9,045,594 | 9,045,594 |\n<!-- end generated counts -->\n",
	} {
		if !strings.Contains(page, want) || !strings.Contains(readme, want) {
			t.Errorf("a page lacks %q:\n%s\n%s", want, page, readme)
		}
	}
	if !strings.Contains(page, "Run on 2026-01-02, on ") || !strings.Contains(page, "| `pkcs11 FuzzParseURI` | 10 min | 9,044,594 |\n<!-- end") {
		t.Errorf("the page is\n%s", page)
	}
}

// What is not whole is not written.
func TestPagesStayAsTheyWere(t *testing.T) {
	for name, test := range map[string]struct{ output, wants string }{
		"nothing ran":          {"PASS\n", "no fuzz target ran"},
		"a count is missing":   {without("tally: kills"), "kills: 0 tried"},
		"not all held":         {strings.Replace(output, "70 held", "69 held", 1), "bad inputs: 70 tried, 69 held"},
		"a test failed":        {output + "    --- FAIL: TestMore (0.00s)\n", "--- FAIL: TestMore"},
		"a test was skipped":   {output + "--- SKIP: TestMore (0.00s)\n", "--- SKIP: TestMore"},
		"a package failed":     {output + "FAIL\tcmd/more [build failed]", "build failed"},
		"a target did not run": {without("fuzz: elapsed: 11m2s"), "action/report FuzzEscapers did not run"},
		"a target has no name": {without("FuzzParseURI"), "no target was named"},
	} {
		t.Run(name, func(t *testing.T) {
			page, readme, err := write(t, test.output)
			if err == nil || !strings.Contains(err.Error(), test.wants) {
				t.Errorf("error %v, want %q", err, test.wants)
			}
			if page != pages || readme != pages {
				t.Errorf("a page was changed:\n%s\n%s", page, readme)
			}
		})
	}
}

func without(phrase string) string {
	lines := slices.DeleteFunc(strings.SplitAfter(output, "\n"), func(line string) bool { return strings.Contains(line, phrase) })
	return strings.Join(lines, "")
}

// The README has the figures of the page.
func TestProjectsPagesAgree(t *testing.T) {
	part := func(path string) string {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		_, rest, begins := strings.Cut(string(text), "<!-- begin generated counts -->\n")
		counts, _, ends := strings.Cut(rest, "<!-- end generated counts -->\n")
		if !begins || !ends || !strings.Contains(counts, "| tried |") {
			t.Fatalf("%s has no counts", path)
		}
		return counts
	}
	if page, readme := part("../../docs/soak.md"), part("../../README.md"); !strings.HasSuffix(page, readme) {
		t.Errorf("docs/soak.md has\n%s\nREADME.md has\n%s", page, readme)
	}
}
