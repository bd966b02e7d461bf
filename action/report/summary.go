// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"slices"
	"strings"
)

// GitHub takes a MiB of job summary from a step, and none of what is larger.
const maxSummary = 1000 << 10

// How many artifacts a summary shows: all that failed and some that didn't.
// The rest is in the report.
const (
	maxRows    = 200
	maxDetails = 50
)

// Summary returns the job summary, in Markdown: how the run ended, a table of
// artifacts and checks, a diagram of what was added to the registries, and the
// details of each artifact.
func (r *Report) Summary() string {
	w := &summary{}
	w.line("## %s %s", emoji(r.Succeeded), markdown(r.Conclusion(), maxCell))
	w.line("")
	w.notes("❌", r.Errors)
	w.notes("⚠️", r.Warnings)
	rows := r.shown(maxRows)
	w.table(r, rows)
	w.whole(func(part *summary) { part.diagram(r) })
	for _, a := range rows[:min(len(rows), maxDetails)] {
		w.whole(func(part *summary) { part.details(a) })
	}
	if w.full {
		w.b.WriteString("\n\nThe rest does not fit; it is in the report.\n")
	}
	return w.b.String()
}

// shown returns up to n artifacts in their order, those that failed before
// others where there are too many.
func (r *Report) shown(n int) []*Artifact {
	list := make([]*Artifact, 0, min(len(r.Artifacts), n))
	room := n - min(r.Count().Failed, n) // for those that did not fail
	for i := range r.Artifacts {
		a := &r.Artifacts[i]
		if a.Succeeded {
			if room == 0 {
				continue
			}
			room--
		}
		if len(list) < n {
			list = append(list, a)
		}
	}
	return list
}

// summary is Markdown in the making. What it is given went through markdown.
type summary struct {
	b    strings.Builder
	full bool
}

// line adds a line.
func (w *summary) line(format string, args ...any) {
	w.add(fmt.Sprintf(format, args...) + "\n")
}

// add adds Markdown; from the first on that doesn't fit, none.
func (w *summary) add(text string) {
	if w.full = w.full || w.b.Len()+len(text) > maxSummary; !w.full {
		w.b.WriteString(text)
	}
}

// whole adds a part that means nothing, or harm, if it is cut.
func (w *summary) whole(write func(part *summary)) {
	part := &summary{}
	if write(part); part.full {
		w.full = true
		return
	}
	w.add(part.b.String())
}

func emoji(ok bool) string {
	if ok {
		return symbolPassed.emoji
	}
	return symbolFailed.emoji
}

func code(s string) string { return "<code>" + markdown(s, maxCell) + "</code>" }

// notes adds messages, one a line.
func (w *summary) notes(emoji string, texts []string) {
	for _, text := range texts {
		w.line("- %s %s", emoji, markdown(text, maxText))
	}
	if len(texts) > 0 {
		w.line("")
	}
}

// tableChecks are the checks that have a column.
var tableChecks = CheckNames[:5]

// table adds the table of artifacts: whether each was signed, how the checks of
// the signature that decided went, and the verdict.
func (w *summary) table(r *Report, rows []*Artifact) {
	if len(rows) == 0 {
		return
	}
	n := r.Count()
	signing := n.Signed+n.AlreadySigned > 0 || strings.HasPrefix(r.Mode, "sign")
	verifying := strings.HasSuffix(r.Mode, "verify") || r.Mode == "promote"
	header := []string{"artifact", "digest"}
	if signing {
		header = append(header, "signed")
	}
	if verifying {
		header = append(header, tableChecks...)
		header = append(header, "verified")
	}
	if signing || verifying {
		header = append(header, "until")
	}
	if !signing && !verifying {
		header = append(header, "signatures")
	}
	header = append(header, "")
	w.row(header)
	w.line("|%s", strings.Repeat(" --- |", len(header)))
	for _, a := range rows {
		w.row(a.cells(signing, verifying))
	}
	w.line("")
	if verifying {
		var legend []string
		for _, s := range symbols {
			legend = append(legend, s.emoji+" "+s.meaning)
		}
		w.line("%s", strings.Join(legend, " · "))
		w.line("")
	}
	if slices.ContainsFunc(rows, func(a *Artifact) bool { return a.untilCell() != "" }) {
		w.line("%s", untilLegend)
		w.line("")
	}
	if hidden := len(r.Artifacts) - len(rows); hidden > 0 {
		w.line("And %s more, of which %d failed.", count(hidden, "artifact"), max(n.Failed-maxRows, 0))
		w.line("")
	}
}

