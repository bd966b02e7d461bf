// SPDX-License-Identifier: Apache-2.0

package pkcs11

import (
	"os"
	"regexp"
	"testing"
)

var madeCall = regexp.MustCompile(`(?:c\.do|c\.begin|value)\((?:c, )?"(\w+)"`)

// A parent ends the process that reports a call which IsCall doesn't know.
func TestEveryCallIsKnown(t *testing.T) {
	made := map[string]bool{}
	for _, file := range []string{"calls.go", "module.go"} {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, call := range madeCall.FindAllSubmatch(source, -1) {
			made[string(call[1])] = true
		}
	}
	for call := range made {
		if !IsCall(call) {
			t.Errorf("%s is not known", call)
		}
	}
	if len(made) != len(traced) {
		t.Errorf("%d calls are known, %d are made", len(traced), len(made))
	}
}
