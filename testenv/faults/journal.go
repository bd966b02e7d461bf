// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Call is one call of the module, as its journal has it.
type Call struct {
	PID, TID int
	// Name is the name of the function, such as "C_Login"; "load" and "unload"
	// are the library's constructor and destructor, "OVERLAP" is two calls at
	// once where the rule cant-lock forbids it.
	Name string
	// Detail has the arguments, and for a call that returned what it gave:
	// "session=1 user=0x1 pin-length=4". No PIN is in it.
	Detail string
	// Returned is whether the call came back. One that did not hangs still, or
	// its process died in it.
	Returned bool
	// RV is what a call returned.
	RV uint
}

// Journal returns the calls of all processes so far, in the order in which they
// were entered. It fails when the module could not do what its rules say.
func (m *Module) Journal() ([]Call, error) {
	text, err := os.ReadFile(m.journal)
	if err != nil {
		return nil, fmt.Errorf("read journal: %w", err)
	}
	type thread struct{ pid, tid int }
	var calls []Call
	pending := map[thread]int{} // index in calls of the one each thread is in
	for line := range strings.Lines(string(text)) {
		call, err := parseCall(strings.TrimSuffix(line, "\n"))
		if err != nil {
			return nil, fmt.Errorf("read journal: %w", err)
		}
		at := thread{call.PID, call.TID}
		if !call.Returned {
			pending[at] = len(calls)
			calls = append(calls, call)
			continue
		}
		i, ok := pending[at]
		if !ok || calls[i].Name != call.Name {
			return nil, fmt.Errorf("read journal: %q returns and was not entered", line)
		}
		delete(pending, at)
		calls[i] = call
	}
	return calls, nil
}

// Calls returns how often a function was called, by name. It panics where
// Journal fails: a test would take an error for a call that was not made.
func (m *Module) Calls(name string) int {
	calls, err := m.Journal()
	if err != nil {
		panic(err)
	}
	n := 0
	for _, call := range calls {
		if call.Name == name {
			n++
		}
	}
	return n
}

// AtOnce returns the most calls of a function that were under way at the same time, by
// name. It panics where Journal fails.
func (m *Module) AtOnce(name string) int {
	text, err := os.ReadFile(m.journal)
	if err != nil {
		panic(err)
	}
	now, most := 0, 0
	for line := range strings.Lines(string(text)) {
		call, err := parseCall(strings.TrimSuffix(line, "\n"))
		if err != nil {
			panic(err)
		}
		switch {
		case call.Name != name:
		case call.Returned:
			now--
		default:
			now++
			most = max(most, now)
		}
	}
	return most
}

// parseCall parses a line of the journal, whose form is in module/journal.h.
func parseCall(line string) (Call, error) {
	var call Call
	pid, rest, _ := strings.Cut(line, " ")
	tid, rest, ok := strings.Cut(rest, " ")
	if !ok {
		return call, fmt.Errorf("%q is no call", line)
	}
	var err error
	if call.PID, err = strconv.Atoi(pid); err != nil {
		return call, fmt.Errorf("%q: process: %w", line, err)
	}
	if call.TID, err = strconv.Atoi(tid); err != nil {
		return call, fmt.Errorf("%q: thread: %w", line, err)
	}
	rest, rv, returned := strings.Cut(rest, " -> 0x")
	if returned {
		value, err := strconv.ParseUint(rv, 16, 0)
		if err != nil {
			return call, fmt.Errorf("%q: return value: %w", line, err)
		}
		call.Returned, call.RV = true, uint(value)
	}
	call.Name, call.Detail, _ = strings.Cut(rest, " ")
	if strings.HasPrefix(call.Name, "BAD-") {
		return call, fmt.Errorf("the module did not work: %s", call.Detail)
	}
	return call, nil
}
