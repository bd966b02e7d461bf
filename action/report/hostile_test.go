// SPDX-License-Identifier: Apache-2.0

package report

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"
)

// foreign is a text after markdown.
const foreign = "(?:[ ,;/=()'\"0-9A-Za-z-]|&#[0-9]+;|[^\\x00-\\x7f])*"

// begun is one after markdownLine.
const begun = "(?:(?:[A-Za-z]|&#[0-9]+;|[^\\x00-\\x7f])" + foreign + ")?"

// grammar is all that a line of a summary can be, but the diagram's. What is a
// link, a heading, HTML or a cell's border stands in it, and nowhere else.
var grammar = regexp.MustCompile("^(?:" + strings.Join([]string{
	"",
	"## (?:✅|❌) " + foreign,
	"- (?:❌|⚠️) " + foreign,
	"\\|(?: --- \\|)+",
	"\\| (?:(?:<code>" + foreign + "</code>|✅ (?:before, )?<code>" + foreign + "</code>|" + foreign + ") \\| ?)+",
	"✅ passed · ❌ failed · ⚠️ failed, which the policy only logs · ➖ skipped or not evaluated",
	regexp.QuoteMeta(untilLegend),
	"And [0-9]+ artifacts? more, of which [0-9]+ failed\\.",
	"And the same for [0-9]+ artifacts? more\\.",
	"### Added to the registry",
	"<details><summary>(?:✅|❌) <code>" + foreign + "</code>(?: <code>" + foreign + "</code>)?: [a-z0-9, ]+</summary>",
	"<details><summary>[0-9]+ (?:older|more): [0-9]+ (?:valid|not valid|valid, [0-9]+ not)</summary>",
	"</details>",
	"(?:  ){0,3}- " + begun,
	"The rest does not fit; it is in the report\\.",
}, "|") + ")$")

// fill puts texts, and choices that it takes from choose, into all that a value
// is made of.
func fill(v reflect.Value, text string, choose func(n int) int) {
	switch v.Kind() {
	case reflect.String:
		texts := []string{"", "enforce", "passed", text + "@sha256:" + strings.Repeat("0", 64), text}
		v.SetString(texts[choose(len(texts))])
	case reflect.Bool:
		v.SetBool(choose(2) == 1)
	case reflect.Int64:
		v.SetInt(int64(choose(256)))
	case reflect.Pointer:
		if choose(4) > 0 {
			v.Set(reflect.New(v.Type().Elem()))
			fill(v.Elem(), text, choose)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), choose(3), 3))
		for i := range v.Len() {
			fill(v.Index(i), text, choose)
		}
	case reflect.Map:
		v.Set(reflect.ValueOf(map[string]string{text: text}))
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Unix(int64(choose(256))*1e8, 0).UTC()))
			return
		}
		for i := range v.NumField() {
			fill(v.Field(i), text, choose)
		}
	}
}

// FuzzReport puts hostile texts into every member of a report. In each rendering
// they are texts and nothing else.
func FuzzReport(f *testing.F) {
	for i, text := range append([]string{"plain", "1) list", "- ---", "    code", "      - x", "=="}, hostile...) {
		f.Add(text, []byte{}) // as much as can be
		random := rand.NewChaCha8([32]byte{byte(i)})
		for range 4 {
			choices := make([]byte, 300)
			random.Read(choices)
			f.Add(text, choices)
		}
	}
	modes := []string{"sign", "verify", "sign-and-verify", "inspect", "promote"}
	f.Fuzz(func(t *testing.T, text string, choices []byte) {
		text = text[:min(len(text), 4<<10)] // what is longer costs more than it shows
		next := 0
		choose := func(n int) int {
			if len(choices) == 0 {
				return n - 1
			}
			next++
			return int(choices[next%len(choices)]) % n
		}
		var r Report
		fill(reflect.ValueOf(&r).Elem(), text, choose)
		r.Tool, r.Mode = Tool{"tool", "1.0.0"}, modes[choose(len(modes))]
		if r.Artifacts == nil {
			r.Artifacts = []Artifact{}
		}
		checkJSON(t, &r)
		checkSummary(t, r.Summary())
		for _, style := range []Style{{}, {Colour: true}} {
			shown := style.Close(&r)
			for i := range r.Artifacts {
				title, others := style.Others(&r.Artifacts[i])
				shown = append(append(shown, style.Headline(&r.Artifacts[i]), title), append(style.Details(&r.Artifacts[i]), others...)...)
			}
			for _, text := range shown {
				checkShown(t, colours.ReplaceAllString(text, ""))
			}
		}
		annotations := r.Annotations()
		for _, a := range annotations {
			checkShown(t, line(a.Title))
			checkShown(t, line(a.Message))
		}
		if len(annotations) > 2*maxAnnotations {
			t.Errorf("%d annotations", len(annotations))
		}
	})
}

// colours are those of our own.
var colours = regexp.MustCompile("\x1b\\[(?:31|32|33|2|0)m")

// checkShown checks a line in a log or on a terminal.
func checkShown(t *testing.T, text string) {
	t.Helper()
	if i := strings.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }); i >= 0 {
		t.Errorf("%q can't be shown as it is", text)
	}
	if strings.HasPrefix(strings.TrimSpace(text), "::") || strings.Contains(text, "##[") {
		t.Errorf("%q is a command", text)
	}
}

func checkSummary(t *testing.T, summary string) {
	t.Helper()
	before, diagram, found := strings.Cut(summary, "```mermaid\n")
	var after string
	if found {
		diagram, after, found = strings.Cut(diagram, "```\n")
	}
	if found {
		checkDiagram(t, diagram)
	}
	cells := 0
	for row := range strings.Lines(before + after) {
		row = strings.TrimSuffix(row, "\n")
		if !grammar.MatchString(row) || strings.ContainsFunc(row, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%q is in the summary", row)
		}
		if n := strings.Count(row, "|"); n > 0 && cells > 0 && n != cells {
			t.Errorf("%d cells, not %d: %q", n, cells, row)
		} else if n > 0 {
			cells = n
		}
	}
	if len(summary) > maxSummary+1000 || strings.Count(summary, "<details>") != strings.Count(summary, "</details>") {
		t.Errorf("%d bytes of summary, with %d details", len(summary), strings.Count(summary, "<details>"))
	}
}

// checkJSON checks that the report comes back out of its JSON, in which no reader
// that takes it for HTML or a log finds anything.
func checkJSON(t *testing.T, r *Report) {
	t.Helper()
	var written, again bytes.Buffer
	if err := r.WriteJSON(&written); err != nil {
		t.Fatal(err)
	}
	if i := bytes.IndexFunc(written.Bytes(), func(r rune) bool { return r < ' ' && r != '\n' || strings.ContainsRune("<>&\u2028\u2029", r) }); i >= 0 {
		t.Errorf("%q is in the JSON", written.Bytes()[i:min(i+20, written.Len())])
	}
	var back, twice Report
	if err := json.Unmarshal(written.Bytes(), &back); err != nil {
		t.Fatal(err)
	}
	if err := back.WriteJSON(&again); err != nil || json.Unmarshal(again.Bytes(), &twice) != nil || !reflect.DeepEqual(back, twice) {
		t.Errorf("%+v came back as %+v, %v", back, twice, err)
	}
	if len(back.Artifacts) != len(r.Artifacts) || len(back.Errors) != len(r.Errors) || back.Succeeded != r.Succeeded {
		t.Errorf("%d artifacts, %d errors came back", len(back.Artifacts), len(back.Errors))
	}
}
