// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/notation-pkcs11/notation-pkcs11/pkcs11/host"
)

// The test binary is the executable of the scripts, and its module host.
func TestMain(m *testing.M) {
	host.Main()
	testscript.Main(m, map[string]func(){"notation-pkcs11": main})
}

// buildPlugin builds the executable as users get it.
func buildPlugin(tb testing.TB) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "notation-pkcs11")
	if output, err := exec.Command("go", "build", "-trimpath", "-o", path, ".").CombinedOutput(); err != nil {
		tb.Fatalf("go build: %v\n%s", err, output)
	}
	return path
}
