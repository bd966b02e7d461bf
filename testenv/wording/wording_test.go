// SPDX-License-Identifier: Apache-2.0

package wording_test

import (
	"strings"
	"testing"

	"github.com/notation-pkcs11/notation-pkcs11/testenv/wording"
)

func TestFlawsOfErrorsAndHints(t *testing.T) {
	for _, test := range []struct {
		what, hint string
		flaw       string // "": none
	}{
		{"the login to the token pkcs11:token=T failed: the PIN was tried once (C_Login: CKR_PIN_INCORRECT)", "Check {pin} before the token locks", ""},
		{`unknown key type "x"; use one of rsa:2048, ec:p256`, "", ""},
		{"NOTATION_PKCS11_AGENT is not the absolute path of a socket", "Start the agent again", ""},
		{"RSA keys only", "If the key has no certificate, run csr", ""},
		{`no file "Somebody wants. This"`, "Set the path", ""},
		{"", "Try again", "empty"},
		{"it failed.", "Try again", "ends like a sentence"},
		{"The login failed", "Try again", "begins like a sentence"},
		{"the token wants a PIN", "", `"wants"`},
		{"it failed", "Ask whoever has the token", `"whoever"`},
		{"it failed", "try again", `begins with "try"`},
		{"it failed", "The token is busy; try again", `begins with "The"`},
		{"it failed", "Try again.", "not one sentence"},
		{"it failed", "Try again. Then ask", "not one sentence"},
		{"it failed", "Use" + strings.Repeat(" it", 15), "16 words"},
		{"it failed; try again", "Try again", "repeats"},
		{"the file is not there; name another one", "Set cert_chain", "so does the hint"},
		{"no key matches; did you mean id=%01", "Set the key URI", "so does the hint"},
	} {
		flaws := strings.Join(wording.Pair(test.what, test.hint), "; ")
		if test.flaw == "" && flaws != "" || !strings.Contains(flaws, test.flaw) {
			t.Errorf("%q, %q: %q, want %q", test.what, test.hint, flaws, test.flaw)
		}
	}
}

func TestMessagesOfTheContractAreTakenApart(t *testing.T) {
	for message, want := range map[string][2]string{
		"it failed: no such file": {"it failed: no such file", ""},
		"it failed. Try again.":   {"it failed", "Try again"},
		"it failed: no certificate. Certificate is valid from today. Check the PIN source file:/pin again.": {"it failed: no certificate. Certificate is valid from today", "Check {pin} again"},
	} {
		if what, hint := wording.Message(message); [2]string{what, hint} != want {
			t.Errorf("%q, %q", what, hint)
		}
	}
}

func TestOutputIsAnErrorAndAHint(t *testing.T) {
	for stderr, fits := range map[string]bool{
		"error: it failed\n":                                     true,
		"error: it failed\nhint: Try again\n":                    true,
		"note: something\nerror: it failed\nhint: Try again\n":   true,
		"hint: Try again\nerror: it failed\n":                    false,
		"error: it failed\nerror: it failed again\n":             false,
		"error: it failed\nhint: Try again\nhint: Try again\n":   false,
		"error: it failed\nhint: Try again\npanic: it is over\n": false,
		"": false,
	} {
		if flaws := wording.Output(stderr); (len(flaws) == 0) != fits {
			t.Errorf("%q: %q", stderr, flaws)
		}
	}
}
