// SPDX-License-Identifier: Apache-2.0

package main

import "testing"

// The table allows nothing to a module host but the scripts' own variables.
func TestModuleHostsMayHaveNoSecret(t *testing.T) {
	for _, at := range []place{
		{inArguments, "notation-pkcs11 module-host", ""},
		{inEnvironment, "notation-pkcs11 module-host", "NOTATION_PKCS11_PIN"},
		{inEnvironment, "host.test module-host", "INPUT_PIN"},
		{inOutput, ".cache/test.json", ""},
		{inFile, "log", ""},
		{inFile, "report.json", ""},
	} {
		for _, r := range allowed {
			for _, secret := range []string{thePIN, theSOPIN, thePassword} {
				if r.allows(at, secret) {
					t.Errorf("%s in %v is allowed: %s", secret, at, r.why)
				}
			}
		}
	}
}

// A rule is for one place and one secret.
func TestRulesAllowNoMoreThanTheySay(t *testing.T) {
	for _, test := range []struct {
		at     place
		secret string
	}{
		{place{inFile, "TestX/001/notation/config.json", ""}, thePIN},
		{place{inFile, "TestX/001/config.json", ""}, thePIN},
		{place{inFile, "TestX/001/rules", ""}, thePIN},
		{place{inFile, "TestX/001/pin", ""}, thePassword},
		{place{inFile, "TestX/001/faults-1/rules", ""}, theSOPIN},
		{place{inArguments, "sh", ""}, thePassword},
		{place{inEnvironment, "sleep", "PIN"}, theSOPIN},
		{place{inEnvironment, "notation-pkcs11-action", "INPUT_PIN"}, thePassword},
		{place{inEnvironment, "docker-credential-test", "NOTATION_PKCS11_PIN"}, thePIN},
		{place{inEnvironment, "cat", "HOST_TEST_PIN"}, thePIN},
		{place{inEnvironment, "notation", "INPUT_REGISTRY_PASSWORD"}, thePassword},
	} {
		for _, r := range allowed {
			if r.allows(test.at, test.secret) {
				t.Errorf("%s in %v is allowed: %s", test.secret, test.at, r.why)
			}
		}
	}
}
