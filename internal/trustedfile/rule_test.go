// SPDX-License-Identifier: Apache-2.0

//go:build unix

package trustedfile

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// layout is what the rows change: a file where packages would install it, one
// in a directory like /tmp, and one in a directory of ours there.
const layout = `set -e
umask 022
stranger() { $AS_ROOT chown -h 54321 "$@"; }
mkdir -p a/b open sticky/mine
chmod 777 open
chmod 1777 sticky
touch a/b/file sticky/file sticky/mine/file
chmod 600 a/b/file sticky/file sticky/mine/file
`

// lay makes the layout with a change of it, and returns where.
func lay(t *testing.T, change string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil { // which is a door else
		t.Fatal(err)
	}
	shell := exec.Command("sh", "-c", layout+change)
	shell.Dir = dir
	if os.Getuid() != 0 {
		shell.Env = append(os.Environ(), "AS_ROOT=sudo -n") // who else can give files away
	}
	if output, err := shell.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	return dir
}

// What is trusted is where only root, its owner and their groups could have put it,
// whatever way leads there.
func TestFilesThatOthersCanChangeAreRefused(t *testing.T) {
	const every, stranger = "every user of this machine", "user 54321"
	for _, row := range []struct {
		name, change string // in the shell
		path         string
		secret       string // what the error says; "" where the file is taken
		library      string
		public       string
	}{
		{"as packages install it", "", "a/b/file", "", "", ""},
		{"the group can write", "chmod 775 a a/b; chmod g+w a/b/file", "a/b/file", "", "", ""},
		{"the file", "chmod o+w a/b/file", "a/b/file", every + "; run: chmod o-w '", every, every},
		{"a PIN file of mode 0622", "chmod 622 a/b/file", "a/b/file", every, every, every},
		{"its directory", "chmod o+w a/b", "a/b/file", "/a/b'", "/a/b'", "/a/b'"},
		{"the directory above", "chmod o+w a", "a/b/file", "/a'", "/a'", "/a'"},
		{"all of them", "chmod o+w a a/b; ln -s a/b way", "way/../b/file", "run: chmod o-w '$DIR/a' '$DIR/a/b'", every, every},
		{"a quote in a name", "mkdir \"it's\"; cp a/b/file \"it's\"; chmod o+w \"it's\"", "it's/file", `/it'\''s'`, every, every},
		{"a directory that the path leaves again", "", "open/../a/b/file", every, every, every},
		{"a link to a good place", "ln -s a/b/file link", "link", "", "", ""},
		{"a link to a bad place", "chmod o+w a; ln -s a/b/file link", "link", every, every, every},
		{"a link in a bad place", "ln -s ../a/b/file open/link", "open/link", every, every, every},
		{"a link to a directory", "chmod o+w a; ln -s a/b way", "way/file", every, every, every},
		{"an absolute link", `chmod o+w a; ln -s "$PWD/a/b" way`, "way/file", every, every, every},
		{"a chain of links", "ln -s ../a/b/file open/two; ln -s open/two one", "one", every, every, every},
		{"ours in a sticky directory", "", "sticky/file", "", "", ""},
		{"below ours in a sticky directory", "", "sticky/mine/file", "", "", ""},
		{"a stranger's", "stranger a/b/file", "a/b/file", stranger, stranger, ""},
		{"in a stranger's directory", "stranger a/b", "a/b/file", "", stranger, ""},
		{"a stranger's in a sticky directory", "stranger sticky/file", "sticky/file", stranger, stranger, ""},
		{"below a stranger's in a sticky directory", "stranger sticky/mine", "sticky/mine/file", stranger, stranger, ""},
		{"a stranger's link in a sticky directory", "ln -s ../a/b/file sticky/link; stranger sticky/link", "sticky/link", stranger, stranger, ""},
		{"a stranger's sticky directory", "stranger sticky", "sticky/file", stranger, stranger, ""},
		{"every user can read it", "chmod 644 a/b/file", "a/b/file", "run: chmod 600 '$DIR/a/b/file'", "", ""},
		{"behind a door", "chmod 644 a/b/file; chmod 700 a", "a/b/file", "", "", ""},
		{"behind another's door", "chmod 644 a/b/file; chmod 750 a; stranger a", "a/b/file", "chmod 600", stranger, ""},
		{"a link behind a door", "chmod 644 a/b/file; mkdir -m 700 c; ln -s ../a/b/file c/link", "c/link", "chmod 600", "", ""},
		{"past a door", "chmod 644 a/b/file; mkdir -m 700 c", "c/../a/b/file", "chmod 600", "", ""},
		{"a volume of Kubernetes", "chmod 644 a/b/file; chmod 1777 a; chmod 700 a/b; ln -s b a/..data; ln -s ..data/file a/file", "a/file", "", "", ""},
		{"a directory", "", "a/b", "not a regular file", "not a regular file", "not a regular file"},
		{"a pipe", "mkfifo a/pipe", "a/pipe", "not a regular file", "not a regular file", "not a regular file"},
		{"a circle of links", "ln -s two one; ln -s one two", "one", "too many", "too many", "too many"},
		{"nothing", "", "a/c/file", "no such file", "no such file", "no such file"},
	} {
		t.Run(row.name, func(t *testing.T) {
			dir := lay(t, row.change)
			forLog := row.secret
			if strings.Contains(forLog, "chmod 600") { // every user may read it
				forLog = ""
			}
			for kind, says := range map[Kind]string{Secret: row.secret, Library: row.library, Public: row.public, Log: forLog} {
				err, says := Check(dir+"/"+row.path, kind), strings.ReplaceAll(says, "$DIR", dir)
				if says == "" && err != nil || says != "" && (err == nil || !strings.Contains(err.Error(), says)) {
					t.Errorf("kind %d: error %v, want %q", kind, err, says)
				}
				unsafe := strings.Contains(says, "user") || strings.Contains(says, "chmod") || strings.Contains(says, "/")
				var e *Error
				if says != "" && unsafe != (errors.As(err, &e) && e.Unsafe) {
					t.Errorf("kind %d: %v is unsafe: %v", kind, err, !unsafe)
				}
			}
		})
	}
}

