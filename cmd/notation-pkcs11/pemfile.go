// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// pemResult is the JSON of the commands csr and self-sign.
type pemResult struct {
	Type     string `json:"type"` // of the PEM block
	Subject  string `json:"subject"`
	File     string `json:"file,omitempty"` // where it was written
	PEM      string `json:"pem"`
	Imported bool   `json:"imported,omitempty"` // the certificate is on the token, too
}

// checkNew refuses a file that is there, or for which there is no directory,
// before anything is done. The empty name is standard output.
func checkNew(file string) error {
	if file == "" {
		return nil
	}
	if _, err := os.Lstat(file); err == nil {
		return fmt.Errorf("the file %s is there already, and is not overwritten; use a new file", visible(file))
	} else if !errors.Is(err, fs.ErrNotExist) {
		return notCreated(file, err)
	}
	if _, err := os.Stat(filepath.Dir(file)); err != nil {
		return notCreated(file, err)
	}
	return nil
}

func notCreated(file string, err error) error {
	return fmt.Errorf("the file %s can't be created: %w", visible(file), withoutPath(err))
}

// writePEM writes a PEM block to the result's file, or to standard output.
func (i *invocation) writePEM(r pemResult, der []byte) error {
	block := pem.EncodeToMemory(&pem.Block{Type: r.Type, Bytes: der})
	r.PEM = string(block)
	if r.File != "" {
		if err := writeNew(r.File, block); err != nil {
			if r.Imported {
				err = fmt.Errorf("the certificate was stored on the token, but not in the file: %w", err)
			}
			return err
		}
	}
	var err error
	switch {
	case i.format == formatJSON:
		err = i.screen().json(r)
	case r.File != "":
		_, err = fmt.Fprintf(i.screen(), "%s\n", capitalized(strings.Join(r.done(), " and ")))
	default:
		_, err = i.screen().Write(block)
		if err == nil && r.Imported {
			i.notes().note("the certificate is also on the token")
		}
	}
	return unsaid(strings.Join(r.done(), " and "), err)
}

// done says what was made, in clauses.
func (r pemResult) done() []string {
	var clauses []string
	if r.File != "" {
		clauses = append(clauses, "wrote "+visible(r.File))
	}
	if r.Imported {
		clauses = append(clauses, "stored the certificate on the token")
	}
	return clauses
}

// capitalized makes a sentence of a clause that begins with an English word.
func capitalized(clause string) string { return strings.ToUpper(clause[:1]) + clause[1:] }

// writeNew writes a file that must not be there.
func writeNew(file string, content []byte) (err error) {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return notCreated(file, err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = f.Write(content)
	return err
}
