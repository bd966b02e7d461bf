// SPDX-License-Identifier: Apache-2.0

package report

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/sethvargo/go-githubactions"
)

// ConsoleOptions say where a console writes.
type ConsoleOptions struct {
	Name   string // of the program
	Stdout io.Writer
	Stderr io.Writer
	// Colour says whether Stdout is a terminal that shows colours.
	Colour bool
	// Getenv reads the environment, in which a runner says of itself where it
	// takes commands, outputs and summaries.
	Getenv func(string) string
}

// Console is where a run talks: to a runner of GitHub Actions, or to a person.
// Its methods can be called concurrently.
type Console struct {
	name   string
	out    *bufio.Writer // empty whenever a method has returned
	errors io.Writer
	style  Style
	runner *githubactions.Action // nil: there is none
	getenv func(string) string

	mu       sync.Mutex
	progress time.Time // when progress was last told
}

// NewConsole returns a console. It talks to a runner where GITHUB_ACTIONS is true.
func NewConsole(o ConsoleOptions) *Console {
	c := &Console{
		name:   o.Name,
		out:    bufio.NewWriter(o.Stdout), // a report has some twenty lines an artifact
		errors: o.Stderr,
		style:  Style{Colour: o.Colour},
		getenv: o.Getenv,
	}
	if o.Getenv("GITHUB_ACTIONS") == "true" {
		c.style.Colour = false // titles of groups and annotations would have the codes in them
		c.runner = githubactions.New(githubactions.WithWriter(c.out), githubactions.WithGetenv(o.Getenv))
	}
	return c
}

// Mask keeps secrets out of the runner's log.
func (c *Console) Mask(secrets ...string) {
	defer c.out.Flush()
	for _, secret := range secrets {
		if secret != "" && c.runner != nil {
			c.must(func() { c.runner.AddMask(secret) })
		}
	}
}

// Refuse says that the inputs are wrong.
func (c *Console) Refuse(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for text := range strings.Lines(err.Error()) {
		text = Terminal(strings.TrimRight(text, "\n"))
		if c.runner != nil {
			c.must(func() { c.runner.WithFieldsMap(map[string]string{"title": c.name}).Errorf("%s", text) })
			continue
		}
		fmt.Fprintf(c.errors, "error: %s\n", text)
	}
	c.out.Flush()
	fmt.Fprintf(c.errors, "note: nothing was signed or verified\nhint: Run %s --help, or read %s\n", c.name, reference)
	if c.runner != nil && c.getenv("GITHUB_STEP_SUMMARY") != "" {
		c.must(func() { c.runner.AddStepSummary(refusal(err)) }) // the log says the same
	}
}

// reference is the page that explains the inputs.
const reference = "https://github.com/notation-pkcs11/notation-pkcs11/blob/main/docs/action.md"

// refusal is the job summary of a run with wrong inputs.
func refusal(err error) string {
	w := &summary{}
	w.line("## ❌ Wrong inputs: nothing was signed or verified")
	w.line("")
	w.notes("❌", strings.Split(err.Error(), "\n"))
	w.line("")
	w.line("The [reference](%s) explains the inputs.", reference)
	return w.b.String()
}

// progressEvery is how long a run is silent.
const progressEvery = 10 * time.Second

// Progress says how far a stage is, from time to time.
func (c *Console) Progress(stage string, done, all int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if c.progress.IsZero() {
		c.progress = now
	}
	if now.Sub(c.progress) < progressEvery {
		return
	}
	c.progress = now
	fmt.Fprintf(c.out, "%s: %d of %d\n", stage, done, all)
	c.out.Flush()
}

// Show prints a finished run: each artifact, in a group where there is a runner,
// and how it ended.
func (c *Console) Show(r *Report) {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.out.Flush()
	for i := range r.Artifacts {
		a := &r.Artifacts[i]
		c.block(c.style.Headline(a), c.style.Details(a))
		// Without a runner nothing can be folded up.
		if title, lines := c.style.Others(a); title != "" && (c.runner != nil || !a.Succeeded) {
			c.block(title, lines)
		}
	}
	if c.runner != nil {
		for _, annotation := range r.Annotations() {
			c.must(func() { c.annotate(annotation) })
		}
	}
	for _, text := range c.style.Close(r) {
		fmt.Fprintln(c.out, text)
	}
}

func (c *Console) block(title string, lines []string) {
	if c.runner != nil && len(lines) > 0 {
		c.must(func() { c.runner.Group(title) })
		defer c.must(c.runner.EndGroup)
	} else {
		fmt.Fprintln(c.out, title)
	}
	for _, text := range lines {
		fmt.Fprintln(c.out, "  "+text)
	}
}

func (c *Console) annotate(a Annotation) {
	fields := map[string]string{}
	if a.Title != "" {
		fields["title"] = a.Title
	}
	if a.Error {
		c.runner.WithFieldsMap(fields).Errorf("%s", a.Message)
	} else {
		c.runner.WithFieldsMap(fields).Warningf("%s", a.Message)
	}
}

// Summarise writes the job summary.
func (c *Console) Summarise(r *Report) error {
	if c.runner == nil || c.getenv("GITHUB_STEP_SUMMARY") == "" {
		return nil
	}
	if err := try(func() { c.runner.AddStepSummary(r.Summary()) }); err != nil {
		return fmt.Errorf("the job summary can't be written: %w", err)
	}
	return nil
}

// delimiter is what go-githubactions puts around values in the runner's files.
const delimiter = "_GitHubActionsFileCommandDelimeter_"

// SetOutput sets an output of the step. Values that would read as more than one output
// are refused.
func (c *Console) SetOutput(output, value string) error {
	if c.runner == nil || c.getenv("GITHUB_OUTPUT") == "" {
		return nil
	}
	if strings.Contains(value, delimiter) || strings.ContainsAny(value, "\r\x00") {
		return fmt.Errorf("the output %s is not set: its value %s could be read as more than one output", output, Quote(value))
	}
	if err := try(func() { c.runner.SetOutput(output, value) }); err != nil {
		return fmt.Errorf("the output %s can't be set: %w", output, err)
	}
	return nil
}

// must writes to the log. If that can't be written, there is nobody to tell.
func (c *Console) must(write func()) { _ = try(write) }

// try turns the panics of go-githubactions, which it has where it can't write,
// into errors.
func try(write func()) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v", p)
		}
	}()
	write()
	return nil
}
