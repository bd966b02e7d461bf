// SPDX-License-Identifier: Apache-2.0

package report

import "fmt"

// Annotation is a message that GitHub shows with the job.
type Annotation struct {
	Error   bool // else a warning
	Title   string
	Message string
}

// GitHub shows ten errors and ten warnings of a step.
const maxAnnotations = 10

// Annotations returns the errors and warnings of the run, those of the run as a
// whole first. Of too many, the last says how many more there are.
func (r *Report) Annotations() []Annotation {
	return append(bound(r.errors(), "errors"), bound(r.warnings(), "warnings")...)
}

func (r *Report) errors() []Annotation {
	var list []Annotation
	for _, text := range r.Errors {
		list = append(list, Annotation{true, r.Tool.Name, Terminal(text)})
	}
	for i := range r.Artifacts {
		if a := &r.Artifacts[i]; !a.Succeeded {
			list = append(list, Annotation{true, Terminal(a.Reference), Terminal(a.Error)})
		}
	}
	return list
}

func (r *Report) warnings() []Annotation {
	var list []Annotation
	for _, text := range r.Warnings {
		list = append(list, Annotation{false, r.Tool.Name, Terminal(text)})
	}
	for i := range r.Artifacts {
		a := &r.Artifacts[i]
		for _, text := range a.Warnings {
			list = append(list, Annotation{false, Terminal(a.Reference), Terminal(text)})
		}
	}
	return list
}

func bound(list []Annotation, what string) []Annotation {
	if len(list) <= maxAnnotations {
		return list
	}
	more := list[maxAnnotations-1]
	more.Title = ""
	more.Message = fmt.Sprintf("%d more %s are in the log, in the job summary and in the report", len(list)-maxAnnotations+1, what)
	return append(list[:maxAnnotations-1:maxAnnotations-1], more)
}
