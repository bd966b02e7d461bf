// SPDX-License-Identifier: Apache-2.0

package auditlog

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// The order in which the kernel is asked: the line, that it be on disk, and then
// the answer.
func TestLineIsOnDiskBeforeItIsAcknowledged(t *testing.T) {
	dir := t.TempDir()
	path, trace := filepath.Join(dir, "audit.log"), filepath.Join(dir, "trace")
	cmd := writer(t, path, 2, "")
	cmd.Args = append([]string{"strace", "-f", "-y", "-e", "trace=write,fsync", "-o", trace, cmd.Path}, cmd.Args[1:]...)
	var err error
	if cmd.Path, err = exec.LookPath("strace"); err != nil {
		t.Fatal(err)
	}
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	content, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	line := `write\(\d+<[^>]*audit\.log>, "\{.*\n(.*\n)*?.*fsync\(\d+<[^>]*audit\.log>.*\n(.*\n)*?.*write\(1<[^>]*>, "[0-9a-f]+.*\n(.*\n)*?.*`
	// The directory first: the file's entry in it must survive, too.
	if !regexp.MustCompile(`fsync\(\d+<` + regexp.QuoteMeta(dir) + `>\).*\n(.*\n)*?.*` + line + line).Match(content) {
		t.Errorf("the calls are\n%s", content)
	}
}
