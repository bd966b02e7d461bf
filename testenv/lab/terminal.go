// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"
)

// Headings are bold, commands stand behind a "$" as their user types them, what
// a program printed stands as it came. Lines end before width.
const width = 96

// terminal is the one place that prints.
type terminal struct {
	w      io.Writer
	colour bool
}

// newTerminal prints in colour where w is a terminal and NO_COLOR
// (https://no-color.org) is not set.
func newTerminal(w io.Writer, getenv func(string) string) *terminal {
	file, ok := w.(*os.File)
	return &terminal{w, ok && term.IsTerminal(int(file.Fd())) && getenv("NO_COLOR") == "" && getenv("TERM") != "dumb"}
}

// SGR parameters of ECMA-48.
const (
	bold  = "1"
	dim   = "2"
	green = "32"
	cyan  = "36"
)

func (t *terminal) style(sgr, text string) string {
	if !t.colour {
		return text
	}
	return "\x1b[" + sgr + "m" + text + "\x1b[0m"
}

// heading starts a section.
func (t *terminal) heading(text string) {
	fmt.Fprintf(t.w, "\n%s\n%s\n", t.style(bold, text), t.style(dim, strings.Repeat("─", utf8.RuneCountInString(text))))
}

// subheading starts a part of a section.
func (t *terminal) subheading(text string) {
	fmt.Fprintf(t.w, "\n%s\n", t.style(bold+";"+cyan, text))
}

func (t *terminal) text(text string) {
	fmt.Fprintln(t.w, text)
}

// row prints a name and what belongs to it.
func (t *terminal) row(name, text string) {
	fmt.Fprintf(t.w, "  %-12s %s\n", name, text)
}

// good says what has been checked.
func (t *terminal) good(text string) {
	fmt.Fprintf(t.w, "\n%s %s\n", t.style(green, "✓"), text)
}

// command prints a command line, broken before an argument where it is long. A
// flag and its value stay together.
func (t *terminal) command(args ...string) {
	var lines []string
	line := ""
	for i := 0; i < len(args); i++ {
		word := quote(args[i])
		if isFlag(args[i]) && i+1 < len(args) {
			i++
			word += " " + quote(args[i])
		}
		if len(line)+len(word)+len("$  \\") > width {
			lines = append(lines, line+" \\")
			line = "   "
		}
		line += " " + word
	}
	lines = append(lines, line)
	fmt.Fprintf(t.w, "\n%s%s\n", t.style(green, "$"), t.style(bold, strings.Join(lines, "\n")))
}

// isFlag tells whether the next argument is the value of this one. Flags that
// are switches are written with "=", or stand before what they belong with.
func isFlag(arg string) bool {
	return strings.HasPrefix(arg, "-") && !strings.Contains(arg, "=")
}

// quote writes an argument for a shell.
func quote(arg string) string {
	if strings.IndexFunc(arg, func(r rune) bool {
		return !strings.ContainsRune("-_./:=@,+%", r) && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	}) < 0 && arg != "" {
		return arg
	}
	return "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
}

// output prints what a program printed.
func (t *terminal) output(text string) {
	if text = strings.TrimRight(text, "\n"); text != "" {
		fmt.Fprintln(t.w, text)
	}
}

// json prints a document, indented, its long lines cut.
func (t *terminal) json(document []byte) error {
	var indented bytes.Buffer
	if err := json.Indent(&indented, document, "  ", "  "); err != nil {
		return err
	}
	for line := range strings.Lines("  " + indented.String()) {
		fmt.Fprintln(t.w, t.style(dim, cut(strings.TrimRight(line, "\n"))))
	}
	return nil
}

func cut(line string) string {
	runes := []rune(line)
	if len(runes) <= width {
		return line
	}
	return string(runes[:width-1]) + "…"
}
