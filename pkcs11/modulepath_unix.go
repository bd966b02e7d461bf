// SPDX-License-Identifier: Apache-2.0

//go:build unix

package pkcs11

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// checkWriters refuses a path on which every user of the machine could put
// another file: it looks at each directory on the way, where a symbolic link
// leads, and at the file. Since what it has seen can be changed by the owner,
// root and a group alone, it holds for the loading that follows. Groups are
// trusted: Debian's /usr/local/lib is writable by the group staff.
func checkWriters(path string) error {
	const maxLinks = 40 // as Linux has it
	links := 0
	place, rest := "/", path
	directory, err := os.Lstat(place)
	if err != nil {
		return err
	}
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
		if err := checkEntry(directory, place, info, next); err != nil {
			return err
		}
		if info.Mode()&fs.ModeSymlink == 0 {
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
			place = "/"
		}
		if directory, err = os.Lstat(place); err != nil {
			return err
		}
	}
	return nil
}

const writableByOthers = 0o002

// checkEntry looks at one entry of a directory that others may write to only if
// it is sticky. There an entry belongs to who made it, who may be anybody.
func checkEntry(directory fs.FileInfo, directoryPath string, entry fs.FileInfo, entryPath string) error {
	if directory.Mode()&writableByOthers != 0 {
		for _, side := range []struct {
			path string
			info fs.FileInfo
		}{{directoryPath, directory}, {entryPath, entry}} {
			if uid := owner(side.info); uid != 0 && uid != os.Geteuid() {
				return fmt.Errorf("can be changed by user %d of this machine: %q is that user's, in a directory that everybody can write to; move the module to where only you or root can write", uid, side.path)
			}
		}
	}
	switch mode := entry.Mode(); {
	case mode&fs.ModeSymlink != 0: // whose own bits mean nothing
	case mode&writableByOthers == 0:
	case !mode.IsDir():
		return fmt.Errorf("can be changed by every user of this machine; type: chmod o-w %q", entryPath)
	case mode&fs.ModeSticky == 0:
		return fmt.Errorf("stands in a directory that every user of this machine can change; type: chmod o-w %q", entryPath)
	}
	return nil
}

func owner(info fs.FileInfo) int { return int(info.Sys().(*syscall.Stat_t).Uid) }
