// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"strings"
	"testing"
)

// The markers of the page's generated part.
const (
	partBegins = "<!-- begin generated benchmarks -->\n"
	partEnds   = "<!-- end generated benchmarks -->\n"

	performance = partBegins + "old\n" + partEnds
)

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

func TestPageHasEachFigureWithItsAim(t *testing.T) {
	got, err := write(t, "benchmarks", "before\n"+performance+"after\n", recorded(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"before\n" + partBegins + "Measured on 2026-01-02, on AMD EPYC with 2 cores, linux/amd64.\n",
		"| RSA-3072 | 96.1 ms | 28.1 ms | **7.15** (aim ≤ 2.5: **not met**) |\n",
		"| RSA-2048 | 190 ms | 115 ms | **1.65** (aim ≤ 1.6: **not met**) | 25 (aim ≤ 28: met) | 15 (aim ≤ 18: met) |\n",
		"| sign, `concurrency` 64 | 2.0 s (aim ≤ 2.5: met) | 32 |\n",
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

func TestProjectsPageCanBeWritten(t *testing.T) {
	page, err := os.ReadFile("../../docs/performance.md")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := write(t, "benchmarks", string(page), recorded(t)); err != nil {
		t.Error(err)
	}
}
