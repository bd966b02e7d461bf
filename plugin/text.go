// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Errors repeat what tokens, certificates and users wrote, and end up on
// terminals and in logs of pipelines. These functions make that harmless.

// quote repeats a foreign text in an error: bounded, in double quotes, with
// escapes for all that can't be printed.
func quote(s string) string { return strconv.Quote(cut(s, 120)) }

// shellWord writes a text as one word of a command, for users to paste.
func shellWord(s string) string {
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("-_./:=@%+,", r)
	}) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// cut bounds a text in bytes.
func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most] + "…"
}

// printable bounds a whole message, and escapes what could steer a terminal,
// hide text or begin a line (control and format characters, bidirectional ones
// too).
func printable(message string) string {
	const most = 8 << 10
	var b strings.Builder
	for _, r := range message {
		switch {
		case b.Len() >= most:
			b.WriteString("…")
			return b.String()
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r < 0x80:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}
