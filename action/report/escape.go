// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// What follows are the escapers, one for each place that a foreign text is shown
// in. All bound the text, and show what can't be seen (line breaks, control and
// format characters, bidirectional ones too, letters without a glyph) as an escape
// instead of doing it.

// How long a text is shown, in characters.
const (
	maxCell = 200
	maxText = 2000
)

// markdown is for Markdown outside of code. A character reference never begins
// a structure of CommonMark (section 2.5), so all that might is written as one.
// So are the dots, colons and at signs that GitHub would make links, emojis and
// mentions of. What is plain here can only begin a structure at the start of a
// line: a text that may stand there goes through markdownLine.
func markdown(s string, limit int) string {
	return encode(s, limit, " ,;/=-()'\"", "&#%d;")
}

// markdownLine is markdown for a text with which a line, or an item of a list,
// begins. Only a letter is plain there: a number could be that of a list.
func markdownLine(s string, limit int) string {
	text := strings.TrimLeft(markdown(s, limit), " ")
	if c := text[:min(1, len(text))]; c != "" && c[0] < utf8.RuneSelf && !unicode.IsLetter(rune(c[0])) && c != "&" {
		return fmt.Sprintf("&#%d;%s", c[0], text[1:])
	}
	return text
}

// mermaid is for a quoted label of a Mermaid diagram, which has references of
// its own.
func mermaid(s string, limit int) string {
	return encode(s, limit, " ,/=.-", "#%d;")
}

// encode writes all characters but letters, digits and the plain ones in a
// format of their code point.
func encode(s string, limit int, plain, format string) string {
	var b strings.Builder
	for _, r := range visible(s, limit) {
		if r < utf8.RuneSelf && !asciiAlphanumeric(r) && !strings.ContainsRune(plain, r) {
			fmt.Fprintf(&b, format, r)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

func asciiAlphanumeric(r rune) bool {
	return '0' <= r && r <= '9' || 'A' <= r && r <= 'Z' || 'a' <= r && r <= 'z'
}

// Terminal is for a part of a line on a terminal or in a runner's log. A runner
// takes ##[…] for a command wherever it stands in a line.
func Terminal(s string) string {
	return strings.ReplaceAll(visible(s, maxText), "##[", `#\x23[`)
}

// line is for a whole line in a runner's log, made of such parts: the runner
// takes it for a command if :: is the first thing in it.
func line(s string) string {
	if strings.HasPrefix(strings.TrimSpace(s), "::") {
		return "| " + s
	}
	return s
}

// visible bounds a text and shows what can't be seen.
func visible(s string, limit int) string {
	var b strings.Builder
	n := 0
	for i, r := range s {
		if n == limit {
			b.WriteString("…")
			break
		}
		n++
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], "\uFFFD"):
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case unicode.IsPrint(r) && !blank(r):
			b.WriteRune(r)
		case r < utf8.RuneSelf:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r > 0xffff:
			fmt.Fprintf(&b, `\U%08x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// blank says whether a letter, mark or symbol shows nothing where it stands: those
// that Unicode has renderers ignore (Default_Ignorable_Code_Point, of which the rest
// are format characters), and those whose glyph is empty. Two texts that differ in
// them alone look the same.
func blank(r rune) bool {
	switch r {
	case '\u2800', // a Braille pattern without dots
		'\U00016fe4', // a filler of Khitan
		'\U0001d159': // a note without a head
		return true
	}
	return unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

// How long a text of somebody else is in an error, in bytes.
const (
	maxQuoted  = 200
	maxMessage = 8 << 10 // a registry can answer with megabytes
)

// Quote repeats what somebody else wrote in an error: bounded, in double quotes,
// with escapes for all that can't be printed.
func Quote(s string) string { return strconv.Quote(Bounded(s, maxQuoted)) }

// Message is the text of an error as reports have it: bounded, and empty if there
// is no error.
func Message(err error) string {
	if err == nil {
		return ""
	}
	return Bounded(err.Error(), maxMessage)
}

// Bounded cuts a text after so many bytes.
func Bounded(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit] + "…"
}