// The directory in which a path starts is on it, too.
func TestOpenRootIsRefused(t *testing.T) {
	for mode, says := range map[fs.FileMode]string{
		0o777:                 "run: chmod o-w '$ROOT'",
		0o777 | fs.ModeSticky: "",
		0o755:                 "",
	} {
		root := t.TempDir()
		if err := os.WriteFile(filepath.Join(root, "file"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("/file", filepath.Join(root, "link")); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(root, mode); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{"/file", "/link"} {
			w, err := findWay(root, path)
			if err != nil {
				t.Fatal(err)
			}
			err = w.check(Library, os.Geteuid())
			says := strings.ReplaceAll(says, "$ROOT", root)
			if says == "" && err != nil || says != "" && (err == nil || !strings.Contains(err.Error(), says)) {
				t.Errorf("%v: %s: error %v, want %q", mode, path, err, says)
			}
		}
	}
}

// A user who can't close a place is told how root does.
func TestRefusalOfAnothersFileNamesSudo(t *testing.T) {
	dir := lay(t, "chmod 777 a; chmod 644 a/b/file")
	w, err := findWay("/", dir+"/a/b/file")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.checkModes(4711); err == nil || !strings.Contains(err.Error(), "run: sudo chmod o-w '"+dir+"/a'") {
		t.Errorf("error %v", err)
	}
}

func TestGroupsThatCanChangeAFileAreNamed(t *testing.T) {
	dir := lay(t, "chmod g+w a/b/file; mkdir -p club/theirs club/ours; touch club/theirs/file club/ours/file; chmod 1775 club; stranger club/theirs")
	if err := os.Chown(dir+"/a/b/file", -1, os.Getgid()); err != nil {
		t.Fatal(err)
	}
	for path, says := range map[string]string{
		"/a/b/file": "chmod g-w '" + dir + "/a/b/file'", "/sticky/mine/file": "", "/nothing": "",
		"/club/ours/file": "", "/club/theirs/file": "chmod g-w '" + dir + "/club'",
	} {
		warning, keepOut := Warning(dir + path)
		if keepOut != says || (warning != "") != (says != "") {
			t.Errorf("%s: %q, %q, want %q", path, warning, keepOut, says)
		}
	}
}

func TestReadingIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte("four"), 0o600); err != nil {
		t.Fatal(err)
	}
	if content, err := Read(path, Secret, 4); string(content) != "four" || err != nil {
		t.Errorf("read %q, %v", content, err)
	}
	if content, err := Read(path, Secret, 3); content != nil || err == nil || !strings.Contains(err.Error(), "longer than 3 bytes") {
		t.Errorf("read %q, %v", content, err)
	}
	t.Chdir(filepath.Dir(path))
	if content, err := Read("file", Secret, 4); string(content) != "four" || err != nil {
		t.Errorf("by a relative name: read %q, %v", content, err)
	}
}

// Nobody may put another file where one that is good was looked at.
func TestFileThatIsReplacedMeanwhileIsRefused(t *testing.T) {
	dir := lay(t, "")
	open, err := os.Open(dir + "/a/b/file")
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	info, err := open.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if err := check(dir+"/a/b/file", info, Secret); err != nil {
		t.Error(err)
	}
	if err := os.Rename(dir+"/sticky/file", dir+"/a/b/file"); err != nil {
		t.Fatal(err)
	}
	if err := check(dir+"/a/b/file", info, Secret); err == nil || !strings.Contains(err.Error(), "replaced") {
		t.Errorf("error %v", err)
	}
}

// Reading a pipe without a writer would wait for one.
func TestPipeIsNotWaitedFor(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := Read(pipe, Secret, 10)
		done <- err
	}()
	select {
	case err := <-done:
		if err == nil {
			t.Error("read a pipe")
		}
	case <-time.After(time.Minute):
		t.Fatal("waits for the pipe's writer")
	}
}
