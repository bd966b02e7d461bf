// SPDX-License-Identifier: Apache-2.0

package docs_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

// Notation takes every trust policy that is shown.
func TestTrustPoliciesOfPagesAreValid(t *testing.T) {
	notation := testenv.Start(t, testenv.NewNotation)
	policies := 0
	for _, block := range blocks(page(t, "trust-policies.md")) {
		if block.language != "json" {
			continue
		}
		policies++
		t.Run(fmt.Sprintf("line %d", block.line), func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "trustpolicy.json")
			if err := os.WriteFile(file, []byte(block.text), 0o600); err != nil {
				t.Fatal(err)
			}
			result, err := notation.Run(t.Context(), nil, "policy", "import", "--force", file)
			if err != nil {
				t.Fatal(err)
			}
			if result.ExitCode != 0 {
				t.Error(result.Stderr)
			}
		})
	}
	if policies == 0 {
		t.Error("the page shows no policies")
	}
}
