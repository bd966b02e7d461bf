// SPDX-License-Identifier: Apache-2.0

// Package generated replaces the parts of a text file that a program writes,
// and leaves those that people write as they are. A generated part stands
// between two lines, in whatever form of comment the file has:
//
//	<!-- begin generated inputs -->
//	<!-- end generated inputs -->
//
// It is for the documentation's tests and for the commands that measure.
package generated

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// Replace returns the text with other lines in a part. Each gets the indentation
// of the line before the part, and no blanks at its end. A part that is not
// there once, with its end, is an error.
func Replace(text, part string, lines []string) (string, error) {
	begins, ends := "begin generated "+part, "end generated "+part
	var out strings.Builder
	inside, found := false, 0
	for line := range strings.Lines(text) {
		if is(line, ends) {
			inside = false
		}
		if !inside {
			out.WriteString(line)
		}
		if is(line, begins) {
			inside = true
			found++
			indent := line[:len(line)-len(strings.TrimLeft(line, " "))]
			for _, l := range lines {
				out.WriteString(strings.TrimRight(indent+l, " ") + "\n")
			}
		}
	}
	if found != 1 || inside {
		return "", fmt.Errorf("it needs one line %q, and one %q after it", begins, ends)
	}
	return out.String(), nil
}

// is reports whether a line is this marker and no longer one.
func is(line, marker string) bool {
	_, rest, found := strings.Cut(line, marker)
	return found && slices.Contains([]string{"", "-->"}, strings.TrimSpace(rest))
}

// Rewrite replaces parts of the file at path, by their names. The file is
// written once, with all of them, or not at all.
func Rewrite(path string, parts map[string][]string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read page: %w", err)
	}
	text := string(content)
	for part, lines := range parts {
		if text, err = Replace(text, part, lines); err != nil {
			return fmt.Errorf("page %s: %w", path, err)
		}
	}
	if text == string(content) {
		return nil
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		return fmt.Errorf("write page: %w", err)
	}
	return nil
}
