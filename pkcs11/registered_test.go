// SPDX-License-Identifier: Apache-2.0

package pkcs11

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// Which modules p11-kit's proxy loads, by its rules.
func TestModulesRegisteredWithP11Kit(t *testing.T) {
	packages, administrator := t.TempDir(), t.TempDir()
	for file, content := range map[string]string{
		packages + "/a.module":       "# a comment\nmodule: /lib/a.so\n",
		packages + "/b.module":       "module: /lib/b.so\ndisable-in: firefox, p11-kit-proxy\n",
		packages + "/c.module":       "enable-in: ssh\nmodule: /lib/c.so",
		packages + "/d.module":       "enable-in: ssh p11-kit-proxy\nmodule:/lib/d.so",
		packages + "/e.module":       "module: /lib/e.so",
		administrator + "/e.module":  "module:",
		packages + "/f.module":       "module: /lib/f.so",
		administrator + "/f.module":  "module: /lib/f2.so",
		administrator + "/g.module":  "module: /lib/a.so",
		administrator + "/h.module":  "module: absent-relative.so",
		administrator + "/i.modules": "module: /lib/i.so",
	} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got := registeredIn([]string{packages, administrator, filepath.Join(packages, "absent")})
	if want := []string{"/lib/a.so", "/lib/d.so", "/lib/f2.so", "absent-relative.so"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
