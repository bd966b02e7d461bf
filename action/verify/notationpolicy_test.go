// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/notaryproject/notation-go/verifier/trustpolicy"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/signed"
)

// policyOne has one statement, which is called one and needs no trust store.
func policyOne(t *testing.T) string {
	return signed.PolicyJSON(t, trustpolicy.TrustPolicy{
		Name:                  "one",
		RegistryScopes:        []string{"*"},
		SignatureVerification: trustpolicy.SignatureVerification{VerificationLevel: "skip"},
	})
}

func TestNotationPolicyUnderItsNames(t *testing.T) {
	policy := policyOne(t)
	other := strings.Replace(policy, "one", "two", 1)
	const oldName, newName = "trustpolicy.json", "trustpolicy.oci.json"
	for name, c := range map[string]struct {
		files map[string]string
		says  []string // of the error; without one, the policy is taken
	}{
		"old alone":          {map[string]string{oldName: policy}, nil},
		"new alone":          {map[string]string{newName: policy}, nil},
		"both the same":      {map[string]string{oldName: policy, newName: policy}, nil},
		"both, other blanks": {map[string]string{oldName: policy, newName: "\n" + strings.ReplaceAll(policy, ",", " ,\n")}, nil},
		"none":               {nil, []string{"nothing to verify against", oldName, newName}},
		"they differ":        {map[string]string{oldName: other, newName: policy}, []string{"differ", oldName, newName, "delete one", "trust_policy"}},
		"new one empty":      {map[string]string{oldName: policy, newName: ""}, []string{"differ"}},
		"old one no JSON":    {map[string]string{oldName: "{", newName: policy}, []string{"differ"}},
		"both no JSON":       {map[string]string{oldName: "{", newName: "{"}, []string{newName, "line 1"}},
		"new one invalid":    {map[string]string{newName: `{"version":"9"}`}, []string{newName, "version"}},
	} {
		folder := t.TempDir()
		for file, content := range c.files {
			testenv.PutFile(t, filepath.Join(folder, file), content)
		}
		trust, err := LoadTrust(TrustOptions{NotationDir: folder})
		switch {
		case c.says == nil && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.says == nil && trust.policy.TrustPolicies[0].Name != "one":
			t.Errorf("%s: statement %q", name, trust.policy.TrustPolicies[0].Name)
		case c.says != nil && err == nil:
			t.Errorf("%s: it is taken", name)
		}
		for _, text := range c.says {
			if err != nil && !strings.Contains(err.Error(), text) {
				t.Errorf("%s: the error does not say %q: %v", name, text, err)
			}
		}
	}
}

// What notation itself refuses is refused although the other name has a policy.
func TestNotationPolicyIsNoLinkUnderAnyName(t *testing.T) {
	policy := policyOne(t)
	names := map[string]string{"trustpolicy.json": "trustpolicy.oci.json", "trustpolicy.oci.json": "trustpolicy.json"}
	for _, linked := range slices.Sorted(maps.Keys(names)) {
		folder := t.TempDir()
		if err := os.Symlink(testenv.PutFile(t, filepath.Join(folder, names[linked]), policy), filepath.Join(folder, linked)); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadTrust(TrustOptions{NotationDir: folder}); err == nil || !strings.Contains(err.Error(), linked+" is not a regular file") {
			t.Errorf("%s: %v", linked, err)
		}
	}
}