const untilLegend = "until: the day on which the last valid signature ends, by its own expiry or that of a certificate. No date foretells a revocation."

func (w *summary) row(cells []string) { w.line("| %s |", strings.Join(cells, " | ")) }

func (a *Artifact) cells(signing, verifying bool) []string {
	cells := []string{code(a.name()), ""}
	if a.Digest != "" {
		cells[1] = code(short(a.Digest))
	}
	if signing {
		cells = append(cells, a.signedCell())
	}
	if verifying {
		cells = append(cells, a.checkCells()...)
	}
	if signing || verifying {
		cells = append(cells, a.untilCell())
	} else {
		cells = append(cells, a.inspectionCell())
	}
	if command := a.verifyCommand(); command != "" && a.Error == "" && len(command) <= maxCommand {
		return append(cells, "<code>"+markdown(command, maxCommand)+"</code>")
	}
	return append(cells, markdown(a.Error, maxCell))
}

// maxCommand is how long a command in a cell can be; one that is longer is not cut,
// it is left out.
const maxCommand = 600

// untilCell is when the artifact stops verifying.
func (a *Artifact) untilCell() string {
	last := a.validity()
	switch {
	case last.ValidUntil != nil:
		return day(*last.ValidUntil)
	case last.ValidUntilReason != "":
		return "no date"
	default:
		return ""
	}
}

func (a *Artifact) signedCell() string {
	switch {
	case a.Signed != nil:
		return symbolPassed.emoji + " " + code(short(a.Signed.Digest))
	case a.AlreadySigned != "":
		return symbolPassed.emoji + " before, " + code(short(a.AlreadySigned))
	default:
		return symbolFailed.emoji
	}
}

func (a *Artifact) inspectionCell() string {
	switch {
	case a.Inspection == nil:
		return ""
	case a.Inspection.More:
		return fmt.Sprintf("more than %d", len(a.Inspection.Signatures))
	default:
		return fmt.Sprint(len(a.Inspection.Signatures))
	}
}

// checkCells are a cell for each of tableChecks, and the verdict.
func (a *Artifact) checkCells() []string {
	cells := make([]string, len(tableChecks), len(tableChecks)+1)
	v := a.Verification
	if v == nil {
		return append(cells, symbolNotMade.emoji)
	}
	if lead := a.leading(); lead >= 0 {
		for i, name := range tableChecks {
			if check := v.Signatures[lead].check(name); check != nil {
				cells[i] = check.symbol().emoji
			}
		}
	}
	if v.Verdict == Skipped {
		return append(cells, symbolNotMade.emoji)
	}
	return append(cells, emoji(v.Verdict == Verified))
}

// name is the reference without the digest, which has a place of its own.
func (a *Artifact) name() string {
	if a.Digest == "" {
		return a.Reference
	}
	return strings.TrimSuffix(a.Reference, "@"+a.Digest)
}

// short shortens a digest for people: sha256:0123456789ab.
func short(digest string) string {
	algorithm, hex, found := strings.Cut(digest, ":")
	if !found || len(hex) <= 12 {
		return digest
	}
	return algorithm + ":" + hex[:12]
}

// details adds all about an artifact, folded up.
func (w *summary) details(a *Artifact) {
	items := Style{}.details(a)
	if len(items) == 0 {
		return
	}
	title := code(a.name())
	if a.Digest != "" {
		title += " " + code(short(a.Digest))
	}
	w.line("<details><summary>%s %s: %s</summary>", emoji(a.Succeeded), title, a.fate())
	w.line("")
	w.items(items)
	w.line("")
	if _, words := a.others(); words != "" {
		w.line("<details><summary>%s</summary>", words)
		w.line("")
		w.items(Style{}.others(a))
		w.line("")
		w.line("</details>")
		w.line("")
	}
	w.line("</details>")
	w.line("")
}

func (w *summary) items(items []item) {
	for _, item := range items {
		w.line("%s- %s", strings.Repeat("  ", item.depth), markdownLine(item.text, maxText))
	}
}
