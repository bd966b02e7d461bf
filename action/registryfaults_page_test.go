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
	isNamed     outcome = "–" // in the section "What is not among them"
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

**%[1]d faults tried, %[1]d survived.** Each of the %[2]d faults below happens to each request of a run that it can happen to, once and for ever, on each kind of registry: one with the Referrers API, one without, and docker-registry.

`, whole, len(registryfaults.Faults))
	b.WriteString(`*Survived* means, for signing:

- What the run calls signed is in the registry, is listed, and verifies with notation's own library.
- What is not is reported: exit status 1, no signature in the outputs, and an error that names the registry, its status, and what to do, or what is wrong with the answer.
- The next run, without the fault, goes well. Whatever the failed run had stored is then listed, each signature once, beside that of the next run.
- An SBOM that was attached before is still listed, byte for byte.
- The run ends: at the input ` + "`timeout`" + ` and 5 s to finish what is half done. Only the last look at a referrers index has a time of its own, see [Guarantees](guarantees.md).

For verifying:

- An artifact that a stranger signed is never verified.
- One that is signed well is verified, or fails with the reason.
- Nothing but GET and HEAD is sent.

And always: the password and the tokens are in no output, and no other host gets them.

| | the run | exit status |
| :-: | --- | --- |
| ✓ | signs or verifies, as if nothing had happened | 0 |
| ✗ | fails, says why, and leaves nothing that the next run does not finish | 1 |
| ✓ ✗ | goes well if it happens once, and fails if it goes on for ever | |
| ✓ – | goes well if it happens once; for ever, it is one of [what is not among them](#what-is-not-among-them) | |

An empty place is one where the fault can't happen. The outcome is the same on all kinds of registries. Of the two tokens that signing takes, and of the two uploads, the columns show one.

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
## What is not among them

- A registry, or a cache before it, that says in a registry's own words that there is no referrers index where there is one, or shows an old one. What others added and we were not shown gets lost: see [Guarantees](guarantees.md#who-can-take-a-signature-away).
- A gateway that goes on answering 404 when the referrers index is read, and lets it be written. Two such answers are believed, because a registry need not give a reason for a 404.
- A registry that lies with everything in agreement: which manifest a tag means is its word alone. Name the digest.

## How it is tested

` + "`action/registryfaults_test.go`" + ` does the runs, through the proxy of ` + "`testenv/registryfaults/proxy.go`" + `, and compares this page with what it finds. ` + "`make test`" + ` tries each fault at each kind of request; ` + "`make soak`" + ` tries all. ` + "`action/kills_test.go`" + ` kills a signing process at each request.
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
