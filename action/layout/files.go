// SPDX-License-Identifier: Apache-2.0

package layout

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"syscall"
)

// layoutFiles are the files of a layout, in a directory or in a tar archive, which is
// read where it is.
type layoutFiles interface {
	fs.StatFS
	io.Closer
}

// openFiles opens the files of a layout.
func openFiles(path string) (layoutFiles, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case info.IsDir():
		root, err := os.OpenRoot(path)
		if err != nil {
			return nil, err
		}
		return directory{root}, nil
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is neither a directory nor a file", path)
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	archive := &archive{file: file, entries: map[string]archiveEntry{}}
	if err := archive.list(); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return archive, nil
}

// notRegularError says that something else is where a file of a layout belongs.
func notRegularError(name, is string) error {
	return &fs.PathError{Op: "open", Path: name, Err: fmt.Errorf("it is %s, and a file is needed", is)}
}

// directory is a layout in a directory. Nothing outside of it can be read
// through it, and no link is followed to a file.
type directory struct{ root *os.Root }

// Stat implements [fs.StatFS].
func (d directory) Stat(name string) (fs.FileInfo, error) {
	info, err := d.root.Lstat(name)
	switch {
	case err != nil:
		return nil, err
	case info.Mode()&fs.ModeSymlink != 0:
		return nil, notRegularError(name, "a link")
	case !info.Mode().IsRegular():
		return nil, notRegularError(name, "something else")
	}
	return info, nil
}

// Open implements [fs.FS].
func (d directory) Open(name string) (fs.File, error) {
	before, err := d.Stat(name)
	if err != nil {
		return nil, err
	}
	file, err := d.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe that was put there could block
	if err != nil {
		return nil, err
	}
	if now, err := file.Stat(); err != nil || !os.SameFile(before, now) {
		return nil, errors.Join(notRegularError(name, "replaced at this moment"), err, file.Close())
	}
	return file, nil
}

// Close implements [io.Closer].
func (d directory) Close() error { return d.root.Close() }

// maxArchiveEntries is how many files a layout in an archive may have.
const maxArchiveEntries = 200_000

// archive is a layout in a tar archive. (oras-go's reader of archives begins
// again a block before an entry's content, where an entry of more than 8 GiB has a
// size of zero: the true one is in a PAX header further ahead.)
type archive struct {
	file    *os.File
	entries map[string]archiveEntry
}

// archiveEntry is an entry of an archive.
type archiveEntry struct {
	info  fs.FileInfo
	start int64  // of its content, in the archive
	is    string // what it is, if no file
}

// list reads the headers of an archive.
func (a *archive) list() error {
	if err := a.refuseCompressed(); err != nil {
		return err
	}
	reader := tar.NewReader(a.file)
	for {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s is no tar archive, or not a whole one: %w", a.file.Name(), err)
		}
		if slices.Contains(strings.Split(strings.ReplaceAll(header.Name, `\`, "/"), "/"), "..") {
			return fmt.Errorf("%s has an entry %q, which leads out of the layout", a.file.Name(), header.Name)
		}
		start, err := a.file.Seek(0, io.SeekCurrent)
		if err != nil {
			return err
		}
		name := path.Clean(header.Name)
		if !isLayoutFile(name) {
			continue
		}
		if len(a.entries) == maxArchiveEntries {
			return fmt.Errorf("%s has more than %d files", a.file.Name(), maxArchiveEntries)
		}
		a.entries[name] = archiveEntry{header.FileInfo(), start, kindOf(header)}
	}
}

// isLayoutFile reports whether a file is one of those that layouts consist of.
func isLayoutFile(name string) bool {
	return name == "oci-layout" || name == "index.json" || strings.HasPrefix(name, "blobs/")
}

// kindOf says what an entry is, if it is no file that is there byte for byte.
func kindOf(header *tar.Header) string {
	switch {
	case header.Typeflag == tar.TypeSymlink, header.Typeflag == tar.TypeLink:
		return "a link"
	case header.Typeflag != tar.TypeReg:
		return "something else"
	}
	for record := range header.PAXRecords {
		if strings.HasPrefix(record, "GNU.sparse.") {
			return "a sparse file"
		}
	}
	return ""
}

// compressions are how compressed files begin, and what unpacks them.
var compressions = []struct{ magic, tool string }{
	{"\x1f\x8b", "gzip"},
	{"\x28\xb5\x2f\xfd", "zstd"},
	{"\xfd7zXZ\x00", "xz"},
	{"BZh", "bzip2"},
	{"\x04\x22\x4d\x18", "lz4"},
}

// plainName matches what a shell takes as it is.
var plainName = regexp.MustCompile(`^[A-Za-z0-9_./-]+$`)

// refuseCompressed refuses a compressed archive: reading it here and there would mean
// to unpack it many times.
func (a *archive) refuseCompressed() error {
	var head [8]byte
	n, err := a.file.ReadAt(head[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	for _, c := range compressions {
		if !bytes.HasPrefix(head[:n], []byte(c.magic)) {
			continue
		}
		name, unpacked := a.file.Name(), "layout.tar"
		if !plainName.MatchString(name) {
			name = "FILE"
		}
		return fmt.Errorf("%s is compressed; unpack it with: %s --decompress --stdout %s > %s", a.file.Name(), c.tool, name, unpacked)
	}
	return nil
}

// Stat implements [fs.StatFS].
func (a *archive) Stat(name string) (fs.FileInfo, error) {
	entry, found := a.entries[name]
	switch {
	case !found:
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	case entry.is != "":
		return nil, notRegularError(name, entry.is)
	}
	return entry.info, nil
}

// Open implements [fs.FS].
func (a *archive) Open(name string) (fs.File, error) {
	info, err := a.Stat(name)
	if err != nil {
		return nil, err
	}
	return archiveFile{io.NewSectionReader(a.file, a.entries[name].start, info.Size()), info}, nil
}

// Close implements [io.Closer].
func (a *archive) Close() error { return a.file.Close() }

// archiveFile is an open entry of an archive, which stays open itself.
type archiveFile struct {
	*io.SectionReader
	info fs.FileInfo
}

// Stat implements [fs.File].
func (f archiveFile) Stat() (fs.FileInfo, error) { return f.info, nil }

// Close implements [fs.File].
func (f archiveFile) Close() error { return nil }
