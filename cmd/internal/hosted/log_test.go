// SPDX-License-Identifier: Apache-2.0

//go:build unix

package hosted

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Whoever made the file of a log may have it open, whatever its mode is by now.
func TestLogOfAnotherUserIsRefused(t *testing.T) {
	for name, open := range map[string]func(string) error{
		"module log": func(path string) error { _, err := openModuleLog(path); return err },
		"debug log":  func(path string) error { _, err := openLog(path); return err },
	} {
		path := filepath.Join(t.TempDir(), "log")
		for range 2 {
			if err := open(path); err != nil {
				t.Errorf("%s of this user: %v", name, err)
			}
		}
		give := []string{"chown", "54321", path}
		if os.Getuid() != 0 {
			give = append([]string{"sudo", "-n"}, give...)
		}
		if output, err := exec.Command(give[0], give[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, output)
		}
		if err := open(path); err == nil || os.Getuid() == 0 && !strings.Contains(err.Error(), "belongs to user 54321") {
			t.Errorf("%s of another user: error %v", name, err)
		}
	}
}
