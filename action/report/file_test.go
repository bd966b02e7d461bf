// SPDX-License-Identifier: Apache-2.0

package report

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A checkout can bring symbolic links along. None has the report written over what
// it leads to.
func TestReportFollowsNoLinkOfACheckout(t *testing.T) {
	const kept = "kept"
	outside := t.TempDir()
	workspace := t.TempDir()
	victim := filepath.Join(outside, "victim")
	inside := filepath.Join(workspace, "main.go")
	for _, path := range []string{victim, inside} {
		if err := os.WriteFile(path, []byte(kept), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for link, target := range map[string]string{
		"report.json": victim, "new.json": filepath.Join(outside, "new"), "dir": outside, "own.json": inside, "here": workspace, "relative.json": "main.go",
	} {
		if err := os.Symlink(target, filepath.Join(workspace, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(workspace, "out"), 0o700); err != nil {
		t.Fatal(err)
	}
	links := []string{"report.json", "new.json", "dir/victim", "dir/new", "own.json", "relative.json", "here/main.go", "here/x.json", "out/../report.json"}
	open := func(path, workspace string) error {
		file, err := OpenFile(path, workspace, "", "program")
		if err == nil {
			err = file.Close()
		}
		return err
	}
	for _, link := range links {
		if err := open(filepath.Join(workspace, filepath.FromSlash(link)), workspace); err == nil || !strings.Contains(err.Error(), "symbolic link") {
			t.Errorf("%s: %v", link, err)
		}
	}
	if err := open(filepath.Join(workspace, "out", "report.json"), workspace); err != nil {
		t.Error(err)
	}
	t.Chdir(workspace)
	for _, link := range links {
		if err := open(filepath.FromSlash(link), ""); err == nil || !strings.Contains(err.Error(), "symbolic link") {
			t.Errorf("%s, in the current directory: %v", link, err)
		}
	}
	for _, path := range []string{"plain.json", filepath.Join("out", "plain.json"), filepath.Join("dir", "..", "plain.json")} {
		if err := open(path, ""); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	for _, path := range []string{victim, inside} {
		if content, err := os.ReadFile(path); err != nil || string(content) != kept {
			t.Errorf("%s was written to: %q, %v", path, content, err)
		}
	}
	if _, err := os.Stat(filepath.Join(outside, "new")); err == nil {
		t.Error("a file was made where a link leads")
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(outside), "plain.json")); err == nil {
		t.Error("a link was followed before its ..")
	}
}

// Outside of a checkout a link is the user's own.
func TestReportElsewhereMayBeALink(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(dir, "link.json")
	if err := os.Symlink(filepath.Join(dir, "report.json"), link); err != nil {
		t.Fatal(err)
	}
	file, err := OpenFile(link, t.TempDir(), "", "program")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if path, err := file.Write(&Report{}); err != nil || path != link {
		t.Errorf("%s, %v", path, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "report.json")); err != nil {
		t.Error(err)
	}
}
