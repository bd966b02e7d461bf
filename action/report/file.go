// SPDX-License-Identifier: Apache-2.0

package report

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// File is where the JSON report goes. It is opened before the run, so that a wrong
// path is found out before anything is signed.
type File struct{ file *os.File }

// OpenFile opens the file at a path, else a new one in a temporary directory, whose
// name begins with the program's, else none. Below the workspace, which is a checkout
// that others may have written, and below the current directory, no symbolic link is
// followed. An empty workspace is none.
func OpenFile(path, workspace, temporary, program string) (*File, error) {
	var file *os.File
	var err error
	switch {
	case path != "":
		file, err = create(path, workspace)
	case temporary != "":
		file, err = os.CreateTemp(temporary, program+"-*.json")
	}
	if err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	return &File{file}, nil
}

// create creates the file at a path, or empties it.
func create(path, workspace string) (*os.File, error) {
	// A relative path is opened as it is checked, without the links that its .. could
	// lead through.
	full, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	here, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	for _, checkout := range []string{workspace, here} {
		relative, err := filepath.Rel(checkout, full)
		if checkout == "" || err != nil || !filepath.IsLocal(relative) {
			continue
		}
		return createBelow(checkout, relative)
	}
	return os.Create(path)
}

// createBelow creates a file in a directory, through no symbolic link. What another
// program changes meanwhile leads no further than to another file in there.
func createBelow(directory, path string) (*os.File, error) {
	root, err := os.OpenRoot(directory)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	part := ""
	for name := range strings.SplitSeq(path, string(filepath.Separator)) {
		part = filepath.Join(part, name)
		info, err := root.Lstat(part)
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err != nil {
			return nil, err
		}
		if info.Mode()&fs.ModeSymlink != 0 {
			return nil, fmt.Errorf("%s is a symbolic link, which the checkout may have brought along; name a path without one", filepath.Join(directory, part))
		}
	}
	return root.Create(path)
}

// Write writes the report and returns its path, which is empty if there is none.
func (f *File) Write(r *Report) (path string, err error) {
	if f.file == nil {
		return "", nil
	}
	if err := r.WriteJSON(f.file); err != nil {
		return "", fmt.Errorf("the report %s can't be written: %w", f.file.Name(), err)
	}
	return f.file.Name(), nil
}

// Close closes the file.
func (f *File) Close() error {
	if f.file == nil {
		return nil
	}
	return f.file.Close()
}
