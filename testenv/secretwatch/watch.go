// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/notation-pkcs11/notation-pkcs11/testenv/leak"
)

// watch is one run of a command.
type watch struct {
	finder  *leak.Finder
	allowed []rule
	command []string
	outputs []string // files that are looked through in the end; empty names are left out

	mu       sync.Mutex
	findings map[finding]int // how often each was made
	files    int             // that were looked through
	programs int             // arguments and environments, likewise
}

// finding is a secret where it must not be. It doesn't have the secret.
type finding struct {
	place // what was looked at
	leak.Hit
}

// place is where a secret can be.
type place struct {
	kind kind
	name string // a file's path in the temporary directory, or the program's name
	part string // of an environment the variable; of an output the line, until it is allowed
}

type kind string

const (
	inFile        kind = "file"
	inArguments   kind = "arguments"
	inEnvironment kind = "environment"
	inOutput      kind = "output"
)

// main runs the command and tells what was found. It returns the exit code: the
// command's, or 1 if there is something.
func (w *watch) main(out io.Writer) int {
	code, err := w.run()
	if err != nil {
		fmt.Fprintln(out, "secretwatch:", err)
		return 1
	}
	var lines []string
	for f, times := range w.findings {
		lines = append(lines, fmt.Sprintf("%s (%s) in %s %s %s, %d times", f.Secret, f.Form, f.kind, f.name, f.part, times))
	}
	slices.Sort(lines)
	for _, line := range lines {
		fmt.Fprintln(out, "secretwatch: found", line)
	}
	fmt.Fprintf(out, "secretwatch: %d files and %d programs were looked at, %d findings\n", w.files, w.programs, len(lines))
	if code == 0 && len(lines) > 0 {
		return 1
	}
	return code
}

// run runs the command to its end, with a temporary directory of its own, and
// collects findings.
func (w *watch) run() (code int, err error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	w.findings = map[finding]int{}
	base, err := os.MkdirTemp("", "watch-") // short: sockets below it have names of a hundred bytes at most
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(base)
	temp, vault := filepath.Join(base, "tmp"), filepath.Join(base, "vault")
	if err := os.Chmod(base, 0o711); err != nil { // tests run processes as other users
		return 0, err
	}
	for dir, mode := range map[string]os.FileMode{temp: 0o711, vault: 0o700} {
		if err := os.Mkdir(dir, mode); err != nil {
			return 0, err
		}
	}
	keeper, err := newKeeper(temp, vault, w.searchFile)
	if err != nil {
		return 0, fmt.Errorf("watch the temporary directory: %w", err)
	}
	defer keeper.stop()

	cmd := exec.CommandContext(ctx, w.command[0], w.command[1:]...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = time.Minute // then it is killed
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), "TMPDIR="+temp, "GOTMPDIR=") // the latter would be that of tests, too
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	observer := observe(cmd.Process.Pid, "TMPDIR="+temp, w.searchProgram)
	err = cmd.Wait()
	observer.stop()
	if ctx.Err() != nil {
		return 0, errors.New("interrupted, so that not all was looked at")
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return 0, err
	}
	if err := errors.Join(keeper.stop(), w.searchVault(keeper)); err != nil {
		return 0, err
	}
	for _, name := range w.outputs {
		if name == "" {
			continue
		}
		if err := w.searchOutput(name); err != nil {
			return 0, err
		}
	}
	return cmd.ProcessState.ExitCode(), nil
}

// note notes what is found in data, unless it may be there.
func (w *watch) note(at place, data []byte) {
	for _, hit := range w.finder.Find(data) {
		if slices.ContainsFunc(w.allowed, func(r rule) bool { return r.allows(at, hit.Secret) }) {
			continue
		}
		if at.kind == inOutput {
			at.part = "" // it has the secret
		}
		w.mu.Lock()
		w.findings[finding{at, hit}]++
		w.mu.Unlock()
	}
}

func (w *watch) searchProgram(p program) {
	w.mu.Lock()
	w.programs++
	w.mu.Unlock()
	w.note(place{inArguments, p.name, ""}, p.arguments)
	for variable := range strings.SplitSeq(string(p.environment), "\x00") {
		name, value, _ := strings.Cut(variable, "=")
		w.note(place{inEnvironment, p.name, name}, []byte(value))
	}
}

// searchFile looks through a file of the temporary directory. Where it is kept is
// another name of it.
func (w *watch) searchFile(name, kept string) error {
	w.mu.Lock()
	w.files++
	w.mu.Unlock()
	return w.search(place{inFile, name, ""}, kept)
}

func (w *watch) searchVault(k *keeper) error {
	var errs []error
	for kept, name := range k.names {
		errs = append(errs, w.searchFile(name, kept))
	}
	return errors.Join(errs...)
}

// searchOutput looks through an output line by line, since a rule may allow a line.
func (w *watch) searchOutput(name string) error {
	f, err := os.Open(name)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	lines := bufio.NewReader(f)
	for {
		line, err := lines.ReadString('\n')
		w.note(place{inOutput, name, line}, []byte(line))
		if err != nil {
			return ignoreEnd(err)
		}
	}
}

// search looks through a file piece by piece. Pieces overlap, so that nothing is
// cut in two.
func (w *watch) search(at place, path string) error {
	const piece, overlap = 4 << 20, 1 << 10
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	var buffer []byte
	for {
		start := len(buffer)
		buffer = append(buffer, make([]byte, piece)...)
		n, err := io.ReadFull(f, buffer[start:])
		buffer = buffer[:start+n]
		w.note(at, buffer)
		if err != nil {
			return ignoreEnd(err)
		}
		buffer = slices.Clone(buffer[len(buffer)-overlap:])
	}
}

func ignoreEnd(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}
