// SPDX-License-Identifier: Apache-2.0

// Command figures reads what tests and benchmarks print, and writes the figures
// into the generated parts of pages. It is a filter: what it reads it prints,
// since tests take hours. "make performance" and "make soak" run it:
//
//	go test -bench . ./cmd/... | figures benchmarks docs/performance.md
//	go test -v ./...           | figures tallies docs/soak.md README.md
//
// It measures and tests nothing itself, and writes nothing unless each figure of
// the pages is there and nothing failed or was skipped. To add a kind of figure,
// start from [kinds].
package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/notation-pkcs11/notation-pkcs11/testenv/generated"
)

// parts are the lines of the generated parts of a page, by their names.
type parts map[string][]string

// kinds are the kinds of figures, by name. Each has the number of its pages, and a
// function that reads tests' output to its end and returns the parts of each page.
var kinds = map[string]struct {
	pages int
	read  func(output io.Reader, now time.Time) ([]parts, error)
}{
	"benchmarks": {1, readBenchmarks}, // a page
	"tallies":    {2, readTallies},    // a page and the README
}

func main() {
	os.Exit(figures())
}

func figures() int {
	if len(os.Args) < 3 || len(os.Args)-2 != kinds[os.Args[1]].pages {
		fmt.Fprintln(os.Stderr, "usage: figures benchmarks PAGE\n       figures tallies PAGE README")
		return 2
	}
	if err := run(os.Args[1], os.Stdin, os.Stdout, os.Args[2:], time.Now()); err != nil {
		fmt.Fprintln(os.Stderr, "figures:", err)
		return 1
	}
	return 0
}

// run reads tests' output, and writes figures of a kind into pages.
func run(kind string, output io.Reader, echo io.Writer, paths []string, now time.Time) error {
	var failed failures
	pages, err := kinds[kind].read(io.TeeReader(output, io.MultiWriter(echo, &failed)), now)
	if failure := failed.err(); failure != nil {
		return failure
	}
	if err != nil {
		return fmt.Errorf("%s: %w", kind, err)
	}
	for i, path := range paths {
		if err := generated.Rewrite(path, pages[i]); err != nil {
			return err
		}
	}
	return nil
}
