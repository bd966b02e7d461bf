// SPDX-License-Identifier: Apache-2.0

//go:build unix

package pkcs11

import (
	"os"
	"os/exec"
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
		{"the file", "chmod o+w a/b/module.so", "a/b/module.so", "every user of this machine; type: chmod o-w"},
		{"its directory", "chmod o+w a/b", "a/b/module.so", `/a/b"`},
		{"the directory above", "chmod o+w a", "a/b/module.so", `/a"`},
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
			err := checkModulePath(dir + "/" + row.path)
			if row.says == "" && err != nil || row.says != "" && (err == nil || !strings.Contains(err.Error(), row.says)) {
				t.Errorf("error %v, want %q", err, row.says)
			}
		})
	}
	if err := checkModulePath("module.so"); err == nil || !strings.Contains(err.Error(), "not an absolute path") {
		t.Errorf("error %v", err)
	}
}
