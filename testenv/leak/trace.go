// SPDX-License-Identifier: Apache-2.0

package leak

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Process is a process of a traced command.
type Process struct {
	// Arguments are those of its last execve.
	Arguments []string
	// Parent started it; nil for the command itself.
	Parent *Process
	// Undumpable and NoCore say that it has forbidden others to look into it, and
	// core dumps.
	Undumpable, NoCore bool
}

// String names the process: "notation-pkcs11 module-host".
func (p *Process) String() string {
	if len(p.Arguments) == 0 {
		return "a process"
	}
	name := filepath.Base(p.Arguments[0])
	if len(p.Arguments) > 1 && !strings.Contains(p.Arguments[1], "/") && len(p.Arguments[1]) < 24 {
		name += " " + p.Arguments[1]
	}
	return name
}

// Leak is a secret in a system call.
type Leak struct {
	Hit
	Process *Process
	Call    string // such as "write"
	// Place is what was written to: a path, "pipe:[123]", "TCP:[…->…]"; of an
	// execve it is "argument" or "environment NAME", of other calls "path".
	Place string
	// Data is all of the text that has the secret.
	Data []byte
}

// String says what is where, without the secret.
func (l Leak) String() string {
	return fmt.Sprintf("%s (%s) in %s of %s: %s", l.Secret, l.Form, l.Call, l.Process, l.Place)
}

// Created is a file that a process has made.
type Created struct {
	Process *Process
	Path    string
	Mode    fs.FileMode
}

// Result is what a command did.
type Result struct {
	Leaks     []Leak
	Created   []Created
	Processes []*Process
}

// calls are those that can carry something out of a process, and that tell what
// processes there are.
const calls = "%process,%file,%network," +
	"write,pwrite64,writev,pwritev,pwritev2,sendfile,splice,vmsplice,tee,copy_file_range,io_uring_setup," +
	"memfd_create,prctl,prlimit64,setrlimit,keyctl,add_key"

// longestText is that of one argument of a call, in bytes. A longer one is an
// error, since it would not be looked at as a whole.
const longestText = 8 << 20

// Trace runs a command under strace, to its end, and finds secrets. Its path must
// be absolute. Streams and working directory are the command's; that the command
// fails is no error. started, if it isn't nil, is called when it runs.
//
// Who is not root runs strace with sudo: a process that has forbidden others to
// look into it can't be traced otherwise.
func Trace(ctx context.Context, cmd *exec.Cmd, finder *Finder, started func()) (Result, error) {
	dir, err := os.MkdirTemp("", "leak-")
	if err != nil {
		return Result{}, err
	}
	defer os.RemoveAll(dir)
	log := filepath.Join(dir, "log")
	traced, err := under(ctx, cmd, log)
	if err != nil {
		return Result{}, err
	}
	var said bytes.Buffer
	if traced.Stderr == nil {
		traced.Stderr = &said
	}
	if err := traced.Start(); err != nil {
		return Result{}, fmt.Errorf("start strace: %w", err)
	}
	if started != nil {
		started()
	}
	err = traced.Wait()
	cmd.ProcessState = traced.ProcessState
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return Result{}, fmt.Errorf("run strace: %w", err)
	}
	text, err := os.ReadFile(log)
	if err != nil || len(text) == 0 {
		return Result{}, fmt.Errorf("strace saw nothing (%v): this machine must let processes be traced: in a container run it with --cap-add SYS_PTRACE; without root, sudo must work without a password; strace said: %s", err, said.Bytes())
	}
	return parse(text, finder)
}

