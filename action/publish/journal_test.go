// SPDX-License-Identifier: Apache-2.0

package publish

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/notation-pkcs11/notation-pkcs11/action/registry"
)

func TestJournalKnowsWhatIsLeftBehind(t *testing.T) {
	app, other := unread(t, "r.example", "app", entry("app")), unread(t, "r.example", "other", entry("app"))
	j := openJournal(filepath.Join(t.TempDir(), "made", "when", "needed"))
	if found, err := j.orphans(app); err != nil || len(found) > 0 {
		t.Fatalf("in no directory: %v, %v", found, err)
	}
	path, err := j.note(app, entry("signature"))
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	expect := func(name string, j *journal, of registry.Target, want int) {
		t.Helper()
		found, err := j.orphans(of)
		if err != nil || len(found) != want {
			t.Errorf("%s: %d orphans, not %d: %v", name, len(found), want, err)
		}
	}
	expect("the run itself", j, app, 0)
	expect("another run at the same time", &journal{dir: j.dir, own: -1, opened: time.Now()}, app, 0)
	expect("a later run", &journal{dir: j.dir, own: j.own, opened: time.Now()}, app, 1)
	expect("a later run of another artifact", &journal{dir: j.dir, own: j.own, opened: time.Now()}, other, 0)
	j.strike(path)
	expect("after the note is struck", &journal{dir: j.dir, own: j.own, opened: time.Now()}, app, 0)
	if left, err := os.ReadDir(j.dir); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}

	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := j.orphans(app); err == nil {
		t.Error("a note that can't be read is not reported")
	}
	j = nil
	if path, err := j.note(app, entry("signature")); path != "" || err != nil {
		t.Errorf("no journal: %q, %v", path, err)
	}
	j.strike("x")
}
