// SPDX-License-Identifier: Apache-2.0

package leak

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"html"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
)

// Secret is something to be found.
type Secret struct {
	Name  string // as findings call it
	Value string
}

// Hit is a secret that was found.
type Hit struct {
	Secret string // its name
	Form   string // how it was written
}

// Finder finds secrets, as they are and encoded.
type Finder struct {
	needles []needle
}

type needle struct {
	Hit
	text []byte
}

// forms are the ways in which programs write a text.
var forms = []struct {
	name   string
	encode func(string) []string
}{
	{"as it is", one(func(s string) string { return s })},
	{"hex", func(s string) []string {
		lower := hex.EncodeToString([]byte(s))
		return []string{lower, strings.ToUpper(lower)}
	}},
	{"base64", func(s string) []string {
		return slices.Concat(inBase64(base64.StdEncoding, s), inBase64(base64.URLEncoding, s))
	}},
	{"JSON", func(s string) []string {
		var plain strings.Builder
		encoder := json.NewEncoder(&plain)
		encoder.SetEscapeHTML(false)
		// Neither fails for a string.
		_ = encoder.Encode(s)
		escaped, _ := json.Marshal(s)
		return []string{strings.Trim(plain.String(), "\"\n"), strings.Trim(string(escaped), `"`)}
	}},
	{"URL", func(s string) []string { return []string{url.QueryEscape(s), url.PathEscape(s)} }},
	{"Go", func(s string) []string {
		return []string{strings.Trim(strconv.Quote(s), `"`), strings.Trim(strconv.QuoteToASCII(s), `"`)}
	}},
	{"HTML", one(html.EscapeString)},
	{"a workflow command", one(strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A").Replace)},
	{"UTF-16", func(s string) []string {
		var text []byte
		for _, unit := range utf16.Encode([]rune(s)) {
			text = append(text, byte(unit), byte(unit>>8))
		}
		return []string{string(text)}
	}},
}

func one(encode func(string) string) func(string) []string {
	return func(s string) []string { return []string{encode(s)} }
}

// inBase64 is what of an encoded text is the same whatever stands before and
// behind s: user:password, for example.
func inBase64(encoding *base64.Encoding, s string) []string {
	var found []string
	for before := range 3 {
		text := encoding.EncodeToString([]byte(strings.Repeat("\x00", before) + s))
		start := (before*8 + 5) / 6      // the first digit that is of s alone
		end := (before + len(s)) * 8 / 6 // the last one
		found = append(found, text[start:end])
	}
	return found
}

// NewFinder makes a finder of secrets.
func NewFinder(secrets ...Secret) *Finder {
	f := &Finder{}
	for _, secret := range secrets {
		for _, form := range forms {
			for _, text := range form.encode(secret.Value) {
				known := slices.ContainsFunc(f.needles, func(n needle) bool { return string(n.text) == text })
				if !known {
					f.needles = append(f.needles, needle{Hit{secret.Name, form.name}, []byte(text)})
				}
			}
		}
	}
	return f
}

// Find returns what is in the data, each way of writing once.
func (f *Finder) Find(data []byte) []Hit {
	var hits []Hit
	for _, n := range f.needles {
		if bytes.Contains(data, n.text) && !slices.Contains(hits, n.Hit) {
			hits = append(hits, n.Hit)
		}
	}
	return hits
}

// longest is the length of the longest needle.
func (f *Finder) longest() int {
	most := 0
	for _, n := range f.needles {
		most = max(most, len(n.text))
	}
	return most
}
