// SPDX-License-Identifier: Apache-2.0

// Command soak collects what the long forms of the tests and the fuzz targets
// have tried, and writes the figures into the documentation. "make soak" does
// that:
//
//	... go test -v ... | soak docs/soak.md README.md
//
// What it reads it prints, since the tests take hours. It tests nothing itself,
// and writes nothing unless each count was reported, nothing was skipped and
// nothing failed.
package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/notation-pkcs11/notation-pkcs11/testenv/generated"
)

func main() {
	os.Exit(soak())
}

func soak() int {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: soak PAGE README")
		return 2
	}
	if err := run(os.Stdin, os.Stdout, os.Args[1], os.Args[2], time.Now()); err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		return 1
	}
	return 0
}

// run reads the output of tests and rewrites the generated parts of the page and
// of the README.
func run(output io.Reader, echo io.Writer, page, readme string, now time.Time) error {
	found, err := read(io.TeeReader(output, echo))
	if err != nil {
		return fmt.Errorf("read the output of tests: %w", err)
	}
	counts, err := found.counts()
	if err != nil {
		return err
	}
	if err := generated.Rewrite(page, map[string][]string{"counts": append(measured(now), counts...), "fuzz targets": found.targets()}); err != nil {
		return err
	}
	return generated.Rewrite(readme, map[string][]string{"counts": counts})
}
