// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

// work is what is killed, and begun again.
type work struct {
	name string
	args []string // # stands for a number that no other run has
	// calls are those in which it is killed; nil: all.
	calls []string
	sign  bool // it is generate-signature
	bare  bool // each time on a new token, without the key's certificate
	// again checks what the token is like after the killing, and the next run.
	again func(h *hsm, args []string) error
}

var works = []work{
	{name: "generate-signature", args: []string{"generate-signature"}, sign: true,
		again: func(h *hsm, _ []string) error { return h.signs() }},
	{name: "generate-key", args: []string{"generate-key", "pkcs11:token=testenv;object=killed-#", "--type", "ec:p256"},
		calls: []string{"C_Login#1", "C_GenerateKeyPair#1", "C_GetAttributeValue#3", "C_Logout#1", "C_Finalize#1"},
		again: (*hsm).generatesAgain},
	{name: "self-sign --import", args: []string{"self-sign", signingKey, "--subject", "CN=Lab,O=testenv,ST=WA,C=US", "--days", "1", "--import"},
		calls: []string{"C_Sign#1", "C_CreateObject#1", "C_Logout#1"}, bare: true,
		again: (*hsm).storesAgain},
	{name: "import-cert", args: []string{"import-cert", signingKey, fullChain},
		calls: []string{"C_CreateObject#1", "C_CreateObject#2", "C_CreateObject#3", "C_Finalize#1"}, bare: true,
		again: (*hsm).storesAgain},
}

// kill is one killing.
type kill struct {
	work   work
	call   string // such as C_Sign#1
	when   string // "" before it goes on to the token, "after " when it is back
	victim string // the plugin, or the process that it has the module in
}

const (
	thePlugin = "plugin"
	theHost   = "module host"
)

func (k kill) String() string {
	return fmt.Sprintf("%s, %s%s, SIGKILL for the %s", k.work.name, k.when, k.call, k.victim)
}

// TestKilledAtEachStep ends the plugin, or the process with the module, in each
// call of the module and right after it. With SOAK=1 that is each call of a run,
// else the first one of each function.
func TestKilledAtEachStep(t *testing.T) {
	testenv.Long(t, "kills at each call of a module")
	t.Parallel()
	executable := buildPlugin(t)
	certified, uncertified := newHSM(t, executable), newHSM(t, executable, bare)
	var kills []kill
	for _, w := range works {
		calls := w.calls
		if calls == nil {
			calls = steps(t, certified.copy(t), w)
		}
		for _, call := range calls {
			for _, when := range []string{"", "after "} {
				if when != "" && strings.HasSuffix(call, "load#1") {
					continue // of the library itself: there is no answer
				}
				kills = append(kills, kill{w, call, when, thePlugin}, kill{w, call, when, theHost})
			}
		}
	}
	held := 0
	type killing struct {
		kill
		on *hsm // nil: the worker's own
	}
	next := make(chan killing)
	var group sync.WaitGroup
	var mu sync.Mutex
	finish := sync.OnceFunc(func() {
		close(next)
		group.Wait()
	})
	for range 3 {
		h := certified.copy(t)
		defer h.checkNobodyIsLeft(t)
		group.Go(func() {
			for k := range next {
				err := cmp.Or(k.on, h).survives(k.kill)
				mu.Lock()
				if err == nil {
					held++
				} else {
					t.Errorf("%v: %v", k.kill, err)
				}
				mu.Unlock()
			}
		})
	}
	defer finish()
	for _, k := range kills {
		one := killing{k, nil}
		if k.work.bare {
			one.on = uncertified.copy(t) // here, since only the test's own goroutine may end it
		}
		next <- one
	}
	finish()
	testenv.Tally(t, testenv.Kills, len(kills), held)
}

// steps lists the calls of a run.
func steps(t *testing.T, h *hsm, w work) []string {
	t.Helper()
	r, err := h.do(w.order(h, 0))
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for _, call := range journalOf(t, r) {
		count[call.Name]++
	}
	var calls []string
	for _, name := range slices.Sorted(maps.Keys(count)) {
		for n := range count[name] {
			if n == 0 || testenv.Soak() {
				calls = append(calls, fmt.Sprintf("%s#%d", name, n+1))
			}
		}
	}
	return calls
}

func (w work) order(h *hsm, number int) order {
	o := order{timeout: timeout}
	for _, arg := range w.args {
		o.args = append(o.args, strings.NewReplacer("#", fmt.Sprint(number), fullChain, filepath.Join(h.dir, fullChain)).Replace(arg))
	}
	if w.sign {
		o.request = generate()
	}
	return o
}

