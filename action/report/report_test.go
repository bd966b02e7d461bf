// SPDX-License-Identifier: Apache-2.0

package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// artifacts returns n artifacts of which every tenth failed, with texts that
// are as long as they get.
func artifacts(n int) []Artifact {
	long := strings.Repeat("wörds & more ", 500)
	var list []Artifact
	for i := range n {
		a := Artifact{
			Reference: fmt.Sprintf("registry.example/app/%d@sha256:%064d", i, i), Digest: fmt.Sprintf("sha256:%064d", i), Succeeded: i%10 != 9,
			Warnings: []string{long},
			Signed:   &Signed{Digest: fmt.Sprintf("sha256:%064d", n+i), IndexTag: fmt.Sprintf("sha256-%064d", i)},
			Verification: &Verification{Verdict: Verified, Signatures: []Signature{
				{Checks: []Check{{Name: "integrity", Result: CheckFailed, Action: "enforce", Reason: long}}},
				{Valid: true, Claims: Claims{UserMetadata: map[string]string{long: long}}, Checks: []Check{{Name: "integrity", Result: CheckPassed, Action: "enforce"}}},
			}},
		}
		for range 20 {
			a.Verification.Signatures = append(a.Verification.Signatures, a.Verification.Signatures[0])
		}
		if !a.Succeeded {
			a.Error, a.Verification.Verdict = long, Failed
		}
		list = append(list, a)
	}
	return list
}

// The artifacts are written one by one; what comes out is the whole.
func TestJSONIsWhole(t *testing.T) {
	for _, n := range []int{0, 1, 25} {
		r := &Report{FormatVersion: FormatVersion, Warnings: []string{"\"artifacts\": []\n}"}, Artifacts: artifacts(n)}
		var streamed bytes.Buffer
		if err := r.WriteJSON(&streamed); err != nil {
			t.Fatal(err)
		}
		atOnce, err := json.MarshalIndent(r, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			atOnce = bytes.Replace(atOnce, []byte("null"), []byte("[]"), 1)
		}
		if streamed.String() != string(atOnce)+"\n" {
			t.Errorf("%d artifacts: %d bytes, not %d", n, streamed.Len(), len(atOnce)+1)
		}
	}
}

// GitHub drops a summary that is too long, and Mermaid a diagram that is.
func TestSummaryIsBounded(t *testing.T) {
	for _, n := range []int{0, 1, 100, 5000} {
		r := &Report{Mode: "sign-and-verify", Artifacts: artifacts(n)}
		summary := r.Summary()
		if len(summary) > 1<<20 {
			t.Errorf("%d artifacts: %d bytes", n, len(summary))
		}
		if cut := strings.HasSuffix(summary, "it is in the report.\n"); cut != (n >= 100) {
			t.Errorf("%d artifacts: cut is %v", n, cut)
		}
		if _, diagram, found := strings.Cut(summary, "```mermaid"); found {
			diagram, _, closed := strings.Cut(diagram, "```")
			if edges := strings.Count(diagram, "--"); !closed || edges > 2*500 || len(diagram) > 50_000 {
				t.Errorf("%d artifacts: a diagram of %d bytes", n, len(diagram))
			}
		}
		if strings.Count(summary, "<details>") != strings.Count(summary, "</details>") {
			t.Errorf("%d artifacts: details are left open", n)
		}
	}
}

// Where not all artifacts fit, those that failed are shown.
func TestFailuresAreShownFirst(t *testing.T) {
	r := &Report{Artifacts: artifacts(3000)} // of which 300 failed
	shown := r.shown(maxRows)
	if len(shown) != maxRows {
		t.Fatalf("%d rows", len(shown))
	}
	for _, a := range shown {
		if a.Succeeded {
			t.Fatalf("%s succeeded, and others failed", a.Reference)
		}
	}
	r = &Report{Artifacts: artifacts(1000)}
	failed := 0
	for i, a := range r.shown(maxRows) {
		failed += one(!a.Succeeded)
		if i > 0 && a.Reference == r.shown(maxRows)[i-1].Reference {
			t.Fatal("twice")
		}
	}
	if failed != 100 {
		t.Errorf("%d of 100 failures are shown", failed)
	}
}

