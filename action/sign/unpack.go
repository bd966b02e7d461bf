// SPDX-License-Identifier: Apache-2.0

package sign

import (
	"archive/tar"
	"archive/zip"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"

	"github.com/notation-pkcs11/notation-pkcs11/action/report"
)

// Bounds of an archive.
const (
	maxPluginFiles    = 100
	maxPluginUnpacked = 1 << 30
)

// unpack writes what was fetched into a directory: the files of a .tar.gz or a
// .zip, without their folders, or the one file itself under a name.
func unpack(ctx context.Context, archive, folder, name string) error {
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	fetched := io.NewSectionReader(&interruptible{ctx, f}, 0, info.Size())
	in := bufio.NewReader(fetched)
	head, err := in.Peek(4)
	if err != nil {
		return fmt.Errorf("it is too short to be a plugin: %w", err)
	}
	u := &unpacking{folder: folder, room: maxPluginUnpacked}
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		return u.tarGzip(in)
	case bytes.Equal(head, []byte("PK\x03\x04")):
		return u.zip(fetched)
	default:
		return u.file(name, in)
	}
}

// interruptible is read until the context ends.
type interruptible struct {
	ctx context.Context
	io.ReaderAt
}

func (i *interruptible) ReadAt(p []byte, off int64) (int, error) {
	if err := i.ctx.Err(); err != nil {
		return 0, err
	}
	return i.ReaderAt.ReadAt(p, off)
}

// unpacking is an archive that is being unpacked, within bounds.
type unpacking struct {
	folder string
	room   int64 // bytes
	files  int
}

func (u *unpacking) tarGzip(in io.Reader) error {
	unzipped, err := gzip.NewReader(in)
	if err != nil {
		return fmt.Errorf("unpack the .tar.gz: %w", err)
	}
	defer unzipped.Close()
	for files := tar.NewReader(unzipped); ; {
		header, err := files.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("unpack the .tar.gz: %w", err)
		}
		if header.Typeflag != tar.TypeReg {
			continue // folders, and links, which may lead anywhere
		}
		if err := u.file(header.Name, files); err != nil {
			return err
		}
	}
}

func (u *unpacking) zip(in *io.SectionReader) error {
	files, err := zip.NewReader(in, in.Size())
	if err != nil {
		return fmt.Errorf("unpack the .zip: %w", err)
	}
	for _, file := range files.File {
		if !file.Mode().IsRegular() {
			continue
		}
		content, err := file.Open()
		if err != nil {
			return err
		}
		err = errors.Join(u.file(file.Name, content), content.Close())
		if err != nil {
			return err
		}
	}
	return nil
}

// file writes one file. Of its name in the archive, only the last part counts.
func (u *unpacking) file(name string, content io.Reader) error {
	name = path.Base(filepath.ToSlash(name))
	if u.files++; u.files > maxPluginFiles {
		return fmt.Errorf("the archive has more than %d files", maxPluginFiles)
	}
	if !filepath.IsLocal(name) || name == "." {
		return fmt.Errorf("the archive has a file of the name %s", report.Quote(name))
	}
	counted := &countingReader{r: content}
	if err := writeFile(filepath.Join(u.folder, name), counted, u.room); err != nil {
		return fmt.Errorf("unpack %s: %w", report.Quote(name), err)
	}
	u.room -= counted.n
	return nil
}

type countingReader struct {
	r io.Reader
	n int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}
