// SPDX-License-Identifier: Apache-2.0

//go:build unix

package pkcs11

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// layout is what the rows change: a module where packages would install it, one
// in a directory like /tmp, and one in a directory of ours there.
const layout = `set -e
umask 022
stranger() { $AS_ROOT chown -h 54321 "$@"; }
mkdir -p a/b open sticky/mine
chmod 777 open
chmod 1777 sticky
touch a/b/module.so sticky/module.so sticky/mine/module.so
`

// A module is code that sees the PIN. It is loaded from where only root, its
// owner and their groups could have put it, whatever way leads there.
func TestModuleFromWhereOthersCanWriteIsRefused(t *testing.T) {
	for _, row := range []struct {
		name, change string // in the shell
		path, says   string // of the error; "" if the module is loaded
	}{
		{"as packages install it", "", "a/b/module.so", ""},
		{"the group can write", "chmod 775 a a/b a/b/module.so", "a/b/module.so", ""},
		{"the file", "chmod o+w a/b/module.so", "a/b/module.so", "every user of this machine; type: chmod o-w '"},
		{"its directory", "chmod o+w a/b", "a/b/module.so", "/a/b'"},
		{"the directory above", "chmod o+w a", "a/b/module.so", "/a'"},
		{"all of them", "chmod o+w a a/b; ln -s a/b way", "way/../b/module.so", "type: chmod o-w '$DIR/a' '$DIR/a/b'"},
		{"a quote in a name", "mkdir \"it's\"; cp a/b/module.so \"it's\"; chmod o+w \"it's\"", "it's/module.so", `/it'\''s'`},
		{"a directory that the path leaves again", "", "open/../a/b/module.so", "every user"},
		{"a link to a good place", "ln -s a/b/module.so link", "link", ""},
		{"a link to a bad place", "chmod o+w a; ln -s a/b/module.so link", "link", "every user"},
		{"a link in a bad place", "ln -s ../a/b/module.so open/link", "open/link", "every user"},
		{"a link to a directory", "chmod o+w a; ln -s a/b way", "way/module.so", "every user"},
		{"an absolute link", `chmod o+w a; ln -s "$PWD/a/b" way`, "way/module.so", "every user"},
		{"a chain of links", "ln -s ../a/b/module.so open/two; ln -s open/two one", "one", "every user"},
		{"a circle of links", "ln -s two one; ln -s one two", "one", "can't be reached: too many"},
		{"ours in a sticky directory", "", "sticky/module.so", ""},
		{"below ours in a sticky directory", "", "sticky/mine/module.so", ""},
		{"a stranger's in a sticky directory", "stranger sticky/module.so", "sticky/module.so", "user 54321"},
		{"below a stranger's in a sticky directory", "stranger sticky/mine", "sticky/mine/module.so", "user 54321"},
		{"a stranger's link in a sticky directory", "ln -s ../a/b/module.so sticky/link; stranger sticky/link", "sticky/link", "user 54321"},
		{"a stranger's sticky directory", "stranger sticky", "sticky/module.so", "user 54321"},
		{"a directory", "", "a/b", "not a regular file"},
		{"nothing", "", "a/c/module.so", "no such file"},
	} {
		t.Run(row.name, func(t *testing.T) {
			dir := t.TempDir()
			shell := exec.Command("sh", "-c", layout+row.change)
			shell.Dir = dir
			if os.Getuid() != 0 {
				shell.Env = append(os.Environ(), "AS_ROOT=sudo -n") // who else can give files away
			}
			if output, err := shell.CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, output)
			}
			err, says := checkModulePath(dir+"/"+row.path), strings.ReplaceAll(row.says, "$DIR", dir)
			if says == "" && err != nil || says != "" && (err == nil || !strings.Contains(err.Error(), says)) {
				t.Errorf("error %v, want %q", err, says)
			}
		})
	}
	if err := checkModulePath("module.so"); err == nil || !strings.Contains(err.Error(), "not an absolute path") {
		t.Errorf("error %v", err)
	}
}

// The directory in which a path starts is on it, too.
func TestOpenRootIsRefused(t *testing.T) {
	for mode, says := range map[fs.FileMode]string{
		0o777:                 "type: chmod o-w '$ROOT'",
		0o777 | fs.ModeSticky: "",
		0o755:                 "",
	} {
		root := t.TempDir()
		if err := os.WriteFile(filepath.Join(root, "module.so"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("/module.so", filepath.Join(root, "link")); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(root, mode); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{"/module.so", "/link"} {
			err, says := checkWriters(root, path), strings.ReplaceAll(says, "$ROOT", root)
			if says == "" && err != nil || says != "" && (err == nil || !strings.Contains(err.Error(), says)) {
				t.Errorf("%v: %s: error %v, want %q", mode, path, err, says)
			}
		}
	}
}

// Who can't close a place is told how it can be closed, and that this is no
// matter of the module's path.
func TestRefusalOfWhatIsRootsNamesSudo(t *testing.T) {
	open := openEntries{user: 4711}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	open.look(info, dir)
	if err := open.refusal(); err == nil || !strings.Contains(err.Error(), "type: sudo chmod o-w '"+dir+"'") {
		t.Errorf("error %v", err)
	}
	file := filepath.Join(dir, "module.so")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(file, Options{}); !IsKind(err, KindUnsafe) {
		t.Errorf("error %v", err)
	}
	if err := CheckModule(file + ".missing"); !IsKind(err, KindModule) {
		t.Errorf("error %v", err)
	}
}
