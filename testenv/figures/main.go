// SPDX-License-Identifier: Apache-2.0

// Command figures reads what tests and benchmarks print, and writes the figures
// into the generated parts of pages. It is a filter: what it reads it prints,
// since tests take hours. "make performance" and "make soak" run it:
//
//	go test -bench . ./cmd/... | figures benchmarks docs/performance.md
//	go test -v ./...           | figures tallies docs/soak.md
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

// kinds are the kinds of figures, by name. Each reads tests' output to its end and
// returns the parts of its page.
var kinds = map[string]func(output io.Reader, now time.Time) (parts, error){
	"benchmarks": readBenchmarks,
	"tallies":    readTallies,
}

func main() {
	os.Exit(figures())
}

func figures() int {
	if len(os.Args) != 3 || kinds[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: figures benchmarks PAGE\n       figures tallies PAGE")
		return 2
	}
	if err := run(os.Args[1], os.Stdin, os.Stdout, os.Args[2], time.Now()); err != nil {
		fmt.Fprintln(os.Stderr, "figures:", err)
		return 1
	}
	return 0
}

// run reads tests' output, and writes figures of a kind into a page.
func run(kind string, output io.Reader, echo io.Writer, path string, now time.Time) error {
	var failed failures
	page, err := kinds[kind](io.TeeReader(output, io.MultiWriter(echo, &failed)), now)
	if failure := failed.err(); failure != nil {
		return failure
	}
	if err != nil {
		return fmt.Errorf("%s: %w", kind, err)
	}
	return generated.Rewrite(path, page)
}
