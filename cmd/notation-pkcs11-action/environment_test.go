// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"testing"
)

// What is for the run alone reaches no credential helper and no other plugin.
func TestWhatIsForTheRunAloneIsWithheld(t *testing.T) {
	alone := []string{"NOTATION_PKCS11_PIN", "NOTATION_PKCS11_AGENT", "INPUT_PIN", "ACTIONS_RUNTIME_TOKEN"}
	others := []string{"NOTATION_PKCS11_MODULE", "GITHUB_TOKEN"}
	for _, name := range append(alone, others...) {
		t.Setenv(name, "value")
	}
	e, err := withhold()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range alone {
		if _, left := os.LookupEnv(name); left || e.getenv(name) != "value" {
			t.Errorf("%s is left to others: %v; the run has %q", name, left, e.getenv(name))
		}
	}
	for _, name := range others {
		if os.Getenv(name) != "value" || e.getenv(name) != "value" {
			t.Errorf("%s is missing", name)
		}
	}
}
