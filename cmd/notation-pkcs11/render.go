// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"
)

// The rules of this screen: results go to stdout, remarks and errors to stderr;
// colours mark states, never carry them alone, and are for terminals only; text
// that tokens and certificates hold is escaped (see visible).

// screen is a stream that people or programs read.
type screen struct {
	io.Writer
	colours bool
}

// newScreen uses colours on a terminal, unless NO_COLOR (https://no-color.org)
// or a terminal that has none forbids it.
func newScreen(w io.Writer) screen {
	f, isFile := w.(interface{ Fd() uintptr })
	colours := isFile && term.IsTerminal(int(f.Fd())) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	return screen{w, colours}
}

// colour is a parameter of the escape sequence "select graphic rendition" of
// ECMA-48. All have two digits, so that a column of coloured cells keeps its
// alignment.
type colour int

const (
	plain  colour = 39
	red    colour = 31
	green  colour = 32
	yellow colour = 33
)

func (s screen) paint(c colour, text string) string {
	if !s.colours {
		return text
	}
	return fmt.Sprintf("\x1b[%dm%s\x1b[0m", c, text)
}

// error prints what failed, and what to do.
func (s screen) error(what, hint string) {
	fmt.Fprintf(s, "%s %s\n", s.paint(red, "error:"), what)
	if hint != "" {
		fmt.Fprintf(s, "%s %s\n", s.paint(yellow, "hint:"), hint)
	}
}

// note prints a remark.
func (s screen) note(format string, args ...any) {
	fmt.Fprintf(s, "%s %s\n", s.paint(yellow, "note:"), fmt.Sprintf(format, args...))
}

// table prints rows in aligned columns, the first row being their heads. Cells
// of all but the last column must have no colour, or all the same number.
func (s screen) table(rows [][]string) error {
	w := tabwriter.NewWriter(s, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(w, strings.TrimRight(strings.Join(row, "\t"), "\t"))
	}
	return w.Flush()
}

// json prints a result for programs.
func (s screen) json(result any) error {
	encoder := json.NewEncoder(s)
	encoder.SetEscapeHTML(false) // URIs have ampersands
	encoder.SetIndent("", "  ")
	return encoder.Encode(result)
}

// visible shows a foreign text: as it is where all of it can be seen, else in
// double quotes with escapes, so that it can't steer the terminal. Nothing is
// shown as a dash.
func visible(s string) string {
	hidden := func(r rune) bool { return !unicode.IsPrint(r) }
	switch {
	case s == "":
		return "-"
	case !utf8.ValidString(s), strings.ContainsFunc(s, hidden), s != strings.TrimSpace(s), s == "-":
		return strconv.Quote(s)
	}
	return s
}

// shellQuote writes arguments as a line for a POSIX shell.
func shellQuote(arguments ...string) string {
	quoted := make([]string, len(arguments))
	for i, a := range arguments {
		harmless := func(r rune) bool {
			return r < 0x80 && (unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("-_./:=@%+,", r))
		}
		if quoted[i] = a; a == "" || strings.ContainsFunc(a, func(r rune) bool { return !harmless(r) }) {
			quoted[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
	}
	return strings.Join(quoted, " ")
}

// plural counts things.
func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}
