// SPDX-License-Identifier: Apache-2.0

//go:build linux

package docs_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

// fromNothing are the pages whose commands are run, from top to bottom, in an empty
// directory, with notation, its plugin pkcs11, and nothing else in the home. In
// blocks of "console", what follows "$ " is run, and the other lines are what it
// must print, with "…" for anything; blocks of "sh" are run.
var fromNothing = []string{"quickstart.md", "from-file-keys.md"}

// serialNumber is that of the pages' token. Each new token has another one, which is as
// long, so that columns stay aligned.
const serialNumber = "aa94302185dfa49e"

func TestCommandsOfPagesWork(t *testing.T) {
	testenv.Long(t, "runs the commands of each page")
	tools, built := t.TempDir(), t.TempDir()
	build(t, built, "..", "./cmd/notation-pkcs11")
	build(t, tools, "../testenv/tools/crane", "github.com/google/go-containerregistry/cmd/crane")
	for _, path := range fromNothing {
		t.Run(path, func(t *testing.T) {
			notation := testenv.Start(t, testenv.NewNotation)
			installed, err := notation.Run(t.Context(), nil, "plugin", "install", "--file", filepath.Join(built, "notation-pkcs11")) // as docs/install.md does
			if err != nil || installed.ExitCode != 0 {
				t.Fatalf("install the plugin: %v\n%s", err, installed.Stderr)
			}
			search := strings.Join([]string{tools, filepath.Dir(notation.Command), os.Getenv("PATH")}, ":")
			text := strings.ReplaceAll(page(t, path), "localhost:5000", freeAddress(t))
			text = strings.ReplaceAll(text, serialNumber, "…")
			runSteps(t, t.TempDir(), append(notation.Env(), "PATH="+search), "", text)
		})
	}
}

// runSteps runs the commands of a page in a directory, after a script that prepares
// it, and compares what they print.
func runSteps(t *testing.T, dir string, env []string, before, text string) {
	t.Helper()
	steps := stepsOf(t, text)
	output := shell(t, dir, env, script(before, steps))
	for i, step := range steps {
		_, after, ok := strings.Cut(output, marker(i))
		if !ok {
			t.Fatalf("line %d: %s\nfailed:\n%s", step.line, steps[max(i-1, 0)].command, output)
		}
		got, _, _ := strings.Cut(after, marker(i+1))
		if !step.prints.MatchString(got) {
			t.Errorf("line %d: %s\nprints\n%s\nthe page says\n%s", step.line, step.command, got, step.output)
		}
	}
	if !strings.Contains(output, marker(len(steps))) {
		t.Errorf("the last command failed:\n%s", output)
	}
}

// build builds a command of a module into a directory.
func build(t *testing.T, dir, module, command string, flags ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append(append([]string{"build", "-C", module, "-trimpath", "-o", dir}, flags...), command)...)
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, output)
	}
}

// freeAddress returns an address that nobody listens on now.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return fmt.Sprintf("localhost:%d", listener.Addr().(*net.TCPAddr).Port)
}

// step is a command of a page and what it prints.
type step struct {
	line    int
	command string
	output  string
	prints  *regexp.Regexp
}

func stepsOf(t *testing.T, page string) []step {
	t.Helper()
	var steps []step
	for _, block := range blocks(page) {
		switch block.language {
		case "sh":
			steps = append(steps, step{line: block.line, command: block.text})
		case "console":
			for i, line := range strings.Split(strings.TrimSuffix(block.text, "\n"), "\n") {
				last := len(steps) - 1
				switch command, ok := strings.CutPrefix(line, "$ "); {
				case ok:
					steps = append(steps, step{line: block.line + i, command: command + "\n"})
				case strings.HasSuffix(steps[last].command, "\\\n"):
					steps[last].command += line + "\n"
				default:
					steps[last].output += line + "\n"
				}
			}
		}
	}
	if len(steps) == 0 {
		t.Fatal("the page has no commands")
	}
	for i := range steps {
		var parts []string
		for part := range strings.SplitSeq(strings.TrimSpace(steps[i].output), "…") {
			parts = append(parts, regexp.QuoteMeta(part))
		}
		pattern := `(?s)^\s*` + strings.Join(parts, ".*") + `\s*$`
		if steps[i].output == "" {
			pattern = "" // what isn't shown isn't promised
		}
		steps[i].prints = regexp.MustCompile(pattern)
	}
	return steps
}

func marker(i int) string { return fmt.Sprintf("\n-- step %d --\n", i) }

// script prepares the page, then prints a marker before each command and at the end.
// It stops at the first command that fails.
func script(before string, steps []step) string {
	var b strings.Builder
	b.WriteString("set -eu -o pipefail\nexec 2>&1\n" + before)
	for i, step := range steps {
		fmt.Fprintf(&b, "printf '%%s' '%s'\n%s", marker(i), step.command)
	}
	fmt.Fprintf(&b, "printf '%%s' '%s'\n", marker(len(steps)))
	return b.String()
}

// shell runs a script in a directory and returns what it printed. Nothing that it
// started is left.
func shell(t *testing.T, dir string, env []string, script string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", script)
	cmd.Dir, cmd.Env = dir, env
	person, end, err := testenv.NewTerminal()
	if err != nil {
		t.Fatal(err)
	}
	defer person.Close()
	defer end.Close()
	// What a person types: both PINs of a new token twice.
	if _, err := io.WriteString(person, "87654321\n87654321\n123456\n123456\n"); err != nil {
		t.Fatal(err)
	}
	cmd.Stdin = end
	// And the user's once more, for its file. SoftHSM's tool reads ahead on a terminal.
	typed := filepath.Join(t.TempDir(), "typed")
	if err := os.WriteFile(typed, []byte("123456\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd.Args[2] = strings.ReplaceAll(cmd.Args[2], "read -rs pin", "read -rs pin <"+typed)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = time.Second // for what it leaves running
	var output bytes.Buffer
	cmd.Stdout = &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	group := cmd.Process.Pid
	err = cmd.Wait()
	_ = syscall.Kill(-group, syscall.SIGKILL) // fails if nothing is left
	if err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return output.String()
}

// pinOption finds an option with which a tool takes a PIN on its command line, where
// each user of the machine, and the shell's history, has it. What is asked for, and
// what names a file or a variable, is none.
var pinOption = regexp.MustCompile(`--?(?:so-?|new-?|user-?)?pin[= ]+(?:[^-\s]\S*)|\b(?:printf|echo)\b[^|\n]*\d{4,}[^|\n]*>.*pin\b`)

// PINs are in files, or typed where a tool asks for them.
func TestNoPINIsOnACommandLine(t *testing.T) {
	for _, leaks := range []string{"--so-pin 87654321", "--pin=1234", "--pin 1234", "printf 123456 > ~/release.pin", "echo 12345678 >pin"} {
		if !pinOption.MatchString(leaks) {
			t.Errorf("%s is not found", leaks)
		}
	}
	checked := 0
	for path, text := range pages(t) {
		for _, block := range blocks(text) {
			checked++
			for _, found := range pinOption.FindAllString(block.text, -1) {
				if strings.Contains(found, "pin env:") { // the name of a variable
					continue
				}
				t.Errorf("%s, line %d: a PIN on a command line: %s", path, block.line, found)
			}
		}
	}
	if checked < 50 {
		t.Errorf("only %d blocks were looked at", checked)
	}
}
