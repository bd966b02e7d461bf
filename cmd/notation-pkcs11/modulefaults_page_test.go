// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

const faultsPage = "../../docs/module-faults.md"

const faultsPreface = `# When the PKCS#11 module fails

**%d faults tried, %d passed.** This page shows what the plugin does if the PKCS#11 module misbehaves. ` + "`cmd/notation-pkcs11/modulefaults_test.go`" + ` writes it. The test runs the real executable with a real token (SoftHSM). Between them is a module that misbehaves as the test tells it to. With ` + "`SOAK=1`" + `, the test tries every fault at every call of a run.

A fault passes if all of this holds:

- The exit status is 0, and the result is right: a signature verifies with the public key. Or the exit status is 1, and nothing was signed.
- An error has the code below, the PKCS#11 function, and the advice. It also has the return value, or how the module died. For ` + "`generate-signature`" + ` and ` + "`describe-key`" + `, it is one JSON document on stderr and nothing else.
- The PIN was used for one login attempt. Only a session that was lost after a successful login leads to a second one, with the same PIN. No login follows a failed one.
- Nothing that was printed or written contains the PIN in any form (plain, hexadecimal, base64).
- No process is left behind, and a hang ended at the deadline.

The return values are those that the PKCS#11 specification lists for each function (v2.40, and the additions of v3.2). One unknown value and one vendor-defined value are added. The wrong lengths are those with which a caller would read past its buffer, or allocate all memory.

Each table lists the functions that a command calls, in alphabetical order. Unless the table names another call, the fault happens at the first call of the function in a run:

- *First call* and *second call*: the first call only asks for the length of the answer.
- *Each call*: the fault happens at each call, if a retry would otherwise help.

The tables don't list %d of the trials: those at later calls (a device error, a crash, impossible answers), and most trials of functions that are never supported.
`

// titles are the sections of the page, by subject.
var titles = map[string]struct{ heading, worked string }{
	"generate-signature": {"Signing (`generate-signature`)", "signs anyway"},
	"describe-key":       {"Describing a key (`describe-key`)", "answers anyway"},
	"tokens":             {"Listing tokens (`tokens`)", "lists anyway"},
	"generate-key":       {"Generating a key (`generate-key`)", "generates anyway"},
	wrongKey:             {"Deleting a new key that has wrong attributes (`generate-key`)", "deletes anyway"},
	"self-sign --import": {"Storing a certificate (`self-sign --import`)", "stores anyway"},
}

// row is trials of one call with the same outcome.
type row struct {
	call   string
	faults []string
	result string
}

// checkPage compares the page with what the tables say must come of the trials,
// whether or not it did: that is for the trials themselves. It says that all were
// survived, and so is written anew only where they were.
func checkPage(t *testing.T, trials []trial, survived bool) {
	t.Helper()
	trials = slices.DeleteFunc(slices.Clone(trials), func(one trial) bool { return !one.isBounded() })
	listed := slices.DeleteFunc(slices.Clone(trials), func(one trial) bool {
		return one.isDeep() || one.nth == each && !slices.Contains(persistent, one.function)
	})
	var page strings.Builder
	fmt.Fprintf(&page, faultsPreface, len(trials), len(trials), len(trials)-len(listed))
	for _, s := range subjects {
		title := titles[s.name]
		fmt.Fprintf(&page, "\n## %s\n\n| call | what the module does | result |\n|---|---|---|\n", title.heading)
		before := ""
		for _, r := range rowsOf(s, listed) {
			call := r.call
			if call == before {
				call = ""
			}
			before = r.call
			fmt.Fprintf(&page, "| %s | %s | %s |\n", call, strings.Join(r.faults, ", "), r.result)
		}
	}
	if *update && survived {
		if err := os.WriteFile(faultsPage, []byte(page.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	there, err := os.ReadFile(faultsPage)
	if err != nil {
		t.Fatal(err)
	}
	if string(there) == page.String() {
		return
	}
	t.Errorf("%s says something else than the tables of the faults; if they are right, write it with: go test ./cmd/notation-pkcs11 -run TestModuleFaults -update", faultsPage)
	lines := strings.Split(string(there), "\n")
	for line := range strings.Lines(page.String()) {
		if line = strings.TrimSuffix(line, "\n"); !slices.Contains(lines, line) {
			t.Logf("by the tables: %s", line)
		}
	}
}

// rowsOf groups the trials of a subject by what must come of them.
func rowsOf(s subject, trials []trial) []row {
	var rows []row
	for _, t := range trials {
		if t.subject.name != s.name {
			continue
		}
		call, result := t.call(), t.result()
		i := slices.IndexFunc(rows, func(r row) bool { return r.call == call && r.result == result })
		if i < 0 {
			i = len(rows)
			rows = append(rows, row{call: call, result: result})
		}
		rows[i].faults = append(rows[i].faults, t.fault.name)
	}
	slices.SortStableFunc(rows, func(a, b row) int { return cmp.Compare(a.call, b.call) })
	return rows
}

// call names the call on the page.
func (t trial) call() string {
	name := "`" + t.function + "`"
	switch {
	case t.nth == each:
		return name + ", each call"
	case t.nth == 2 && slices.Contains(twice, t.function):
		return name + ", second call: the answer"
	case t.nth == 2:
		return name + ", second call"
	case slices.Contains(twice, t.function):
		return name + ", first call: the length"
	}
	return name
}

// result says what must come of the trial.
func (t trial) result() string {
	code, says := t.expected()
	if code == worked {
		return titles[t.subject.name].worked
	}
	result := "`" + code + "`"
	if code == failed {
		result = "fails"
	}
	for _, e := range expectations {
		if e.fits(t) {
			return result + ": … " + strings.TrimSpace(says) + " …"
		}
	}
	return result
}
