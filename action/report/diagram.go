// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"strings"
)

// How many artifacts the diagram shows; more can't be read, and Mermaid has
// bounds of its own.
const maxDiagram = 12

// diagram adds a diagram of the objects that were added to the registries, and
// of what they point to.
func (w *summary) diagram(r *Report) {
	signed := r.signed()
	if len(signed) == 0 {
		return
	}
	w.line("### Added to the registry")
	w.line("")
	w.line("```mermaid")
	w.line("flowchart LR")
	for i, a := range signed[:min(len(signed), maxDiagram)] {
		s := a.Signed
		w.line("  a%d[\"%s<br/>%s\"]", i, mermaid(a.name(), 80), mermaid(short(a.Digest), 80))
		w.line("  s%d([\"signature manifest<br/>%s\"])", i, mermaid(short(s.Digest), 80))
		w.line("  e%d[/\"envelope, %s<br/>%s\"/]", i, mermaid(s.Format, 80), mermaid(short(s.Envelope), 80))
		w.line("  s%d -- subject --> a%d", i, i)
		w.line("  s%d -- layer --> e%d", i, i)
		if s.IndexTag != "" {
			w.line("  i%d[(\"index %s\")] -- lists --> s%d", i, mermaid(shortTag(s.IndexTag), 80), i)
		}
	}
	w.line("  classDef added stroke-width:3px")
	w.line("  class %s added", added(min(len(signed), maxDiagram)))
	w.line("```")
	w.line("")
	if hidden := len(signed) - maxDiagram; hidden > 0 {
		w.line("And the same for %s more.", count(hidden, "artifact"))
		w.line("")
	}
}

// shortTag shortens the tag of an index, which is a digest with a dash.
func shortTag(tag string) string {
	return strings.Replace(short(strings.Replace(tag, "-", ":", 1)), ":", "-", 1)
}

func (r *Report) signed() []*Artifact {
	var list []*Artifact
	for i := range r.Artifacts {
		if a := &r.Artifacts[i]; a.Signed != nil {
			list = append(list, a)
		}
	}
	return list
}

// added lists the nodes that are new.
func added(n int) string {
	list := ""
	for i := range n {
		if i > 0 {
			list += ","
		}
		list += fmt.Sprintf("s%d,e%d", i, i)
	}
	return list
}
