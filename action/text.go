// SPDX-License-Identifier: Apache-2.0

package action

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// quote repeats what somebody else wrote in an error: bounded, in double
// quotes, with escapes for all that can't be printed.
func quote(s string) string { return strconv.Quote(bounded(s, 200)) }

// bounded cuts a text after so many bytes.
func bounded(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most] + "…"
}

// join lists words: a, b, c.
func join[T ~string](words []T) string {
	var b strings.Builder
	for i, word := range words {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(string(word))
	}
	return b.String()
}
