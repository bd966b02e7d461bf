// SPDX-License-Identifier: Apache-2.0

package report

import (
	"html"
	"strings"
	"testing"
	"unicode"
)

// hostile are texts that a certificate's subject, an annotation or a registry's
// error can have.
var hostile = []string{
	"a\nb\r\nc",
	"::add-mask::secret",
	"  ::set-output name=verified::true",
	"##[error]x",
	"`code` | cell | <script>alert(1)</script> [x](http://evil.example) ![i](//evil.example)",
	"\x1b[2J\x1b]8;;http://evil.example\x07x",
	"\u202egnp.exe \u2066\u200b\u00ad\ufeff",
	"# heading\n- list\n1. list\n> quote\n---\n```\nfence",
	"&lt;b&gt; &#60;b&#62; &amp;",
	"https://evil.example www.evil.example me@evil.example @mention #1 :smile: GH-1",
	"\"]:::x click a0 href \"http://evil.example\" --> b;",
	"\xff\xfe\x00\x7f",
	"_GitHubActionsFileCommandDelimeter_",
	"a\u3164b\u115fc\u1160d\uffa0e\u2800f\u034fg\ufe0fh\U000e0100i\u180bj\u180fk\u17b4l\U0001d159m\U000e01efn",
	strings.Repeat("ä", 100_000),
}

func TestTerminalShowsNothingThatActs(t *testing.T) {
	for _, text := range hostile {
		shown := line("  " + Terminal(text))
		for _, r := range shown {
			if !unicode.IsPrint(r) {
				t.Errorf("%.40q has %q in it", shown, r)
			}
		}
		if strings.HasPrefix(strings.TrimSpace(shown), "::") || strings.Contains(shown, "##[") {
			t.Errorf("%.40q is a command", shown)
		}
		if len(shown) > 3*maxText {
			t.Errorf("%d bytes", len(shown))
		}
	}
}

// Whatever the text, it comes out of a Markdown renderer as itself.
func TestMarkdownIsText(t *testing.T) {
	for _, text := range hostile {
		written := markdown(text, maxCell)
		if strings.ContainsAny(written, "<>[]`|*_~\\!:@.\n\r\x1b") {
			t.Errorf("%q has structure in it", written)
		}
		if got, want := html.UnescapeString(written), visible(text, maxCell); got != want {
			t.Errorf("%q reads %q, not %q", text, got, want)
		}
	}
}

func TestMermaidIsText(t *testing.T) {
	for _, text := range hostile {
		written := mermaid(text, maxCell)
		if strings.ContainsAny(written, "<>[]{}()`|\"'&:\n\\") {
			t.Errorf("%q has structure in it", written)
		}
		plain := html.UnescapeString(strings.ReplaceAll(written, "#", "&#"))
		if want := visible(text, maxCell); plain != want {
			t.Errorf("%q reads %q, not %q", text, plain, want)
		}
	}
}

// Two texts that differ look different: no character shows nothing. Unicode's own
// list of those that may is Default_Ignorable_Code_Point in DerivedCoreProperties.txt.
func TestWhatCannotBeSeenIsShown(t *testing.T) {
	ignorable := &unicode.RangeTable{
		R16: []unicode.Range16{
			{0x00ad, 0x00ad, 1}, {0x034f, 0x034f, 1}, {0x061c, 0x061c, 1}, {0x115f, 0x1160, 1}, {0x17b4, 0x17b5, 1}, {0x180b, 0x180f, 1}, {0x200b, 0x200f, 1},
			{0x202a, 0x202e, 1}, {0x2060, 0x206f, 1}, {0x2800, 0x2800, 1}, {0x3164, 0x3164, 1}, {0xfe00, 0xfe0f, 1}, {0xfeff, 0xfeff, 1}, {0xffa0, 0xffa0, 1}, {0xfff0, 0xfff8, 1},
		},
		R32: []unicode.Range32{{0x1bca0, 0x1bca3, 1}, {0x1d173, 0x1d17a, 1}, {0xe0000, 0xe0fff, 1}},
	}
	seen := map[string]rune{}
	for r := rune(0x80); r <= unicode.MaxRune; r++ {
		if !unicode.Is(ignorable, r) {
			continue
		}
		shown := Terminal(string(r))
		if !strings.HasPrefix(shown, `\`) || strings.ContainsFunc(shown, func(r rune) bool { return r > unicode.MaxASCII }) {
			t.Errorf("%U is shown as %q", r, shown)
		}
		if other, taken := seen[shown]; taken {
			t.Errorf("%U and %U are both shown as %q", r, other, shown)
		}
		seen[shown] = r
	}
}

func TestPlainTextStaysPlain(t *testing.T) {
	const text = "CN=release, O=Straße 7/8 (Berlin), 東京,서울, Ελλάδα"
	for name, got := range map[string]string{"terminal": Terminal(text), "markdown": markdown(text, maxCell)} {
		if got != text {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func FuzzEscapers(f *testing.F) {
	for _, text := range hostile {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		want := visible(text, maxCell)
		for _, r := range want {
			if !unicode.IsPrint(r) {
				t.Errorf("%q is shown with %q", text, r)
			}
		}
		if got := html.UnescapeString(markdown(text, maxCell)); got != want {
			t.Errorf("Markdown: %q reads %q, not %q", text, got, want)
		}
		if got := html.UnescapeString(strings.ReplaceAll(mermaid(text, maxCell), "#", "&#")); got != want {
			t.Errorf("Mermaid: %q reads %q, not %q", text, got, want)
		}
	})
}
