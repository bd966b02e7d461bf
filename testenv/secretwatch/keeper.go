// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// keeper keeps all files that are ever in a directory tree: as they appear they
// get a second name, in the vault, which stays when the first is deleted.
type keeper struct {
	tree, vault string
	search      func(name, kept string) error // a file that was written

	events *os.File
	dirs   map[int32]string  // by inotify's number
	names  map[string]string // of files in the tree, by their path in the vault
	ended  chan error
}

const watched = unix.IN_CREATE | unix.IN_MOVED_TO | unix.IN_CLOSE_WRITE | unix.IN_ONLYDIR

func newKeeper(tree, vault string, search func(name, kept string) error) (*keeper, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("inotify_init", err)
	}
	k := &keeper{
		tree: tree, vault: vault, search: search,
		events: os.NewFile(uintptr(fd), "inotify"), dirs: map[int32]string{}, names: map[string]string{}, ended: make(chan error, 1),
	}
	if err := k.add(fd, tree); err != nil {
		return nil, errors.Join(err, k.events.Close())
	}
	go func() { k.ended <- k.read(fd) }()
	return k, nil
}

// stop ends the watch, after what has happened until now.
func (k *keeper) stop() error {
	if k.ended == nil {
		return nil
	}
	marker := filepath.Join(k.tree, endMarker)
	if err := os.WriteFile(marker, nil, 0o600); err != nil {
		return err
	}
	err := <-k.ended
	k.ended = nil
	return errors.Join(err, k.events.Close())
}

// markAgain writes the marker once more, if it has been: its event may be among
// those that were lost.
func (k *keeper) markAgain() error {
	f, err := os.OpenFile(filepath.Join(k.tree, endMarker), os.O_WRONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return f.Close()
}

// endMarker is the name of a file after which there is nothing to be seen.
const endMarker = ".secretwatch-end"

func (k *keeper) read(fd int) error {
	buffer := make([]byte, 256<<10)
	for {
		n, err := k.events.Read(buffer)
		if err != nil {
			return err
		}
		for rest := buffer[:n]; len(rest) >= unix.SizeofInotifyEvent; {
			event := (*unix.InotifyEvent)(unsafe.Pointer(&rest[0]))
			size := unix.SizeofInotifyEvent + int(event.Len)
			name := string(bytes.TrimRight(rest[unix.SizeofInotifyEvent:size], "\x00"))
			wd, mask := event.Wd, event.Mask
			rest = rest[size:]
			if name == endMarker {
				return nil
			}
			if err := k.handle(fd, wd, mask, name); err != nil {
				return err
			}
		}
	}
}

func (k *keeper) handle(fd int, wd int32, mask uint32, name string) error {
	path := filepath.Join(k.dirs[wd], name)
	switch {
	case mask&unix.IN_Q_OVERFLOW != 0:
		return errors.Join(k.add(fd, k.tree), k.markAgain()) // what is still there of what was missed
	case mask&unix.IN_IGNORED != 0:
		delete(k.dirs, wd)
		return nil
	case mask&unix.IN_ISDIR != 0:
		return k.add(fd, path)
	case mask&unix.IN_CLOSE_WRITE != 0:
		kept := k.keep(path)
		if kept == "" {
			return nil
		}
		return k.search(k.names[kept], kept)
	default:
		k.keep(path)
		return nil
	}
}

// compilers is how the names of the directories begin where the go command
// compiles and links. Tests' constants are in what it makes.
var compilers = regexp.MustCompile(`^go-(?:build|link)`)

// add watches a directory and what is below it, and keeps what is there already.
func (k *keeper) add(fd int, dir string) error {
	if filepath.Dir(dir) == k.tree && compilers.MatchString(filepath.Base(dir)) {
		return nil
	}
	wd, err := unix.InotifyAddWatch(fd, dir, watched)
	switch {
	case errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.EACCES):
		return nil // gone, or another user's
	case errors.Is(err, unix.ENOSPC):
		return fmt.Errorf("there are more directories than may be watched; as root type: sysctl fs.inotify.max_user_watches=524288")
	case err != nil:
		return os.NewSyscallError("inotify_add_watch", err)
	}
	k.dirs[int32(wd)] = dir
	entries, _ := os.ReadDir(dir) // of one that is gone it is nothing
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		if !entry.IsDir() {
			k.keep(path)
		} else if err := k.add(fd, path); err != nil {
			return err
		}
	}
	return nil
}

// keep gives a file its second name, if it is there still and is a regular one,
// and returns that. Programs are left out: those of tests have the tests' constants
// in them. A core dump is no program.
func (k *keeper) keep(path string) (kept string) {
	info, err := os.Lstat(path)
	if err != nil || !info.Mode().IsRegular() {
		return ""
	}
	kept = filepath.Join(k.vault, fmt.Sprint(info.Sys().(*syscall.Stat_t).Ino))
	if err := os.Link(path, kept); err != nil && !errors.Is(err, fs.ErrExist) {
		return ""
	}
	if isProgram(kept) {
		os.Remove(kept)
		delete(k.names, kept)
		return ""
	}
	if k.names[kept] == "" {
		k.names[kept] = strings.TrimPrefix(path, k.tree+"/")
	}
	return kept
}

// isProgram reads the header of an ELF file (elf(5)).
func isProgram(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	var header [18]byte
	if _, err := f.Read(header[:]); err != nil || string(header[:4]) != elf.ELFMAG {
		return false
	}
	return elf.Type(binary.LittleEndian.Uint16(header[16:])) != elf.ET_CORE
}
