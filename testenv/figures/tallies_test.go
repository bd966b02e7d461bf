// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"strings"
	"testing"
)

// reported is the output of tests, shortened, as go test -v and make fuzz print it.
const reported = `=== RUN   TestModuleFaults
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

const soaked = "before\n<!-- begin generated counts -->\nold\n<!-- end generated counts -->\n" +
	"<!-- begin generated fuzz targets -->\nold\n<!-- end generated fuzz targets -->\nafter\n"

func TestPageHasEachCount(t *testing.T) {
	page, err := write(t, "tallies", soaked, reported)
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
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q:\n%s", want, page)
		}
	}
	if !strings.Contains(page, "Run on 2026-01-02, on ") || !strings.Contains(page, "| `pkcs11 FuzzParseURI` | 10 min | 9,044,594 |\n<!-- end") {
		t.Errorf("the page is\n%s", page)
	}
}

// The project's page has the parts that are written, and the README leads to it.
func TestProjectsPageHasTheCounts(t *testing.T) {
	read := func(path string) string {
		t.Helper()
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	page := read("../../docs/soak.md")
	if _, err := write(t, "tallies", page, reported); err != nil {
		t.Errorf("docs/soak.md: %v", err)
	}
	for _, row := range rows {
		if !strings.Contains(page, "| "+row.tried+" | ") {
			t.Errorf("docs/soak.md lacks %q", row.tried)
		}
	}
	if !strings.Contains(read("../../README.md"), "](docs/soak.md)") {
		t.Error("the README doesn't lead to docs/soak.md")
	}
}
