// SPDX-License-Identifier: Apache-2.0

//go:build unix

package pkcs11

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A module is code that sees the PIN. Which files are refused is tested in package
// trustedfile; here is that they are, and how it is said.
func TestModuleFromWhereOthersCanWriteIsRefused(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "module.so")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(file, Options{}); !IsKind(err, KindUnsafe) || !strings.Contains(err.Error(), "every user of this machine; run: chmod o-w '"+dir+"'") {
		t.Errorf("error %v", err)
	}
	if err := os.Symlink("loop", filepath.Join(dir, "loop")); err != nil {
		t.Fatal(err)
	}
	for path, says := range map[string]string{
		file + ".missing":  "no such file",
		dir:                "not a regular file",
		dir + "/loop":      "can't be reached: too many",
		"module.so":        "not an absolute path",
		dir + "/$LIB/m.so": `has a "$" in it`,
	} {
		if err := CheckModule(path); !IsKind(err, KindModule) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: error %v, want %s", path, err, says)
		}
	}
}
