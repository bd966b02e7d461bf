// SPDX-License-Identifier: Apache-2.0

package testenv_test

import (
	"encoding/json"
	"os/exec"
	"testing"
)

// verdictModules parse what a verdict is about, or judge it: the envelopes and
// what they are encoded in, timestamps, distinguished names, policy and
// certificates. tspclient-go is the release whose files notation has by a commit.
var verdictModules = []string{
	"github.com/fxamacker/cbor/v2",
	"github.com/go-asn1-ber/asn1-ber",
	"github.com/go-ldap/ldap/v3",
	"github.com/golang-jwt/jwt/v4",
	"github.com/notaryproject/notation-core-go",
	"github.com/notaryproject/notation-go",
	"github.com/notaryproject/notation-plugin-framework-go",
	"github.com/opencontainers/go-digest",
	"github.com/opencontainers/image-spec",
	"github.com/veraison/go-cose",
	"github.com/x448/float16",
}

// The action's verdicts are notation's, so what decides them has the version that
// the notation of the tests has, and no newer one.
func TestVerdictsAreDecidedByTheModulesOfNotation(t *testing.T) {
	ours, notations := requirements(t, "../go.mod"), requirements(t, "tools/notation/go.mod")
	for _, path := range verdictModules {
		if ours[path] == "" || ours[path] != notations[path] {
			t.Errorf("%s is %q here, and %q in notation", path, ours[path], notations[path])
		}
	}
}

// requirements returns the versions that a go.mod requires, by path.
func requirements(t *testing.T, mod string) map[string]string {
	t.Helper()
	out, err := exec.Command("go", "mod", "edit", "-json", mod).Output()
	if err != nil {
		t.Fatalf("%s: %v", mod, err)
	}
	var file struct {
		Require []struct{ Path, Version string }
	}
	if err := json.Unmarshal(out, &file); err != nil {
		t.Fatal(err)
	}
	versions := map[string]string{}
	for _, required := range file.Require {
		versions[required.Path] = required.Version
	}
	return versions
}