// under is the command under strace.
func under(ctx context.Context, cmd *exec.Cmd, log string) (*exec.Cmd, error) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		return nil, fmt.Errorf("strace is not installed: run \"make setup\": %w", err)
	}
	command := []string{strace, "-f", "-qqq", "-v", "-xx", "-yy", "-s", strconv.Itoa(longestText), "--seccomp-bpf", "-e", "signal=none", "-e", "trace=" + calls, "-o", log}
	if os.Geteuid() != 0 {
		me, err := user.Current()
		if err != nil {
			return nil, fmt.Errorf("who runs this: %w", err)
		}
		var names []string
		for _, variable := range cmd.Env {
			name, _, _ := strings.Cut(variable, "=")
			names = append(names, name)
		}
		// The log is made here, to be readable here.
		if err := os.WriteFile(log, nil, 0o600); err != nil {
			return nil, err
		}
		sudo := []string{"sudo", "-n", "--preserve-env=" + strings.Join(names, ",")}
		command = slices.Concat(sudo, command, []string{"-u", me.Username})
	}
	command = slices.Concat(command, []string{"--", cmd.Path}, cmd.Args[1:])
	traced := exec.CommandContext(ctx, command[0], command[1:]...)
	traced.Env, traced.Dir = cmd.Env, cmd.Dir
	traced.Stdin, traced.Stdout, traced.Stderr = cmd.Stdin, cmd.Stdout, cmd.Stderr
	return traced, nil
}

var (
	line    = regexp.MustCompile(`^(\d+) +(\w+)\((.*)$`)
	resumed = regexp.MustCompile(`^(\d+) +<\.\.\. (clone|clone3|fork|vfork) resumed>.* = (\d+)`)
	whole   = regexp.MustCompile(` = (\d+)[^=]*$`)
	text    = regexp.MustCompile(`"((?:\\x[0-9a-f]{2})*)"(\.\.\.)?`)
	number  = regexp.MustCompile(`^(\d+|AT_FDCWD)<`)
	mode    = regexp.MustCompile(`O_CREAT.*, (0[0-7]*)`)
)

// parser reads strace's log.
type parser struct {
	finder  *Finder
	result  Result
	threads map[string]*Process
	tails   map[stream][]byte
}

// stream is what a process writes to one place: a secret may come in two pieces.
type stream struct {
	process *Process
	place   string
}

func parse(log []byte, finder *Finder) (Result, error) {
	p := &parser{finder: finder, threads: map[string]*Process{}, tails: map[stream][]byte{}}
	parents := familyOf(log)
	scanner := bufio.NewScanner(bytes.NewReader(log))
	scanner.Buffer(nil, 16*longestText)
	for scanner.Scan() {
		match := line.FindStringSubmatch(scanner.Text())
		if match == nil {
			continue // the second half of a call, or the end of a process
		}
		if err := p.call(p.process(match[1], parents), match[2], match[3]); err != nil {
			return Result{}, err
		}
	}
	return p.result, scanner.Err()
}

// birth says who made a thread, and whether it is a process of its own.
type birth struct {
	by     string
	thread bool
}

// familyOf finds who made whom. A child can come to word before the call that
// made it returns.
func familyOf(log []byte) map[string]birth {
	family := map[string]birth{}
	pending := map[string]bool{} // whether what it makes is a thread
	for l := range bytes.Lines(log) {
		l = bytes.TrimSuffix(l, []byte("\n"))
		if match := resumed.FindSubmatch(l); match != nil {
			family[string(match[3])] = birth{string(match[1]), pending[string(match[1])]}
			continue
		}
		match := line.FindSubmatch(l)
		if match == nil || !slices.Contains([]string{"clone", "clone3", "fork", "vfork"}, string(match[2])) {
			continue
		}
		thread := bytes.Contains(match[3], []byte("CLONE_THREAD"))
		pending[string(match[1])] = thread
		if child := whole.FindSubmatch(match[3]); child != nil {
			family[string(child[1])] = birth{string(match[1]), thread}
		}
	}
	return family
}

func (p *parser) process(thread string, family map[string]birth) *Process {
	if known := p.threads[thread]; known != nil {
		return known
	}
	born, found := family[thread]
	var process *Process
	switch {
	case found && born.thread:
		process = p.process(born.by, family)
	case found:
		parent := p.process(born.by, family)
		copied := *parent
		copied.Parent = parent
		process = &copied
	default:
		process = &Process{}
	}
	p.threads[thread] = process
	if !slices.Contains(p.result.Processes, process) {
		p.result.Processes = append(p.result.Processes, process)
	}
	return process
}

