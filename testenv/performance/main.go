// SPDX-License-Identifier: Apache-2.0

// Command performance writes what benchmarks measured into a page, beside what
// is aimed at. "make performance" does that:
//
//	go test -run '^$' -bench . ./cmd/... | performance docs/performance.md
//
// What it reads it prints, since benchmarks take minutes. It measures nothing
// itself, and writes nothing unless each figure of the page was measured.
package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/notation-pkcs11/notation-pkcs11/testenv/generated"
)

func main() {
	os.Exit(performance())
}

func performance() int {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: performance PAGE")
		return 2
	}
	if err := run(os.Stdin, os.Stdout, os.Args[1], time.Now()); err != nil {
		fmt.Fprintln(os.Stderr, "performance:", err)
		return 1
	}
	return 0
}

// run reads benchmarks' output and rewrites the generated part of a page.
func run(output io.Reader, echo io.Writer, path string, now time.Time) error {
	measured, err := read(io.TeeReader(output, echo))
	if err != nil {
		return fmt.Errorf("read benchmarks: %w", err)
	}
	part, err := render(measured, now)
	if err != nil {
		return fmt.Errorf("benchmarks: %w", err)
	}
	return generated.Rewrite(path, map[string][]string{"benchmarks": part})
}
