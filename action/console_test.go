// SPDX-License-Identifier: Apache-2.0

package action

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/notation-pkcs11/notation-pkcs11/action/report"
)

func testConsole(t *testing.T, env map[string]string) (*console, *bytes.Buffer) {
	t.Helper()
	var out bytes.Buffer
	return newConsole(&Action{Stdout: &out, Stderr: &out, Colour: true, Getenv: func(name string) string { return env[name] }}), &out
}

// go-githubactions puts a constant delimiter around outputs, so a value with it
// would be several outputs.
func TestOutputsCannotForgeOthers(t *testing.T) {
	file := filepath.Join(t.TempDir(), "output")
	c, _ := testConsole(t, map[string]string{"GITHUB_ACTIONS": "true", "GITHUB_OUTPUT": file})
	for _, value := range []string{"/tmp/x\n" + delimiter + "\nverified=true", "/tmp/\rx", "/tmp/\x00"} {
		if err := c.set(outputReport, value); err == nil {
			t.Errorf("%q was set", value)
		}
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("something was written")
	}
	if err := c.set(outputReport, "/tmp/report.json"); err != nil {
		t.Error(err)
	}
}

// Without a runner there are no workflow commands, and no files to write.
func TestWithoutARunner(t *testing.T) {
	c, out := testConsole(t, nil)
	c.mask("secret")
	r := &report.Report{Artifacts: []report.Artifact{{Reference: "a/b:c", Error: "no"}}, Warnings: []string{"well"}}
	c.show(r)
	if err := errors.Join(c.set(outputVerified, "false"), c.summarise(r)); err != nil {
		t.Error(err)
	}
	if text := out.String(); strings.Contains(text, "::") || strings.Contains(text, "secret") || !strings.Contains(text, "\x1b[31m✗\x1b[0m a/b:c") {
		t.Errorf("%q", text)
	}
}

func TestRefusalNamesEachFault(t *testing.T) {
	fault := errors.Join(errors.New("mode: bad"), errors.New("timeout: ::worse%0A"))
	c, out := testConsole(t, map[string]string{"GITHUB_ACTIONS": "true"})
	c.refuse(fault)
	for _, want := range []string{"::error title=notation-pkcs11-action::mode: bad\n", "::error title=notation-pkcs11-action::timeout: ::worse%250A\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q lacks %q", out.String(), want)
		}
	}
	c, out = testConsole(t, nil)
	c.refuse(fault)
	if !strings.HasPrefix(out.String(), "error: mode: bad\nerror: timeout: ::worse%0A\nhint: ") {
		t.Errorf("%q", out.String())
	}
}