// call looks at one call.
func (p *parser) call(process *Process, name, arguments string) error {
	switch name {
	case "io_uring_setup", "vmsplice":
		return fmt.Errorf("%s uses %s, which strace does not see through", process, name)
	case "prctl":
		process.Undumpable = process.Undumpable || strings.HasPrefix(arguments, "PR_SET_DUMPABLE, SUID_DUMP_DISABLE")
	case "prlimit64", "setrlimit":
		process.NoCore = process.NoCore || strings.Contains(arguments, "RLIMIT_CORE, {rlim_cur=0,")
	}
	if name == "execve" || name == "execveat" {
		return p.execve(process, name, arguments)
	}
	place, arguments := placeOf(arguments)
	texts, err := textsOf(arguments)
	if err != nil {
		return fmt.Errorf("%s of %s: %w", name, process, err)
	}
	if created := mode.FindStringSubmatch(arguments); created != nil && len(texts) > 0 {
		bits, err := strconv.ParseUint(created[1], 8, 32)
		if err != nil {
			return fmt.Errorf("%s of %s: mode: %w", name, process, err)
		}
		p.result.Created = append(p.result.Created, Created{process, string(texts[0]), fs.FileMode(bits)})
	}
	if place == "" {
		for _, one := range texts {
			p.find(process, name, "path", one)
		}
		return nil
	}
	at := stream{process, place}
	all := slices.Concat(texts...)
	joined := slices.Concat(p.tails[at], all)
	if p.find(process, name, place, all); len(p.finder.Find(all)) == 0 && len(p.finder.Find(p.tails[at])) == 0 {
		p.find(process, name, place, joined)
	}
	p.tails[at] = slices.Clone(joined[max(0, len(joined)-p.finder.longest()):])
	return nil
}

func (p *parser) execve(process *Process, name, arguments string) error {
	path, rest, _ := strings.Cut(arguments, "[")
	argv, environ, _ := strings.Cut(rest, "], [")
	process.Undumpable = false // execve undoes it
	for place, part := range map[string]string{"path": path, "argument": argv, "environment": environ} {
		texts, err := textsOf(part)
		if err != nil {
			return fmt.Errorf("%s of %s: %w", name, process, err)
		}
		if place == "argument" {
			process.Arguments = nil
			for _, one := range texts {
				process.Arguments = append(process.Arguments, string(one))
			}
		}
		for _, one := range texts {
			where := place
			if place == "environment" {
				variable, _, _ := bytes.Cut(one, []byte("="))
				where += " " + string(variable)
			}
			p.find(process, name, where, one)
		}
	}
	return nil
}

func (p *parser) find(process *Process, call, place string, data []byte) {
	for _, hit := range p.finder.Find(data) {
		p.result.Leaks = append(p.result.Leaks, Leak{hit, process, call, place, slices.Clone(data)})
	}
}

// placeOf takes the descriptor off the arguments and returns what it leads to.
// Of a call that names a file in a directory it is nothing.
func placeOf(arguments string) (place, rest string) {
	match := number.FindString(arguments)
	if match == "" || strings.HasPrefix(match, "AT_FDCWD") {
		return "", arguments
	}
	depth := 0
	for i, c := range arguments {
		switch {
		case c == '<':
			depth++
		case c == '>' && (i == 0 || arguments[i-1] != '-'): // not an arrow between two ends
			depth--
		default:
			continue
		}
		if depth == 0 {
			return decode(arguments[len(match):i]), arguments[i+1:]
		}
	}
	return "", arguments
}

// textsOf returns the texts among the arguments of a call.
func textsOf(arguments string) ([][]byte, error) {
	var texts [][]byte
	for _, match := range text.FindAllStringSubmatch(arguments, -1) {
		if match[2] != "" {
			return nil, fmt.Errorf("a text has more than %d bytes", longestText)
		}
		texts = append(texts, []byte(decode(match[1])))
	}
	return texts, nil
}

// decode replaces \x41 by A.
func decode(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if strings.HasPrefix(s[i:], `\x`) && i+4 <= len(s) {
			if value, err := strconv.ParseUint(s[i+2:i+4], 16, 8); err == nil {
				b.WriteByte(byte(value))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
