// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"regexp"
	"strings"
)

// failures collects the lines with which go test says that something failed or
// was skipped.
type failures struct {
	line  []byte // that is not whole yet
	found []error
}

var failureLine = regexp.MustCompile(`^\s*(--- FAIL|--- SKIP|FAIL\b|panic: )`)

func (f *failures) Write(p []byte) (int, error) {
	for _, c := range p {
		if c != '\n' {
			f.line = append(f.line, c)
			continue
		}
		f.look()
	}
	return len(p), nil
}

func (f *failures) look() {
	if failureLine.Match(f.line) {
		f.found = append(f.found, errors.New(strings.TrimSpace(string(f.line))))
	}
	f.line = f.line[:0]
}

// err returns what was found, after the end of the output.
func (f *failures) err() error {
	f.look() // what no line end followed
	return errors.Join(f.found...)
}