// Each row of the table has as many cells as its header, whatever is in them.
func TestTableHoldsItsShape(t *testing.T) {
	for _, mode := range []string{"sign", "verify", "sign-and-verify", "inspect"} {
		r := &Report{Mode: mode}
		for _, text := range hostile {
			r.Artifacts = append(r.Artifacts,
				Artifact{Reference: text, Error: text},
				Artifact{Reference: text, Digest: text, Signed: &Signed{Digest: text, IndexTag: text, Format: text, Envelope: text}, Warnings: []string{text}, Succeeded: true},
				Artifact{Reference: text, Verification: &Verification{Verdict: Failed, Signatures: []Signature{{Error: text, Checks: []Check{{Name: text, Reason: text}}}}}},
				Artifact{Reference: text, Inspection: &Inspection{Signatures: []Signature{{Error: text}}, More: true}},
			)
		}
		cells := -1
		for row := range strings.Lines(r.Summary()) {
			if !strings.HasPrefix(row, "|") {
				continue
			}
			if n := strings.Count(row, "|"); cells == -1 {
				cells = n
			} else if n != cells {
				t.Errorf("%s: %d cells, not %d: %s", mode, n, cells, row)
			}
		}
		if cells == -1 {
			t.Errorf("%s: no table", mode)
		}
	}
}

// In the diagram, foreign text is inside of labels.
func TestDiagramHoldsItsShape(t *testing.T) {
	r := &Report{Mode: "sign"}
	for _, text := range hostile[:maxDiagram] {
		r.Artifacts = append(r.Artifacts, Artifact{Reference: text, Digest: text, Succeeded: true, Signed: &Signed{Digest: text, IndexTag: text, Format: text, Envelope: text}})
	}
	_, diagram, _ := strings.Cut(r.Summary(), "```mermaid\n")
	diagram, _, _ = strings.Cut(diagram, "```")
	checkDiagram(t, diagram)
}

var (
	label     = regexp.MustCompile(`"[^"]*"`)
	statement = regexp.MustCompile(`^(flowchart LR|  [ase]\d+[[(/]+""[\])/]+|  [se]\d+ -- (subject|layer) --> [ae]\d+|  i\d+\[\(""\)\] -- lists --> s\d+|  classDef .*|  class [se\d,]+ added)$`)
)

func checkDiagram(t *testing.T, diagram string) {
	t.Helper()
	for row := range strings.Lines(diagram) {
		if row = label.ReplaceAllString(strings.TrimRight(row, "\n"), `""`); !statement.MatchString(row) {
			t.Errorf("%q", row)
		}
	}
}

// Of too many annotations, the last says how many there are.
func TestAnnotationsAreBounded(t *testing.T) {
	r := &Report{Tool: Tool{Name: "tool"}, Errors: []string{"whole run"}, Artifacts: artifacts(1000)}
	errors, warnings := 0, 0
	for _, a := range r.Annotations() {
		errors += one(a.Error)
		warnings += one(!a.Error)
	}
	if errors != 10 || warnings != 10 {
		t.Errorf("%d errors, %d warnings", errors, warnings)
	}
	list := r.Annotations()
	if list[0].Message != "whole run" || !strings.HasPrefix(list[9].Message, "92 more errors") || !strings.HasPrefix(list[19].Message, "991 more warnings") {
		t.Errorf("%q, %q, %q", list[0].Message, list[9].Message, list[19].Message)
	}
}

// A signature decides if it is valid, or else got furthest.
func TestDecisiveSignature(t *testing.T) {
	passed, failed := Check{Result: CheckPassed}, Check{Result: CheckFailed, Action: "enforce"}
	v := &Verification{Signatures: []Signature{
		{Digest: "none", Checks: []Check{failed, failed}},
		{Digest: "some", Checks: []Check{passed, failed}},
	}}
	if got := v.decisive(); got != 1 {
		t.Errorf("decisive is %d", got)
	}
	v.Signatures = append(v.Signatures, Signature{Digest: "valid", Valid: true})
	if got := v.decisive(); got != 2 {
		t.Errorf("decisive is %d", got)
	}
	if got := (&Verification{}).decisive(); got != -1 {
		t.Errorf("decisive of no signatures is %d", got)
	}
}
