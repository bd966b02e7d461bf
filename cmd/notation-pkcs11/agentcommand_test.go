// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// besides returns the agent that works beside a command: its child.
func besides(t *testing.T, command int) int {
	t.Helper()
	for range 3000 {
		children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", command, command))
		for field := range strings.FieldsSeq(string(children)) {
			arguments, _ := os.ReadFile("/proc/" + field + "/cmdline")
			if bytes.Contains(arguments, []byte("\x00"+agentServer+"\x00")) {
				var pid int
				fmt.Sscan(field, &pid)
				return pid
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("no agent works beside the command")
	return 0
}

// The exit status is the command's, and it has no PIN.
func TestCommandOfAnAgent(t *testing.T) {
	w := newAgentWorld(t)
	script := filepath.Join(w.dir, "script") // without a line that names its shell
	if err := os.WriteFile(script, []byte("exit 9\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name    string
		flags   []string
		pin     string // its variable
		command []string
		code    int
		says    string
	}{
		{"exit status", nil, fromEnvironment, []string{"sh", "-c", "exit 3"}, 3, ""},
		{"arguments", nil, fromEnvironment, []string{"sh", "-c", `echo "$1"`, "sh", "--socket"}, 0, "--socket\n"},
		{"no PIN", nil, fromEnvironment, []string{"sh", "-c", "env"}, 0, ""},
		{"no PIN of another variable", []string{"--pin-source", "env:MY_PIN"}, "MY_PIN", []string{"sh", "-c", "env"}, 0, ""},
		{"script without a shell", nil, fromEnvironment, []string{script}, 9, ""},
		{"no such command", nil, fromEnvironment, []string{"absent-command"}, 127, "hint: Correct the command after --"},
		{"no such path", nil, fromEnvironment, []string{"/absent/command"}, 127, "no such file"},
		{"no program", nil, fromEnvironment, []string{"/etc/passwd"}, 126, "permission denied"},
		{"no command", nil, fromEnvironment, []string{}, 2, "no command follows --; add one"},
		{"no such key", nil, fromEnvironment, []string{"echo", "run"}, 1, "no private key"},
		{"confirmation by nobody", []string{"--confirm"}, fromEnvironment, []string{"echo", "run"}, 1, "nobody to ask"},
		{"path that is too long", []string{"--socket", w.dir + "/" + strings.Repeat("s", 100)}, fromEnvironment, []string{"echo", "run"}, 1, "allows at most 107; name"},
		{"log that is none", []string{"--audit-log", "/etc/passwd"}, fromEnvironment, []string{"echo", "run"}, 1, "not an audit log"},
	} {
		t.Run(row.name, func(t *testing.T) {
			before := w.module.Calls("C_Initialize")
			key := signingKey
			if row.name == "no such key" {
				key += "-absent"
			}
			cmd := exec.Command(w.executable, slices.Concat([]string{"agent", key}, row.flags, []string{"--"}, row.command)...)
			cmd.Env = append(slices.Clone(w.env), row.pin+"="+w.token.PIN, "OTHER=kept")
			output, err := cmd.CombinedOutput()
			if code := cmd.ProcessState.ExitCode(); code != row.code || !strings.Contains(string(output), row.says) {
				t.Errorf("exit code %d, want %d: %v: %s", code, row.code, err, output)
			}
			if strings.Contains(string(output), w.token.PIN) || strings.Contains(string(output), "run\n") {
				t.Errorf("the output is %s", output)
			}
			if strings.HasPrefix(row.name, "no PIN") && (!strings.Contains(string(output), "NOTATION_PKCS11_AGENT=/") || !strings.Contains(string(output), "OTHER=kept")) {
				t.Errorf("the environment is %s", output)
			}
			untouched := row.code == 127 || row.code == 126 || row.code == 2 || row.code == 1 && row.name != "no such key"
			if started := w.module.Calls("C_Initialize") > before; started == untouched {
				t.Errorf("the module was started: %v", started)
			}
		})
	}
}

// A wrong PIN is tried once, the agent does not start, and the command is not run.
func TestWrongPINOfAnAgent(t *testing.T) {
	for _, command := range [][]string{{"--", "echo", "run"}, nil} {
		w := newAgentWorld(t)
		cmd := exec.Command(w.executable, slices.Concat([]string{"agent", signingKey, "--audit-log", w.log}, command)...)
		cmd.Env = append(slices.Clone(w.env), fromEnvironment+"=wrong-pin")
		output, err := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() != 1 || !strings.Contains(string(output), "CKR_PIN_INCORRECT") || !strings.Contains(string(output), "Check the environment variable NOTATION_PKCS11_PIN") || strings.Contains(string(output), "run\n") {
			t.Errorf("%v: %s", err, output)
		}
		if n := w.module.Calls("C_Login"); n != 1 {
			t.Errorf("%d logins", n)
		}
		if lines := w.lines(t); lines["login-failure"] != 1 || len(lines) != 1 {
			t.Errorf("the log has %v", lines)
		}
	}
}

// readyCommand starts an agent with a shell as its command, and returns once the
// shell says that it is ready.
func (w *agentWorld) readyCommand(t *testing.T, script string) (cmd *exec.Cmd, agent int) {
	t.Helper()
	cmd = w.command("agent", signingKey, "--", "sh", "-c", "echo ready; "+script)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, len("ready\n"))); err != nil {
		t.Fatal(err)
	}
	return cmd, besides(t, cmd.Process.Pid)
}

// Signals reach the command, which dies of them: 143 in a shell. The agent, its
// module host and its login end with it.
func TestSignalEndsTheCommandAndTheAgent(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		w := newAgentWorld(t)
		cmd, agent := w.readyCommand(t, "exec sleep 600")
		hosts := w.hosts(t)
		cmd.Process.Signal(signal)
		cmd.Wait()
		if status := cmd.ProcessState.Sys().(syscall.WaitStatus); !status.Signaled() || status.Signal() != signal {
			t.Errorf("%v: the command ended with %v", signal, cmd.ProcessState)
		}
		ends(t, agent)
		for _, pid := range hosts {
			ends(t, pid)
		}
		if n := w.module.Calls("C_Logout"); n != 1 {
			t.Errorf("%d logouts", n)
		}
	}
}

// The command's limits, open files and signals are those of who started the agent,
// and the agent has none of the files, and dumps no core.
func TestCommandHasItsCallersLimitsFilesAndSignals(t *testing.T) {
	w := newAgentWorld(t)
	const look = `ulimit -Hc; ulimit -c; ulimit -n; ls /proc/self/fd | tr '\n' ' '; grep -E 'Sig(Blk|Ign|Cgt)' /proc/self/status`
	run := func(command ...string) string {
		cmd := exec.Command("sh", append([]string{"-c", `trap '' PIPE QUIT USR1; ulimit -Sc unlimited; ulimit -Sn 512; exec "$@"`, "sh"}, command...)...)
		cmd.Env = append(slices.Clone(w.env), fromEnvironment+"="+w.token.PIN)
		read, write, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer read.Close()
		defer write.Close()
		cmd.ExtraFiles = []*os.File{read, write, read, write, read}
		output, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, output)
		}
		return string(output)
	}
	if direct, with := run("sh", "-c", look), run(w.executable, "agent", signingKey, "--", "sh", "-c", look); direct != with {
		t.Errorf("without an agent:\n%s\nwith one:\n%s", direct, with)
	}

	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	cmd := w.command("agent", signingKey, "--", "sh", "-c", "echo ready >&7; exec 3>&- 4>&- 5>&- 6>&- 7>&-; exec sleep 600")
	cmd.ExtraFiles = []*os.File{write, write, write, write, write}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	write.Close()
	said, err := io.ReadAll(read) // until nobody has it open any more
	if err != nil || string(said) != "ready\n" {
		t.Errorf("the command said %q, %v", said, err)
	}
	agent := besides(t, cmd.Process.Pid)
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", agent))
	if err != nil || !strings.Contains(strings.Join(strings.Fields(string(limits)), " "), "Max core file size 0 0") {
		t.Errorf("the agent's limits are %s, %v", limits, err)
	}
	cmd.Process.Kill()
	cmd.Wait()
}

