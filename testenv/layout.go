// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"oras.land/oras-go/v2/content/oci"
)

// NewLayout makes an empty OCI image layout in a new directory, which goes with the
// test.
func NewLayout(tb testing.TB) (layout *oci.Store, folder string) {
	tb.Helper()
	folder = filepath.Join(tb.TempDir(), "layout")
	layout, err := oci.New(folder)
	if err != nil {
		tb.Fatal(err)
	}
	return layout, folder
}

// Archive writes the files of a directory into a tar archive and returns its path. The
// header of each entry can be changed; an entry without a name is left out.
func Archive(tb testing.TB, folder string, change func(*tar.Header)) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "layout.tar")
	if err := archive(path, folder, change); err != nil {
		tb.Fatal(fmt.Errorf("archive %s: %w", folder, err))
	}
	return path
}

func archive(path, folder string, change func(*tar.Header)) (err error) {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	w := tar.NewWriter(file)
	err = filepath.Walk(folder, func(path string, info os.FileInfo, err error) error {
		if err != nil || path == folder {
			return err
		}
		link := ""
		if info.Mode()&os.ModeSymlink != 0 {
			if link, err = os.Readlink(path); err != nil {
				return err
			}
		}
		header, err := tar.FileInfoHeader(info, link)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(folder, path)
		if err != nil {
			return err
		}
		header.Name = filepath.ToSlash(name)
		if change != nil {
			change(header)
		}
		if header.Name == "" {
			return nil
		}
		if err := w.WriteHeader(header); err != nil || header.Typeflag != tar.TypeReg {
			return err
		}
		content, err := os.Open(path)
		if err != nil {
			return err
		}
		_, err = io.Copy(w, content)
		return errors.Join(err, content.Close())
	})
	return errors.Join(err, w.Close())
}
