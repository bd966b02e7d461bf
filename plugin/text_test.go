// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestQuoteBoundsAndEscapes(t *testing.T) {
	for text, want := range map[string]string{
		"plain":                        `"plain"`,
		`a "b"`:                        `"a \"b\""`,
		"\x1b[2J\n\xff":                `"\x1b[2J\n\xff"`,
		"\u202eevil":                   `"\u202eevil"`,
		strings.Repeat("é", 100):       `"` + strings.Repeat("é", 60) + `…"`,
		"x" + strings.Repeat("é", 100): `"x` + strings.Repeat("é", 59) + `…"`,
	} {
		if got := quote(text); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestPrintableBoundsAndEscapes(t *testing.T) {
	if got, want := printable("Zürich\n\x1b[0m\u2066"), `Zürich\x0a\x1b[0m\u2066`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := printable(strings.Repeat("é", 1<<20)); len(got) > 9<<10 || !utf8.ValidString(got) {
		t.Errorf("got %d bytes", len(got))
	}
}
