// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os/exec"
	"path/filepath"
	"testing"
)

// buildPlugin builds the executable as users get it.
func buildPlugin(tb testing.TB) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "notation-pkcs11")
	if output, err := exec.Command("go", "build", "-trimpath", "-o", path, ".").CombinedOutput(); err != nil {
		tb.Fatalf("go build: %v\n%s", err, output)
	}
	return path
}
