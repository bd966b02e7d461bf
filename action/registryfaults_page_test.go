// SPDX-License-Identifier: Apache-2.0

package action

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/notation-pkcs11/notation-pkcs11/testenv/registryfaults"
)

// faultPageFile is the page that shows how each fault ends.
const faultPageFile = "docs/registry-faults.md"

// outcome is how a fault ends, and what the page shows.
type outcome string

const (
	endsWell    outcome = "✓"
	endsFailing outcome = "✗"
	isNamed     outcome = "–" // in the section "Not covered"
)

// faultCell is a place in the tables of the page.
type faultCell struct {
	mode        mode
	fault, step string
}

// faultPage is the page as it was, with what this run has found in its place.
type faultPage struct {
	mu    sync.Mutex
	was   string
	cells map[faultCell]*[2]outcome // once, and for ever
	found map[faultCell]*[2]outcome // by this run
}

// readFaultPage reads the page that is there.
func readFaultPage(t *testing.T) *faultPage {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("..", faultPageFile))
	if err != nil && !*update {
		t.Fatal(err)
	}
	p := &faultPage{was: string(content), cells: map[faultCell]*[2]outcome{}, found: map[faultCell]*[2]outcome{}}
	for _, m := range []mode{modeSign, modeVerify} {
		_, table, _ := strings.Cut(p.was, faultHeading(m))
		table, _, _ = strings.Cut(table, "\n## ")
		for line := range strings.Lines(table) {
			row := strings.Split(strings.Trim(line, "| \n"), " | ")
			for i, s := range stepsOf(m) {
				if i+1 >= len(row) {
					break
				}
				if marks := strings.Fields(row[i+1]); len(marks) > 0 {
					p.cells[faultCell{m, row[0], s.name}] = &[2]outcome{outcome(marks[0]), outcome(marks[len(marks)-1])}
				}
			}
		}
	}
	return p
}

// note notes how a case ended. That is the same on all kinds of registries.
func (p *faultPage) note(t *testing.T, c faultCase, well bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at, often, end := faultCell{c.step.mode, c.fault.Name, c.step.name}, 0, endsFailing
	if c.times == 0 {
		often = 1
	}
	if well {
		end = endsWell
	}
	if p.cells[at] == nil {
		p.cells[at] = &[2]outcome{end, end}
	}
	if p.found[at] == nil {
		p.found[at] = &[2]outcome{}
	}
	if other := p.found[at][often]; other != "" && other != end {
		t.Errorf("%s ends with %s, and with %s on another kind of registry", c, end, other)
	}
	if c.isNamed() {
		p.cells[at][1] = isNamed
	}
	p.cells[at][often], p.found[at][often] = end, end
}