// survives kills, and checks that nothing is left and nothing is lost.
func (h *hsm) survives(k kill) error {
	o := k.work.order(h, h.runs)
	args := o.args
	o.rules = []string{fmt.Sprintf("%s %shang", k.call, k.when)}
	r, err := h.start(o)
	if err != nil {
		return err
	}
	host, err := r.hangsIn(k.call)
	if err == nil {
		victim := r.command.Process.Pid
		if k.victim == theHost {
			victim = host
		}
		err = syscall.Kill(victim, syscall.SIGKILL)
	}
	if err != nil {
		r.command.Process.Kill()
	}
	err = errors.Join(err, r.wait())
	if err == nil && k.victim == theHost {
		err = h.reports(k, r)
	}
	if err := errors.Join(err, r.isGone(), h.checkNothingLeaks(r)); err != nil {
		return fmt.Errorf("%w\nstdout: %s\nstderr: %s", err, &r.stdout, &r.stderr)
	}
	return k.work.again(h, args)
}

// hangsIn waits until the module hangs in a call, and returns the process in
// which it does. A process that is killed while SoftHSM writes, as it does at each
// login, can leave a token that is none.
func (r *attempt) hangsIn(call string) (pid int, err error) {
	name, nth, _ := strings.Cut(call, "#")
	for range 6000 {
		journal, err := r.Journal()
		if err != nil {
			return 0, err
		}
		count := 0
		for _, c := range journal {
			if c.Name != name {
				continue
			}
			if count++; fmt.Sprint(count) == nth && c.Hangs {
				return c.PID, nil
			}
		}
		time.Sleep(5 * time.Millisecond)
	}
	return 0, errors.New("the call was not made")
}

// reports checks what the plugin says when the module's process is killed: the
// step, or nothing where all was done.
func (h *hsm) reports(k kill, r *attempt) error {
	name, _, _ := strings.Cut(k.call, "#")
	if slices.Contains([]string{"C_Logout", "C_CloseSession", "C_Finalize", "unload"}, name) {
		if !r.command.ProcessState.Success() {
			return errors.New("it fails although all was done")
		}
		if k.work.sign {
			return h.checkSignature(r.stdout.Bytes())
		}
		return nil
	}
	if name == "load" || name == "C_GetFunctionList" {
		name = "dlopen"
	}
	if want := "ended its process in " + name + " (signal: killed, as by the system where a limit of memory is reached)"; !strings.Contains(r.stderr.String(), want) || r.command.ProcessState.ExitCode() != 1 || r.stdout.Len() > 0 {
		return fmt.Errorf("it doesn't say %q", want)
	}
	return nil
}

// signs checks that the next run signs.
func (h *hsm) signs() error {
	r, err := h.do(order{args: []string{"generate-signature"}, request: generate(), timeout: timeout})
	if err != nil {
		return err
	}
	if err := h.checkSignature(r.stdout.Bytes()); err != nil {
		return fmt.Errorf("the next run doesn't sign: %w: %s", err, &r.stderr)
	}
	return nil
}

// generatesAgain checks that the next run generates the key, or says what there
// is: half a pair, or a whole one, which then signs.
func (h *hsm) generatesAgain(args []string) error {
	r, err := h.do(order{args: args, timeout: timeout})
	if err != nil {
		return err
	}
	switch said := r.stderr.String(); {
	case r.command.ProcessState.Success():
	case strings.Contains(said, "the token has a public key with this object=…, without a private one"):
		return nil
	case !strings.Contains(said, "the token has a key with this object=…: pkcs11:token=testenv;object=killed-"):
		return fmt.Errorf("the next run doesn't say what is there: %s", said)
	}
	r, err = h.do(order{args: []string{"csr", args[1], "--subject", "CN=Lab,O=testenv,ST=WA,C=US"}, timeout: timeout})
	if err == nil && !r.command.ProcessState.Success() {
		err = fmt.Errorf("the key can't be used: %s", &r.stderr)
	}
	return err
}

// storesAgain checks that the next run stores what lacks, and that the key signs
// then.
func (h *hsm) storesAgain(args []string) error {
	r, err := h.do(order{args: args, timeout: timeout})
	if err != nil {
		return err
	}
	if !r.command.ProcessState.Success() {
		return fmt.Errorf("the next run doesn't finish: %s", &r.stderr)
	}
	r, err = h.do(order{args: []string{"check", signingKey}, timeout: timeout})
	if err == nil && !r.command.ProcessState.Success() {
		err = fmt.Errorf("notation can't sign: %s%s", &r.stdout, &r.stderr)
	}
	return err
}
