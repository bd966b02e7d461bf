// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

// rows are the counts in the words of the page.
var rows = []struct {
	count testenv.Count
	tried string
}{
	{testenv.ModuleFaults, "faults of a PKCS#11 module: each return value of each function, hangs, crashes, garbage"},
	{testenv.RegistryFaults, "faults of a registry, at each request of a run"},
	{testenv.Kills, "`kill -9` at a step of signing"},
	{testenv.Signatures, "signatures pushed by several writers at once, and listed afterwards"},
	{testenv.BadInputs, "bad inputs"},
}

// ranOn is the line that says when and where.
func ranOn(now time.Time) []string {
	return []string{fmt.Sprintf("Run on %s, on %d cores, %s/%s.", now.UTC().Format(time.DateOnly), runtime.NumCPU(), runtime.GOOS, runtime.GOARCH), ""}
}

// counts returns the table of what was tried. Each count must be there, and all
// that was tried must have held.
func (t tallies) counts() ([]string, error) {
	lines := []string{"| tried | times | passed |", "|---|---|---|"}
	var lacks []error
	for _, row := range rows {
		sum := t.of[row.count]
		if sum.tried == 0 || sum.held != sum.tried {
			lacks = append(lacks, fmt.Errorf("%s: %d tried, %d held", row.count, sum.tried, sum.held))
		}
		lines = append(lines, fmt.Sprintf("| %s | %s | %s |", row.tried, grouped(sum.tried), grouped(sum.held)))
	}
	shortest, executions := time.Duration(0), 0
	for i, f := range t.fuzzed {
		if f.executions == 0 {
			lacks = append(lacks, fmt.Errorf("fuzz target %s did not run", f.name))
		}
		executions += f.executions
		if i == 0 || f.lasted < shortest {
			shortest = f.lasted
		}
	}
	if len(t.fuzzed) == 0 {
		lacks = append(lacks, errors.New("no fuzz target ran"))
	}
	lines = append(lines, fmt.Sprintf("| executions of %d fuzz targets, each for at least %s | %s | %s |", len(t.fuzzed), minutes(shortest), grouped(executions), grouped(executions)))
	return lines, errors.Join(lacks...)
}

// targets returns the table of the fuzz targets.
func (t tallies) targets() []string {
	sorted := slices.SortedFunc(slices.Values(t.fuzzed), func(a, b fuzz) int { return strings.Compare(a.name, b.name) })
	lines := []string{"| target | ran for | executions |", "|---|---|---|"}
	for _, f := range sorted {
		lines = append(lines, fmt.Sprintf("| `%s` | %s | %s |", f.name, minutes(f.lasted), grouped(f.executions)))
	}
	return lines
}

func minutes(d time.Duration) string {
	if d < time.Minute {
		return d.Round(time.Second).String()
	}
	return fmt.Sprintf("%d min", int(d.Minutes()))
}

// grouped writes 1234567 as 1,234,567.
func grouped(n int) string {
	digits := strconv.Itoa(n)
	for at := len(digits) - 3; at > 0; at -= 3 {
		digits = digits[:at] + "," + digits[at:]
	}
	return digits
}