// conversation is a person at a terminal.
type conversation struct {
	terminal *os.File
	heard    []byte
}

// hear waits until the terminal shows a text.
func (c *conversation) hear(t *testing.T, text string) {
	t.Helper()
	chunk := make([]byte, 4<<10)
	for !bytes.Contains(c.heard, []byte(text)) {
		n, err := c.terminal.Read(chunk)
		if err != nil {
			t.Fatalf("the terminal never shows %q: %s", text, c.heard)
		}
		c.heard = append(c.heard, chunk[:n]...)
	}
	_, c.heard, _ = bytes.Cut(c.heard, []byte(text))
}

func (c *conversation) say(text string) { io.WriteString(c.terminal, text) }

// converse runs a command on a terminal.
func (w *agentWorld) converse(t *testing.T, args ...string) (*exec.Cmd, *conversation) {
	t.Helper()
	person, end := newTerminal(t)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = slices.Clone(w.env)
	onTerminal(t, cmd, end.Name())
	cmd.Stdin, cmd.Stdout, cmd.Stderr = end, end, end
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	end.Close()
	return cmd, &conversation{terminal: person}
}

// The PIN is asked for once, on the terminal. One Ctrl-C reaches the command alone,
// once.
func TestInterruptFromATerminal(t *testing.T) {
	w := newAgentWorld(t)
	cmd, person := w.converse(t, w.executable, "agent", signingKey, "--", "sh", "-c",
		`n=0; trap 'n=$((n + 1)); echo interrupted' INT; echo ready; until read line; do :; done; exit $((n + 4))`)
	person.hear(t, "PIN of the token")
	person.say(w.token.PIN + "\n")
	person.hear(t, "ready")
	agent := besides(t, cmd.Process.Pid)
	person.say("\x03")
	person.hear(t, "interrupted")
	person.say("go on\n")
	cmd.Wait()
	if cmd.ProcessState.ExitCode() != 5 {
		t.Errorf("the command ended with %v", cmd.ProcessState)
	}
	ends(t, agent)
	if n := w.module.Calls("C_Login"); n != 1 {
		t.Errorf("%d logins", n)
	}
}

