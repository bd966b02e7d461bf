// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/faults"
)

// Every function that any command calls of a module is one whose return values
// are known, and the other way round.
func TestReturnValuesOfEveryFunctionAreKnown(t *testing.T) {
	h := newHSM(t, buildPlugin(t))
	called := map[string]bool{}
	for i, s := range slices.Concat(subjects, []subject{
		{args: []string{"keys"}},
		{args: []string{"check", signingKey}},
		{args: []string{"csr", signingKey, "--subject", "CN=Lab,O=testenv,ST=WA,C=US"}},
		{args: []string{"import-cert", signingKey, filepath.Join(h.dir, fullChain)}},
	}) {
		r, err := h.do(s.order(i))
		if err != nil {
			t.Fatal(err)
		}
		if r.command.ProcessState.Success() == (s.name == wrongKey) {
			t.Errorf("%v: %v: %s", s.args, r.command.ProcessState, &r.stderr)
		}
		for _, call := range journalOf(t, r) {
			called[call.Name] = true
		}
	}
	delete(called, "load") // which are no functions
	delete(called, "unload")
	var known []string
	for _, f := range faults.Functions {
		known = append(known, f.Name)
	}
	slices.Sort(known)
	if calls := slices.Sorted(maps.Keys(called)); !slices.Equal(calls, known) {
		t.Errorf("the commands call\n%v, and known are\n%v", calls, known)
	}
}

// trial is one run of a command with one fault of the module.
type trial struct {
	subject  subject
	function string
	nth      int // the call of the function that fails, from 1 on; or each
	fault    fault
}

// rules are those for the module.
func (t trial) rules() []string {
	call := t.function
	if t.nth != each {
		call += fmt.Sprintf("#%d", t.nth)
	}
	return []string{call + " " + t.fault.rule}
}

func (t trial) String() string { return t.subject.name + ", " + t.rules()[0] }

// isDeep is whether the call is one of which the tables say nothing but that all
// promises hold.
func (t trial) isDeep() bool {
	return t.nth > 2 || t.nth == 2 && !slices.Contains(twice, t.function)
}

// twice are the functions that are asked for the length of their answer in the
// first call and for the answer in the second one.
var twice = []string{"C_GetSlotList"}

// persistent are the functions that are tried otherwise where the first call
// fails; what happens when each call fails is another matter.
var persistent = []string{"C_OpenSession", "C_SignInit", "C_Sign"}

// isBounded is whether a trial is one of those without SOAK=1.
func (t trial) isBounded() bool {
	switch {
	case t.nth == each:
		return t.fault == absent || t.subject.name == "generate-signature" && slices.Contains(persistent, t.function) && t.fault.isReturnValue()
	}
	return t.nth == 1 || t.fault.everywhere
}

// TestModuleFaults does to the plugin what the table of faults says, call by
// call, and compares with the table of expectations. The page that the result is
// written to is written anew by
//
//	go test ./cmd/notation-pkcs11 -run TestModuleFaults -update
//
// It has the faults of the first call of each function, in full, and some of each
// other call. With SOAK=1 every call fails in every way.
func TestModuleFaults(t *testing.T) {
	testenv.Long(t, "tries each fault of each call of a module")
	t.Parallel()
	token := newHSM(t, buildPlugin(t))
	trials := planTrials(t, token.copy(t))
	held := tryAll(t, token, trials, func(h *hsm, one trial, done *attempt) error {
		result, err := judge(h, one, done)
		if err != nil {
			return err
		}
		return one.compare(result)
	})
	testenv.Tally(t, testenv.ModuleFaults, len(trials), held)
	checkPage(t, trials, held == len(trials))
}

// planTrials lists the trials.
func planTrials(t *testing.T, h *hsm) []trial {
	t.Helper()
	var trials []trial
	for _, s := range subjects {
		calls := callsOf(t, h, s)
		for _, function := range slices.Sorted(maps.Keys(calls)) {
			if s.only != nil && !slices.Contains(s.only, function) {
				continue
			}
			for nth := range calls[function] + 1 {
				for _, f := range faultsOf(function) {
					if one := (trial{s, function, nth, f}); one.isBounded() || testenv.Soak() && nth != each {
						trials = append(trials, one)
					}
				}
			}
		}
	}
	return trials
}

// callsOf counts the calls of each function in a run without faults.
func callsOf(t *testing.T, h *hsm, s subject) map[string]int {
	t.Helper()
	r, err := h.do(s.order(h.runs))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.check(h, r.stdout.Bytes()); err != nil && s.rule == "" {
		t.Fatalf("%s without faults: %v: %s", s.name, err, r.stderr.String())
	}
	calls := map[string]int{}
	for _, call := range journalOf(t, r) {
		calls[call.Name]++
	}
	return calls
}

func journalOf(t *testing.T, r *attempt) []faults.Call {
	t.Helper()
	journal, err := r.Journal()
	if err != nil {
		t.Fatal(err)
	}
	return journal
}

// workers is how many runs there are at once. Some wait for a deadline.
const workers = 6

// tryAll runs the trials, each on a copy of the token that nobody else uses, and
// counts those of which check has no error.
func tryAll(t *testing.T, token *hsm, trials []trial, check func(*hsm, trial, *attempt) error) (held int) {
	t.Helper()
	// Those that wait come first, together: waiting costs nothing.
	trials = slices.Clone(trials)
	slices.SortStableFunc(trials, func(a, b trial) int { return cmp.Compare(a.order(0).timeout, b.order(0).timeout) })
	next := make(chan trial)
	var group sync.WaitGroup
	var mu sync.Mutex
	for range workers {
		h := token.copy(t)
		defer h.checkNobodyIsLeft(t)
		group.Go(func() {
			for one := range next {
				err := h.try(one, check)
				mu.Lock()
				if err == nil {
					held++
				} else {
					t.Errorf("%v: %v", one, err)
				}
				mu.Unlock()
			}
		})
	}
	for _, one := range trials {
		next <- one
	}
	close(next)
	group.Wait()
	return held
}

// try runs one trial. Its files are deleted where nothing is wrong.
func (h *hsm) try(t trial, check func(*hsm, trial, *attempt) error) error {
	done, err := h.do(t.order(h.runs))
	if err != nil {
		return err
	}
	if err := check(h, t, done); err != nil {
		return fmt.Errorf("%w\nstdout: %s\nstderr: %s", err, &done.stdout, &done.stderr)
	}
	return os.RemoveAll(done.dir)
}

func (t trial) order(number int) order {
	o := t.subject.order(number)
	o.rules = append(o.rules, t.rules()...)
	if t.fault.hangs() {
		o.timeout = hangTimeout
	}
	return o
}

// Times. A hang ends at the deadline, and what is cleaned up after it has five
// seconds more; the rest is for machines that are busy.
const (
	hangTimeout = 4 * time.Second
	timeout     = 2 * time.Minute
	grace       = 5 * time.Second
	slack       = 30 * time.Second
)
