// SPDX-License-Identifier: Apache-2.0

//go:build unix

package trustedfile

import (
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
)

// What every user may do to a file or, the last one, to a directory.
const (
	readableByOthers = 0o004
	writableByOthers = 0o002
	passableByOthers = 0o001
	writableByGroup  = 0o020
)

// check holds a file that is open against the rule.
func check(path string, open fs.FileInfo, kind Kind) error {
	w, err := findWay("/", path)
	if err != nil {
		return err
	}
	if !os.SameFile(w.file().info, open) {
		return refuse("was replaced while it was looked at")
	}
	return w.check(kind, os.Geteuid())
}

// check looks at each entry on the way, for a process of the user.
func (w way) check(kind Kind, user int) error {
	if err := w.checkModes(user); err != nil {
		return err
	}
	if kind == Public {
		return nil
	}
	for _, e := range w {
		if err := e.checkOwners(kind, user); err != nil {
			return err
		}
	}
	if file := w.file(); !isTrusted(file.owner(), user) {
		return refuse("belongs to user %d of this machine, who can change it; run: %s", file.owner(), command(user, "chown "+strconv.Itoa(user), file))
	}
	if kind == Secret && w.file().mode()&readableByOthers != 0 && !slices.ContainsFunc(w.directories(), func(e *entry) bool { return e.isDoor(user) }) {
		return refuse("can be read by every user of this machine; run: %s", command(user, "chmod 600", w.file()))
	}
	return nil
}

// checkModes refuses what every user can change.
func (w way) checkModes(user int) error {
	if found := w.writable(writableByOthers); len(found) > 0 {
		return refuse("can be changed by every user of this machine; run: %s", command(user, "chmod o-w", found...))
	}
	return nil
}

// writable returns the entries that somebody can change who has the permission.
// Those of a sticky directory have their owners' protection.
func (w way) writable(permission fs.FileMode) []*entry {
	var found []*entry
	for _, e := range w {
		open := e.mode()&permission != 0 && !e.isSticky() && !e.isLink() // a link's own mode means nothing
		if open && !slices.ContainsFunc(found, func(other *entry) bool { return other.path == e.path }) {
			found = append(found, e)
		}
	}
	return found
}

// checkOwners looks at an entry of a directory that others can write to, since it
// is sticky: there an entry belongs to whoever made it. A library's directories
// are looked at wherever they are.
func (e *entry) checkOwners(kind Kind, user int) error {
	if kind == Library && e.info.IsDir() && !isTrusted(e.owner(), user) {
		return refuse("can be replaced by user %d of this machine, whose directory %q is; move it to where only you or root can write", e.owner(), e.path)
	}
	in := e.directory
	if in == nil || in.mode()&writableByOthers == 0 {
		return nil
	}
	for _, owned := range []*entry{in, e} {
		if !isTrusted(owned.owner(), user) {
			return refuse("can be replaced by user %d of this machine: %q is that user's, in a directory that every user can write to; move it to where only you or root can write", owned.owner(), owned.path)
		}
	}
	return nil
}

// isDoor reports whether a directory keeps others out. Its owner is not another
// user, who could open it.
func (e *entry) isDoor(user int) bool {
	return e.mode()&passableByOthers == 0 && isTrusted(e.owner(), user)
}

func isTrusted(owner, user int) bool { return owner == 0 || owner == user }

// command is what is to be typed to change the entries, by root if they are not
// the user's.
func command(user int, does string, entries ...*entry) string {
	words := []string{does}
	for _, e := range entries {
		if e.owner() != user && user != 0 {
			words[0] = "sudo " + does
		}
		words = append(words, quoted(e.path))
	}
	return strings.Join(words, " ")
}

// Warning names the groups, by their numbers, that can change a file, as what
// follows the file's name in a sentence, and the command that keeps them out. Both
// are empty where there are none, or no such file, as that of an empty path.
func Warning(path string) (warning, keepOut string) {
	w, err := findWay("/", path)
	if path == "" || err != nil {
		return "", ""
	}
	var groups []string
	found := w.writable(writableByGroup)
	for _, e := range w {
		// As in checkOwners, where it is every user who can write there.
		in, user := e.directory, os.Geteuid()
		if in != nil && in.isSticky() && in.mode()&(writableByGroup|writableByOthers) == writableByGroup && !slices.Contains(found, in) &&
			(!isTrusted(in.owner(), user) || !isTrusted(e.owner(), user)) {
			found = append(found, in)
		}
	}
	for _, e := range found {
		if group := strconv.Itoa(e.group()); !slices.Contains(groups, group) {
			groups = append(groups, group)
		}
	}
	if len(found) == 0 {
		return "", ""
	}
	return "can be changed by the users of group " + strings.Join(groups, " and "), command(os.Geteuid(), "chmod g-w", found...)
}
