// SPDX-License-Identifier: Apache-2.0

package report

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/notation-pkcs11/notation-pkcs11/testenv/runner"
)

func testConsole(t testing.TB, env map[string]string) (*Console, *bytes.Buffer) {
	t.Helper()
	var out bytes.Buffer
	return NewConsole(ConsoleOptions{Name: "notation-pkcs11-action", Stdout: &out, Stderr: &out, Colour: true, Getenv: func(name string) string { return env[name] }}), &out
}

// go-githubactions puts a constant delimiter around outputs, so a value with it
// would be several outputs.
func TestOutputsCannotForgeOthers(t *testing.T) {
	file := filepath.Join(t.TempDir(), "output")
	c, _ := testConsole(t, map[string]string{"GITHUB_ACTIONS": "true", "GITHUB_OUTPUT": file})
	for _, value := range []string{"/tmp/x\n" + delimiter + "\nverified=true", "/tmp/\rx", "/tmp/\x00"} {
		if err := c.SetOutput("report", value); err == nil {
			t.Errorf("%q was set", value)
		}
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("something was written")
	}
	if err := c.SetOutput("report", "/tmp/report.json"); err != nil {
		t.Error(err)
	}
}

// Without a runner there are no workflow commands, and no files to write.
func TestWithoutARunner(t *testing.T) {
	c, out := testConsole(t, nil)
	c.Mask("secret")
	r := &Report{Artifacts: []Artifact{{Reference: "a/b:c", Error: "no"}}, Warnings: []string{"well"}}
	c.Show(r)
	if err := errors.Join(c.SetOutput("verified", "false"), c.Summarise(r)); err != nil {
		t.Error(err)
	}
	if text := out.String(); strings.Contains(text, "::") || strings.Contains(text, "secret") || !strings.Contains(text, "\x1b[31m✗\x1b[0m a/b:c") {
		t.Errorf("%q", text)
	}
}

func TestRefusalNamesEachFault(t *testing.T) {
	fault := errors.Join(errors.New("mode: bad"), errors.New("timeout: ::worse%0A"))
	c, out := testConsole(t, map[string]string{"GITHUB_ACTIONS": "true"})
	c.Refuse(fault)
	for _, want := range []string{"::error title=notation-pkcs11-action::mode: bad\n", "::error title=notation-pkcs11-action::timeout: ::worse%250A\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q lacks %q", out.String(), want)
		}
	}
	c, out = testConsole(t, nil)
	c.Refuse(fault)
	if !strings.HasPrefix(out.String(), "error: mode: bad\nerror: timeout: ::worse%0A\nnote: nothing was signed or verified\nhint: Run notation-pkcs11-action --help, or read https://") {
		t.Errorf("%q", out.String())
	}
}

// FuzzLog holds that a runner finds those commands in the log that are meant, with
// the texts that they are to show, and no others. The runner's rules are those of
// ActionCommand.TryParseV2 and TryParse in actions/runner.
func FuzzLog(f *testing.F) {
	for _, text := range []string{"plain", "::add-mask::x", " ::stop-commands::x", "##[error]x", "a,b=c:d%0A%25", "a\r\nb\n::error::x", "\u2028::error::", "\x1b[2J", strings.Repeat("%", 3000)} {
		f.Add(text, "ghcr.io/me/app:v1")
		f.Add("no", text)
		f.Add(text, " ")
	}
	f.Fuzz(func(t *testing.T, text, reference string) {
		c, out := testConsole(t, map[string]string{"GITHUB_ACTIONS": "true"})
		r := &Report{
			Tool: Tool{Name: c.name}, Errors: []string{text}, Warnings: []string{reference},
			Artifacts: []Artifact{
				{Reference: reference, Digest: text, Error: text, Warnings: []string{text}},
				{Reference: text, Succeeded: true, Verification: &Verification{Signatures: []Signature{{Digest: reference, Error: text}}}},
			},
		}
		c.Show(r)
		fault := "input: " + strings.ReplaceAll(text, "\n", " ")
		c.Refuse(errors.New(fault))
		var got, want []runner.Command
		for line := range strings.SplitSeq(out.String(), "\n") {
			if strings.Contains(line, "##[") {
				t.Errorf("%q is a command", line)
			}
			if found, ok := runner.ParseCommand(line); ok {
				got = append(got, found)
			}
		}
		for i := range r.Artifacts {
			want = append(want, runner.Command{Name: "group", Data: c.style.Headline(&r.Artifacts[i])}, runner.Command{Name: "endgroup"})
		}
		for _, a := range r.Annotations() {
			want = append(want, runner.Command{Name: map[bool]string{true: "error", false: "warning"}[a.Error], Title: strings.TrimRight(a.Title, " "), Data: a.Message})
		}
		want = append(want, runner.Command{Name: "error", Title: c.name, Data: Terminal(fault)})
		if !slices.Equal(got, want) {
			t.Errorf("the runner reads %q, not %q", got, want)
		}
	})
}

// FuzzOutputs holds that the runner reads an output as it was set, or that it was
// not set. The runner's rules are those of its file commands.
func FuzzOutputs(f *testing.F) {
	for _, value := range []string{"", "true", "sha256:1\nsha256:2", "a<<b\nc\nb", delimiter, "x\n" + delimiter + "\nverified=true", "\r\n", "\n", delimiter[:10]} {
		f.Add(value)
	}
	file := filepath.Join(f.TempDir(), "output")
	f.Fuzz(func(t *testing.T, value string) {
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		c, _ := testConsole(t, map[string]string{"GITHUB_ACTIONS": "true", "GITHUB_OUTPUT": file})
		failed := c.SetOutput("report", value)
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		got := runner.ReadOutputs(string(content))
		if failed == nil && !slices.Equal(got, [][2]string{{"report", value}}) || failed != nil && len(got) > 0 {
			t.Errorf("%q was set, and is read as %q, error %v", value, got, failed)
		}
	})
}
