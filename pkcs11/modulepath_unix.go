// SPDX-License-Identifier: Apache-2.0

//go:build unix

package pkcs11

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// checkWriters refuses a path on which every user of the machine could put
// another file: it looks at each directory on the way, where a symbolic link
// leads, and at the file. Since what it has seen can be changed by the owner,
// root and a group alone, it holds for the loading that follows. Groups are
// trusted: Debian's /usr/local/lib is writable by the group staff.
//
// The root is where the path starts, "/" but in tests.
func checkWriters(root, path string) error {
	const maxLinks = 40 // as Linux has it
	links := 0
	place, rest := root, path
	directory, err := os.Lstat(root)
	if err != nil {
		return err
	}
	found := openEntries{user: os.Geteuid()}
	found.look(directory, root)
	for rest != "" {
		var name string
		name, rest, _ = strings.Cut(rest, "/")
		if name == "" || name == "." {
			continue
		}
		next := filepath.Join(place, name) // place has no links, so ".." is what it says
		info, err := os.Lstat(next)
		if err != nil {
			return err
		}
		if err := checkOwners(directory, place, info, next); err != nil {
			return err
		}
		if info.Mode()&fs.ModeSymlink == 0 { // a link's own bits mean nothing
			found.look(info, next)
			place, directory = next, info
			continue
		}
		if links++; links > maxLinks {
			return errors.New("has too many symbolic links on its path")
		}
		target, err := os.Readlink(next)
		if err != nil {
			return err
		}
		rest = target + "/" + rest
		if filepath.IsAbs(target) {
			place = root
		}
		if directory, err = os.Lstat(place); err != nil {
			return err
		}
	}
	return found.refusal()
}

const writableByOthers = 0o002

// openEntries are the places on a path that every user can change.
type openEntries struct {
	user   int
	paths  []string // quoted
	others bool     // one of them isn't the user's
}

// look looks at a file, or at a directory, which may be open if it is sticky.
func (o *openEntries) look(info fs.FileInfo, path string) {
	if info.Mode()&writableByOthers == 0 || info.IsDir() && info.Mode()&fs.ModeSticky != 0 {
		return
	}
	if path = shellQuoted(path); !slices.Contains(o.paths, path) {
		o.paths = append(o.paths, path)
	}
	o.others = o.others || owner(info) != o.user
}

func (o *openEntries) refusal() error {
	if len(o.paths) == 0 {
		return nil
	}
	command := "chmod o-w "
	if o.others && o.user != 0 {
		command = "sudo " + command
	}
	return unsafePathError("can be replaced by every user of this machine; type: " + command + strings.Join(o.paths, " "))
}

// checkOwners looks at one entry of a directory that others may write to since
// it is sticky. There an entry belongs to who made it, who may be anybody.
func checkOwners(directory fs.FileInfo, directoryPath string, entry fs.FileInfo, entryPath string) error {
	if directory.Mode()&writableByOthers == 0 || directory.Mode()&fs.ModeSticky == 0 {
		return nil
	}
	for _, side := range []struct {
		path string
		info fs.FileInfo
	}{{directoryPath, directory}, {entryPath, entry}} {
		if uid := owner(side.info); uid != 0 && uid != os.Geteuid() {
			return unsafePathError(fmt.Sprintf("can be replaced by user %d of this machine: %q is that user's, in a directory that everybody can write to; move the module to where only you or root can write", uid, side.path))
		}
	}
	return nil
}

func owner(info fs.FileInfo) int { return int(info.Sys().(*syscall.Stat_t).Uid) }
