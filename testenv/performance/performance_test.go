// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The markers of the page's generated part.
const (
	partBegins = "<!-- begin generated benchmarks -->\n"
	partEnds   = "<!-- end generated benchmarks -->\n"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// recorded is the output of the benchmarks, with two rounds of each on a busy
// machine: its figures are good for tests alone.
func recorded(t *testing.T) string {
	t.Helper()
	output, err := os.ReadFile("testdata/bench.txt")
	if err != nil {
		t.Fatal(err)
	}
	return string(output)
}

// write writes a page from benchmarks' output, and returns it.
func write(t *testing.T, page, output string) (string, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "page.md")
	if err := os.WriteFile(path, []byte(page), 0o600); err != nil {
		t.Fatal(err)
	}
	errRun := run(strings.NewReader(output), io.Discard, path, noon)
	written, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(written), errRun
}

func TestPageHasEachFigureWithItsAim(t *testing.T) {
	got, err := write(t, "before\n"+partBegins+"old\n"+partEnds+"after\n", recorded(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"before\n" + partBegins + "Measured on 2026-01-02, on this machine: AMD EPYC, 2 cores, linux/amd64.\n",
		"| RSA-3072 | 96.1 ms | 28.1 ms | **7.15** (aim ≤ 2.5: **not met**) |\n",
		"| sign | 5.5 ms | 11.5 (aim ≥ 10: met) | 4.02 (aim ≤ 4.1: met) |\n",
		"| verify | 2.4 ms | **4.4** (aim ≥ 8: **not met**) | 4.00 (aim ≤ 4: met) |\n",
		"| RSA-3072 | 30.5 ms | 5.50 (aim ≥ 0.5: met) |\n",
		"| the action | 27 MiB (aim ≤ 64: met) | 35 MiB (aim ≤ 64: met) |\n" + partEnds + "after\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the page lacks %q:\n%s", want, got)
		}
	}
}

func TestAimIsMetAtItsLimit(t *testing.T) {
	for _, test := range []struct {
		aim   aim
		value float64
		met   bool
	}{
		{atMost(4), 4, true}, {atMost(4), 4.001, false}, {atLeast(10), 10, true}, {atLeast(10), 9.999, false},
	} {
		if met := test.aim.met(test.value); met != test.met {
			t.Errorf("%v, aim %v: met %v", test.value, test.aim, met)
		}
	}
}

// What is not whole is not written.
func TestPageStaysAsItWas(t *testing.T) {
	const page = partBegins + "old\n" + partEnds
	output := recorded(t)
	for name, test := range map[string]struct{ page, output, wants string }{
		"nothing measured":       {page, "PASS\n", "are needed"},
		"a benchmark is missing": {page, without(output, "BenchmarkNotationSign/EC-256"), "NotationSign/EC-256 has no"},
		"a unit is missing":      {page, strings.ReplaceAll(output, "verifying-MiB", "MiB"), "has no verifying-MiB"},
		"a benchmark failed":     {page, output + "--- FAIL: BenchmarkMore\n", "--- FAIL: BenchmarkMore"},
		"a package failed":       {page, output + "FAIL\tcmd/more [build failed]", "build failed"},
		"measured twice":         {page, output + output, "twice"},
		"not a number":           {page, "BenchmarkX 2 y ms\n" + output, "benchmarks:1"},
		"no markers":             {"old\n", output, "begin generated"},
		"no end":                 {partBegins + "old\n", output, "end generated"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := write(t, test.page, test.output)
			if err == nil || !strings.Contains(err.Error(), test.wants) {
				t.Errorf("error %v, want %q", err, test.wants)
			}
			if got != test.page {
				t.Errorf("the page was changed:\n%s", got)
			}
		})
	}
}

func without(output, prefix string) string {
	var b strings.Builder
	for line := range strings.Lines(output) {
		if !strings.HasPrefix(line, prefix) {
			b.WriteString(line)
		}
	}
	return b.String()
}

func TestProjectsPageCanBeWritten(t *testing.T) {
	page, err := os.ReadFile("../../docs/performance.md")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := write(t, string(page), recorded(t)); err != nil {
		t.Error(err)
	}
}