// compare compares the page with what it should be, or writes it.
func (p *faultPage) compare(t *testing.T, whole, held int) {
	t.Helper()
	page := p.render(whole)
	switch {
	case page == p.was:
	case !*update:
		t.Errorf("%s says something else than was found; if that is meant, run: SOAK=1 go test ./action -run TestRegistryFaults -timeout 30m -update", faultPageFile)
		lines := strings.Split(p.was, "\n")
		for line := range strings.Lines(page) {
			if !slices.Contains(lines, strings.TrimRight(line, "\n")) {
				t.Logf("found: %s", line)
			}
		}
	case whole != held:
		t.Errorf("%d of %d cases were tried, and the page says how all end: set SOAK=1, and have -run leave none out", held, whole)
	default:
		if err := os.WriteFile(filepath.Join("..", faultPageFile), []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func stepsOf(m mode) []faultStep {
	return slices.DeleteFunc(slices.Clone(faultSteps), func(s faultStep) bool { return s.mode != m || slices.Contains(anotherOf, s.name) })
}

func faultHeading(m mode) string {
	return map[mode]string{modeSign: "\n## While signing\n", modeVerify: "\n## While verifying\n"}[m]
}

// render returns the page. whole is how many cases the matrix has.
func (p *faultPage) render(whole int) string {
	var b strings.Builder
	fmt.Fprintf(&b, `# When the registry fails

**%[1]d faults tried, %[1]d passed.** This page shows what a run of the action does if a registry, or the network before it, fails. Each of the %[2]d faults below happens at each request of a run where it can happen: once, or each time. Each happens on three kinds of registries: one with the Referrers API, one without it, and CNCF Distribution.

`, whole, len(registryfaults.Faults))
	b.WriteString(`When signing, a fault passes if all of this holds:

- Whatever the run reports as signed is in the registry, is listed, and verifies with notation's own library.
- Everything else is reported as failed: exit status 1, and no signature in the outputs. The error names the registry, and contains its status and the advice, or what is wrong with the answer.
- The next run, without the fault, succeeds. Then the signatures that the failed run stored are listed, each once, beside the signature of the next run.
- An SBOM that was attached before is still listed, byte for byte.
- The run ends at the input ` + "`timeout`" + `, plus 5 s to finish what it started. Only the last look at a referrers index has [its own limit](guarantees.md#how-the-index-is-written).

When verifying, a fault passes if all of this holds:

- An artifact with only an untrusted signature is never reported as verified.
- An artifact with a valid signature is reported as verified, or fails with the reason.
- The run sends only GET and HEAD.

In all cases, no output contains the password or a token, and no other host gets one.

| sign | the run | exit status |
| :-: | --- | --- |
| ✓ | signs or verifies, despite the fault | 0 |
| ✗ | fails with the reason, and leaves nothing that the next run doesn't finish | 1 |
| ✓ ✗ | succeeds if the fault happens once, fails if it persists | |
| ✓ – | succeeds if the fault happens once; if it persists, it is [not covered](#not-covered) | |

In an empty cell, the fault can't happen. The outcome is the same on all kinds of registries. The columns are the requests of a run:

| column | request |
| --- | --- |
| token | a token from the registry's token server; signing requests two, and the column shows one |
| artifact | the artifact's manifest |
| config blob | whether the repository has the config blob |
| begin an upload, upload | the upload of a blob; signing uploads two, and the column shows one |
| signature manifest | the manifest, written or read |
| list by API | the list of referrers, on a registry with the Referrers API |
| find no API | the same request, on a registry without it |
| read index, list by index | the referrers index, under its tag |
| write index | the referrers index with the new entry |
| last look | the referrers index, at the end of the run |
| envelope | the signature envelope |

`)
	for _, m := range []mode{modeSign, modeVerify} {
		b.WriteString(faultHeading(m)[1:] + "\n")
		p.renderTable(&b, m)
	}
	b.WriteString("## The faults\n\n| fault | what happens |\n| --- | --- |\n")
	for _, f := range registryfaults.Faults {
		fmt.Fprintf(&b, "| %s | %s |\n", f.Name, f.Text)
	}
	b.WriteString(`
## Not covered

- A registry, or a cache, that returns an old referrers index, or a 404 with a registry's own reason. Entries of others that it didn't return are lost: see [guarantees](guarantees.md#who-can-take-a-signature-away).
- A gateway that keeps answering 404 when the referrers index is read, but lets it be written. The run accepts two such answers, because a registry doesn't have to give a reason for a 404.
- A registry that always lies about a tag. Only the registry knows to which manifest a tag points, so use the digest.

## How it is tested

` + "`action/registryfaults_test.go`" + ` makes the runs through a proxy, ` + "`testenv/registryfaults/proxy.go`" + `, and compares this page with the results. ` + "`make test`" + ` tries each fault at each kind of request; ` + "`make soak`" + ` tries each fault at each request. ` + "`action/kills_test.go`" + ` kills a signing process at each request.
`)
	return b.String()
}

func (p *faultPage) renderTable(b *strings.Builder, m mode) {
	steps := stepsOf(m)
	b.WriteString("| fault |")
	for _, s := range steps {
		fmt.Fprintf(b, " %s |", s.name)
	}
	b.WriteString("\n| --- |" + strings.Repeat(" :-: |", len(steps)) + "\n")
	for _, f := range registryfaults.Faults {
		row, any := "| "+f.Name+" |", false
		for _, s := range steps {
			mark := ""
			if cell := p.cells[faultCell{m, f.Name, s.name}]; cell != nil && f.Happens(s.class) {
				mark, any = string(cell[0]), true
				if cell[1] != cell[0] {
					mark += " " + string(cell[1])
				}
			}
			row += " " + mark + " |"
		}
		if any {
			b.WriteString(row + "\n")
		}
	}
	b.WriteString("\n")
}
