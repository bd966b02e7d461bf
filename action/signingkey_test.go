// SPDX-License-Identifier: Apache-2.0

package action

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/notaryproject/notation-go/config"
)

func TestPrivateKeyThatEverybodyCanReadIsRefused(t *testing.T) {
	key := filepath.Join(t.TempDir(), "it's.key")
	if err := os.WriteFile(key, []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	for mode, refused := range map[os.FileMode]bool{0o600: false, 0o640: false, 0o644: true, 0o604: true} {
		if err := os.Chmod(key, mode); err != nil {
			t.Fatal(err)
		}
		_, err := openFileKey(&config.X509KeyPair{KeyPath: key, CertificatePath: key})
		if err == nil {
			t.Fatal("a file that is no key was opened")
		}
		todo := "chmod 600 '" + strings.ReplaceAll(key, "'", `'\''`) + "'"
		if strings.Contains(err.Error(), todo) != refused {
			t.Errorf("mode %o: %v", mode, err)
		}
	}
}
