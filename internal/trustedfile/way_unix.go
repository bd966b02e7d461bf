// SPDX-License-Identifier: Apache-2.0

//go:build unix

package trustedfile

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// entry is one file on the way to another: a directory, a symbolic link, or the
// file itself at the end.
type entry struct {
	path      string
	info      fs.FileInfo
	directory *entry // that it was found in; nil for the root
}

func (e entry) mode() fs.FileMode { return e.info.Mode() }

func (e entry) isLink() bool { return e.mode()&fs.ModeSymlink != 0 }

func (e entry) isSticky() bool { return e.info.IsDir() && e.mode()&fs.ModeSticky != 0 }

func (e entry) owner() int { return int(e.info.Sys().(*syscall.Stat_t).Uid) }

func (e entry) group() int { return int(e.info.Sys().(*syscall.Stat_t).Gid) }

// way is all that leads to a file, in the order in which the kernel goes there.
// The file is the last one.
type way []*entry

// findWay goes to a file, one name after the other, and where symbolic links lead.
// The root is where absolute paths start, "/" but in tests.
func findWay(root, path string) (way, error) {
	if !filepath.IsAbs(path) {
		directory, err := os.Getwd()
		if err != nil {
			return nil, err
		}
		path = directory + "/" + path // not cleaned: a link may stand before ".."
	}
	info, err := os.Lstat(root)
	if err != nil {
		return nil, err
	}
	start := &entry{path: root, info: info}
	w, place, rest := way{start}, start, path
	for links := 0; rest != ""; {
		var name string
		name, rest, _ = strings.Cut(rest, "/")
		if name == "" || name == "." {
			continue
		}
		if name == ".." { // place has no links, so it is what it says
			if place.directory != nil {
				place = place.directory
			}
			continue
		}
		next := &entry{path: filepath.Join(place.path, name), directory: place}
		if next.info, err = os.Lstat(next.path); err != nil {
			return nil, err
		}
		w = append(w, next)
		if !next.isLink() {
			place = next
			continue
		}
		const maxLinks = 40 // as Linux has it
		if links++; links > maxLinks {
			return nil, &fs.PathError{Op: "open", Path: path, Err: syscall.ELOOP}
		}
		target, err := os.Readlink(next.path)
		if err != nil {
			return nil, err
		}
		rest = target + "/" + rest
		if filepath.IsAbs(target) {
			place = start
		}
	}
	if w[len(w)-1] != place {
		w = append(w, place) // the path ends with a link or "..", at a directory that it has passed
	}
	return w, nil
}

// file is what the way leads to.
func (w way) file() *entry { return w[len(w)-1] }

// directories are those that the file is in, from the root on. Those that lead to
// a link alone don't keep anybody from the file.
func (w way) directories() []*entry {
	var above []*entry
	for e := w.file().directory; e != nil; e = e.directory {
		above = append(above, e)
	}
	return above
}
