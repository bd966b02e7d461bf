// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"os"
	"testing"
)

// Count names a pair of figures that "make soak" collects from the tests, adds
// up and writes into the documentation.
type Count string

// What is counted: how many were tried, and with how many of them every promise
// held.
const (
	ModuleFaults   Count = "module faults"   // faults of a PKCS#11 module
	RegistryFaults Count = "registry faults" // faults of a registry
	Kills          Count = "kills"           // SIGKILL at a step of signing
	Signatures     Count = "signatures"      // pushed by writers at once, and listed
	BadInputs      Count = "bad inputs"      // refused, with nothing changed
)

// Tally logs a pair of figures of a test. Figures of one count add up.
func Tally(tb testing.TB, what Count, tried, held int) {
	tb.Helper()
	tb.Logf("tally: %s: %d tried, %d held", what, tried, held)
}

// Holds runs a subtest and reports whether it was run and passed. Of one that -run
// leaves out, t.Run says that it passed.
func Holds(t *testing.T, name string, test func(*testing.T)) bool {
	ran := false
	passed := t.Run(name, func(t *testing.T) {
		ran = true
		test(t)
	})
	return ran && passed
}

// Soak reports whether tests should take their long form: more positions, more
// combinations, more writers. "make soak" sets the variable SOAK for that.
func Soak() bool { return os.Getenv("SOAK") != "" }
