// SPDX-License-Identifier: Apache-2.0

package sign

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/notaryproject/notation-go/config"
)

// A private key is taken if others can't read it, whether that is because of its
// mode or of a directory that it stands in.
func TestPrivateKeyThatEverybodyCanReadIsRefused(t *testing.T) {
	// Tests' directories are private; this one is not.
	open, err := os.MkdirTemp("", "notation-pkcs11-key-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(open) })
	dir := filepath.Join(open, "secrets", "..data")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(dir, "it's.key")
	if err := os.WriteFile(key, []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(open, "it's.key")
	if err := os.Symlink(key, link); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		above, dir, file os.FileMode
		path             string
		refused          bool
	}{
		{0o755, 0o755, 0o600, key, false},
		{0o755, 0o755, 0o640, key, false},
		{0o755, 0o755, 0o644, key, true},
		{0o755, 0o755, 0o604, key, true},
		{0o755, 0o700, 0o644, key, false},
		{0o755, 0o744, 0o644, key, false}, // who may only list it gets no further
		{0o755, 0o711, 0o644, key, true},
		{0o750, 0o755, 0o644, key, false},
		{0o755, 0o700, 0o644, link, false},
		{0o755, 0o755, 0o644, link, true},
	} {
		for path, mode := range map[string]os.FileMode{open: 0o755, filepath.Dir(dir): c.above, dir: c.dir, key: c.file} {
			if err := os.Chmod(path, mode); err != nil {
				t.Fatal(err)
			}
		}
		_, err := OpenFileKey(&config.X509KeyPair{KeyPath: c.path, CertificatePath: key})
		if err == nil {
			t.Fatal("a file that is no key was opened")
		}
		real, pathErr := filepath.EvalSymlinks(c.path)
		if pathErr != nil {
			t.Fatal(pathErr)
		}
		todo := "chmod 600 '" + strings.ReplaceAll(real, "'", `'\''`) + "'"
		if strings.Contains(err.Error(), todo) != c.refused {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
