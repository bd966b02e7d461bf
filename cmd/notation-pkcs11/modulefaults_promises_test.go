// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	contract "github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/notation-pkcs11/notation-pkcs11/testenv/faults"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/wording"
)

// outcome is what the command did.
type outcome struct {
	code    string // of the contract; worked where there was no error
	message string
}

// judge checks what must hold of a run whatever the fault was, and returns what
// the command did.
func judge(h *hsm, t trial, done *attempt) (outcome, error) {
	var result outcome
	var err error
	switch status := done.command.ProcessState.ExitCode(); {
	case status == 0 && t.subject.isPlugin() && done.stderr.Len() > 0:
		err = errors.New("it worked, and something was printed on stderr")
	case status == 0:
		result.code, err = worked, t.subject.check(h, done.stdout.Bytes())
	case status != 1:
		err = fmt.Errorf("the exit status is %d", status)
	case done.stdout.Len() > 0:
		err = errors.New("it failed, and something was printed on stdout")
	case t.subject.isPlugin():
		result, err = readRefusal(done.stderr.Bytes())
	default:
		result, err = readComplaint(done.stderr.String())
	}
	if err == nil && t.fault.hangs() && done.took > hangTimeout+grace+slack {
		err = fmt.Errorf("it took %v", done.took)
	}
	journal, journalErr := done.Journal()
	return result, errors.Join(err, journalErr, checkLogins(journal),
		h.checkNothingLeaks(done), done.isGone())
}

// readRefusal reads what must be one error of the contract and nothing else.
func readRefusal(stderr []byte) (outcome, error) {
	decoder := json.NewDecoder(strings.NewReader(string(stderr)))
	var refusal contract.Error
	if err := decoder.Decode(&refusal); err != nil {
		return outcome{}, fmt.Errorf("stderr is not JSON: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return outcome{}, errors.New("stderr has more than one JSON document")
	}
	what, todo := wording.Message(refusal.Message)
	if len(what) < 20 || len(todo) < 9 {
		return outcome{}, errors.New("the error doesn't say what failed, and what to do")
	}
	if flaws := wording.Pair(what, todo); len(flaws) > 0 {
		return outcome{}, fmt.Errorf("%s: %s", refusal.Message, strings.Join(flaws, "; "))
	}
	return outcome{string(refusal.ErrCode), refusal.Message}, nil
}

// readComplaint reads what people are told.
func readComplaint(stderr string) (outcome, error) {
	lines := strings.Split(strings.TrimSpace(stderr), "\n")
	if len(lines) != 2 || !strings.HasPrefix(lines[0], "error: ") || !strings.HasPrefix(lines[1], "hint: ") {
		return outcome{}, errors.New("people are not told in two lines what failed, and what to do")
	}
	if flaws := wording.Output(stderr); len(flaws) > 0 {
		return outcome{}, fmt.Errorf("%s: %s", stderr, strings.Join(flaws, "; "))
	}
	return outcome{failed, stderr}, nil
}

// checkLogins checks that a PIN is tried once: there is no login after one that
// failed, and after one that did not only where the session was lost since, or the
// module was finalized. A context-specific login is another one.
func checkLogins(journal []faults.Call) error {
	logins, wrong, lost := 0, false, false
	for _, call := range journal {
		if call.Name != "C_Login" {
			lost = lost || call.Name == "C_Finalize" || slices.ContainsFunc(lossOfSession, func(name string) bool { return call.RV == faults.ReturnValue(name) })
			continue
		}
		if wrong {
			return errors.New("a PIN was tried again after a login had failed")
		}
		wrong = !call.Returned || call.RV != 0
		if strings.Contains(call.Detail, "user=0x1 ") {
			logins++
		}
	}
	if logins > 1 && !lost || logins > 2 {
		return fmt.Errorf("there were %d logins", logins)
	}
	return nil
}