// Ctrl-Z stops the command, and a shell goes on with it.
func TestStopFromATerminal(t *testing.T) {
	w := newAgentWorld(t)
	script := "set -m; " + shellQuote(w.executable, "agent", signingKey, "--", "sh", "-c", "echo ready; read line; echo got $line") + `; echo "status $?"; fg >/dev/null; echo "end $?"`
	cmd, person := w.converse(t, "bash", "-c", script)
	person.hear(t, "PIN of the token")
	person.say(w.token.PIN + "\n")
	person.hear(t, "ready")
	person.say("\x1a")
	person.hear(t, "status 148")
	person.say("more\n")
	person.hear(t, "got more")
	person.hear(t, "end 0")
	cmd.Wait()
}

// An interrupt while the PIN is asked for ends it all, before any login.
func TestInterruptWhileThePINIsAskedFor(t *testing.T) {
	w := newAgentWorld(t)
	cmd, person := w.converse(t, w.executable, "agent", signingKey, "--", "echo", "run")
	person.hear(t, "PIN of the token")
	person.say("\x03")
	person.hear(t, "interrupted")
	cmd.Wait()
	if cmd.ProcessState.ExitCode() != 1 || w.module.Calls("C_Login") != 0 {
		t.Errorf("the command ended with %v after %d logins", cmd.ProcessState, w.module.Calls("C_Login"))
	}
}

// A program asks before each signature, and nobody else does where there is a
// command.
func TestConfirmationByAProgram(t *testing.T) {
	w := newAgentWorld(t)
	asked := filepath.Join(w.dir, "asked")
	for answer, signs := range map[string]bool{"0": true, "1": false} {
		program := filepath.Join(w.dir, "askpass"+answer)
		if err := os.WriteFile(program, []byte("#!/bin/sh\necho \"$SSH_ASKPASS_PROMPT: $1\" >"+shellQuote(asked)+"\nenv >>"+shellQuote(asked)+"\nexit "+answer+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		cmd := w.command("agent", signingKey, "--audit-log", w.log, "--confirm", "--output", "json")
		cmd.Env = append(slices.Clone(w.env), "SSH_ASKPASS="+program, "NOTATION_PKCS11_PIN_SOURCE=env:OF_RELEASES", "OF_RELEASES="+w.token.PIN)
		a := w.serve(t, cmd)
		err := a.sign(t.Context())
		if signs != (err == nil) || !signs && !strings.Contains(err.Error(), "ACCESS_DENIED") {
			t.Errorf("answer %s: %v", answer, err)
		}
		said, err := os.ReadFile(asked)
		if err != nil || !strings.Contains(string(said), "confirm: Sign sha256:") || strings.Contains(string(said), w.token.PIN) {
			t.Errorf("the program was asked %s, %v", said, err)
		}
		a.stop(t)
	}
}

// On the terminal a person is asked about each signature, with the artifact's digest.
func TestConfirmationOnTheTerminal(t *testing.T) {
	w := newAgentWorld(t)
	socket := filepath.Join(strings.TrimPrefix(w.env[slices.IndexFunc(w.env, func(v string) bool { return strings.HasPrefix(v, "XDG_RUNTIME_DIR=") })], "XDG_RUNTIME_DIR="), "s")
	cmd, person := w.converse(t, w.executable, "agent", signingKey, "--confirm", "--socket", socket)
	person.hear(t, "PIN of the token")
	person.say(w.token.PIN + "\n")
	person.hear(t, "export NOTATION_PKCS11_AGENT="+socket)
	for answer, signs := range map[string]bool{"y": true, "n": false, "": false} {
		person.say("yes\n") // to nothing
		person.hear(t, "yes")
		message := notaryMessage("PS256")
		result := make(chan error)
		go func() {
			result <- w.checkAnswer(t.Context(), w.client(socket, "generate-signature", generateRequest(message)), message)
		}()
		person.hear(t, "Sign sha256:")
		person.hear(t, "[y/N]")
		person.say(answer + "\n")
		if err := <-result; signs != (err == nil) || !signs && !strings.Contains(err.Error(), "not confirmed: the answer was no") {
			t.Errorf("answer %q: %v", answer, err)
		}
	}
	person.say("\x03")
	cmd.Wait()
	if !cmd.ProcessState.Success() {
		t.Errorf("the agent ended with %v", cmd.ProcessState)
	}
}
