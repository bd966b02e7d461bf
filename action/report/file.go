// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"os"
)

// File is where the JSON report goes. It is opened before the run, so that a wrong
// path is found out before anything is signed.
type File struct{ file *os.File }

// OpenFile opens the file at a path, else a new one in a temporary directory, whose
// name begins with the program's, else none.
func OpenFile(path, temporary, program string) (*File, error) {
	var file *os.File
	var err error
	switch {
	case path != "":
		file, err = os.Create(path)
	case temporary != "":
		file, err = os.CreateTemp(temporary, program+"-*.json")
	}
	if err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	return &File{file}, nil
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
