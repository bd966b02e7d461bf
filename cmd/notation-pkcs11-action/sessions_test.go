// SPDX-License-Identifier: Apache-2.0

package main

import (
	"testing"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/faults"
)

// The sessions with a slow token grow with the signatures that wait, as far as it states
// and grants, and as the input caps them; there is one login.
func TestSessionsGrowWithWhatWaits(t *testing.T) {
	w := newWorld(t, testenv.EC256, testenv.NewRegistry)
	images := w.push(t, "app", 96)
	env := w.env
	for name, test := range map[string]struct {
		rules       []string
		sessions    string
		least, most int // signatures that are made at once
	}{
		"a token that grants many":         {nil, "", 5, 32},
		"a cap":                            {nil, "3", 2, 3},
		"a token of two sessions":          {[]string{"max-sessions 2"}, "", 2, 2},
		"a token that states six sessions": {[]string{"states-sessions 6"}, "", 2, 6},
		"a token of one session":           {[]string{"max-sessions 1", "states-sessions 16"}, "", 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			delay := "C_Sign delay 200"
			if test.most < 8 {
				delay = "C_Sign delay 20" // the fewer, the longer it takes
			}
			module, err := faults.New(t.TempDir(), w.hsm.Module, append(test.rules, delay)...)
			if err != nil {
				t.Fatal(err)
			}
			w.env = append(env, module.Env()...)
			o := w.run(t, images, map[string]string{"mode": "sign", "concurrency": "64", "module": module.Path, "sessions": test.sessions})
			if n := o.report.Count(); o.code != 0 || n.Signed != len(images) {
				t.Fatalf("exit code %d, %+v", o.code, n)
			}
			if n := module.AtOnce("C_Sign"); n < test.least || n > test.most {
				t.Errorf("%d signatures at once, want %d to %d", n, test.least, test.most)
			}
			if n := module.Calls("C_Login"); n != 1 {
				t.Errorf("%d logins", n)
			}
			if n := module.Calls("C_Sign"); n != len(images) {
				t.Errorf("%d calls of C_Sign", n)
			}
		})
	}
}
