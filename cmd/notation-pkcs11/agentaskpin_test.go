// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// askpass makes a program that gives a PIN, and notes each question with its environment.
type askpass struct{ path, pin, notes string }

func newAskpass(t *testing.T, w *agentWorld) *askpass {
	t.Helper()
	p := &askpass{filepath.Join(w.dir, "askpass"), filepath.Join(w.dir, "given-pin"), filepath.Join(w.dir, "asked")}
	script := fmt.Sprintf("#!/bin/sh\necho \"asked: $1\" >>%[1]s\nenv >>%[1]s\nexec cat %[2]s\n", shellQuote(p.notes), shellQuote(p.pin))
	if err := os.WriteFile(p.path, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	p.give(t, w.token.PIN)
	return p
}

// give has the person answer with another PIN; empty: the question is cancelled.
func (p *askpass) give(t *testing.T, pin string) {
	t.Helper()
	os.Remove(p.pin)
	if pin == "" {
		return // cat fails
	}
	if err := os.WriteFile(p.pin, []byte(pin+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

// asked counts the questions.
func (p *askpass) asked(t *testing.T) int {
	t.Helper()
	notes, err := os.ReadFile(p.notes)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	if strings.Contains(string(notes), "SSH_ASKPASS_PROMPT=") || strings.Contains(string(notes), "NOTATION_PKCS11_PIN=") {
		t.Errorf("the program has the environment %s", notes)
	}
	return strings.Count(string(notes), "asked: PIN of the token \"testenv\", serial number ")
}

// askingAgent starts an agent that asks for the PIN at each login.
func (w *agentWorld) askingAgent(t *testing.T, p *askpass, args ...string) *agentProcess {
	t.Helper()
	cmd := exec.Command(w.executable, append([]string{"agent", signingKey, "--audit-log", w.log, "--output", "json", "--ask-pin"}, args...)...)
	cmd.Env = append(slices.Clone(w.env), "SSH_ASKPASS="+p.path, "SSH_ASKPASS_PROMPT=confirm")
	return w.serve(t, cmd)
}

// logins fails unless the module had so many logins, and the person as many questions.
func (w *agentWorld) logins(t *testing.T, p *askpass, want int) {
	t.Helper()
	if asked, made := p.asked(t), w.module.Calls("C_Login"); asked != want || made != want {
		t.Errorf("%d questions and %d logins, want %d", asked, made, want)
	}
}

// A key that wants a login for each signature has a person asked for each, and one
// without that for the first alone.
func TestAlwaysAuthenticatedKeyAsksForEachSignature(t *testing.T) {
	for _, always := range []bool{true, false} {
		w := newAgentWorld(t)
		if always {
			w.rules(t, "always-authenticate "+w.token.PIN)
		}
		p := newAskpass(t, w)
		a := w.askingAgent(t, p)
		w.logins(t, p, 1)
		for n := range 3 {
			if err := a.sign(t.Context()); err != nil {
				t.Error(err)
			}
			if always {
				w.logins(t, p, 2+n)
			}
		}
		if !always {
			w.logins(t, p, 1)
		}
	}
}

// A question that is cancelled costs its signature, and no login.
func TestCancelledQuestionForThePIN(t *testing.T) {
	w := newAgentWorld(t)
	w.rules(t, "always-authenticate "+w.token.PIN)
	p := newAskpass(t, w)
	a := w.askingAgent(t, p)
	p.give(t, "")
	if failed := a.fails(t); !strings.Contains(failed.Message, "no PIN was given") || strings.Contains(failed.Message, "NOTATION_PKCS11_PIN") {
		t.Errorf("error %s", failed.Message)
	}
	if n := w.module.Calls("C_Login"); n != 1 {
		t.Errorf("%d logins", n)
	}
	p.give(t, w.token.PIN)
	if err := a.sign(t.Context()); err != nil {
		t.Error(err)
	}
	if n := w.module.Calls("C_Login"); n != 2 {
		t.Errorf("%d logins after the next signature", n)
	}
}

// A wrong answer is used once: nobody is asked again, and nothing logs in.
func TestWrongAnswerEndsAllLogins(t *testing.T) {
	for _, when := range []string{"signature", "host killed", "SIGHUP"} {
		t.Run(when, func(t *testing.T) {
			w := newAgentWorld(t)
			if when == "signature" {
				w.rules(t, "always-authenticate "+w.token.PIN)
			}
			p := newAskpass(t, w)
			a := w.askingAgent(t, p)
			w.loseLogin(t, a, when)
			p.give(t, "wrong-pin")
			for range 3 {
				if failed := a.fails(t); !strings.Contains(failed.Message, "CKR_PIN_INCORRECT") {
					t.Errorf("error %s", failed.Message)
				}
				w.loseLogin(t, a, when)
			}
			w.logins(t, p, 2)
		})
	}
}

// loseLogin has the login of an agent lost.
func (w *agentWorld) loseLogin(t *testing.T, a *agentProcess, how string) {
	t.Helper()
	hosts := w.hosts(t)
	for _, pid := range hosts {
		switch how {
		case "host killed":
			syscall.Kill(pid, syscall.SIGKILL)
		case "SIGHUP":
			a.Process.Signal(syscall.SIGHUP)
		default:
			continue
		}
		ends(t, pid)
	}
}

// Each login asks again: of another process, and of sessions that were lost.
func TestLaterLoginAsksAgain(t *testing.T) {
	for _, how := range []string{"host killed", "SIGHUP", "sessions lost"} {
		t.Run(how, func(t *testing.T) {
			w := newAgentWorld(t)
			if how == "sessions lost" {
				w.rules(t, "sessions-die 1")
			}
			p := newAskpass(t, w)
			a := w.askingAgent(t, p)
			for range 3 {
				w.loseLogin(t, a, how)
				if err := a.sign(t.Context()); err != nil {
					t.Error(err)
				}
			}
			made := w.module.Calls("C_Login")
			if made < 2 {
				t.Errorf("%d logins", made)
			}
			w.logins(t, p, made)
		})
	}
}

// What says where the PIN is, and a command without a program that asks, are refused
// before the module is loaded.
func TestAskPINIsRefusedBeforeALogin(t *testing.T) {
	w := newAgentWorld(t)
	p := newAskpass(t, w)
	for _, row := range []struct {
		name, key string
		args, env []string
		code      int
		says      string
	}{
		{"PIN source", signingKey, []string{"--pin-source", "file:" + p.pin}, nil, 2, "--ask-pin and --pin-source are both set; use only one"},
		{"PIN source of the URI", signingKey + "?pin-source=file:" + p.pin, nil, nil, 2, "--ask-pin and the key URI's pin-source are both set"},
		{"variable", signingKey, nil, []string{"NOTATION_PKCS11_PIN=" + w.token.PIN}, 2, "--ask-pin and the environment variable NOTATION_PKCS11_PIN are both set"},
		{"variable of a source", signingKey, nil, []string{"NOTATION_PKCS11_PIN_SOURCE=file:" + p.pin}, 2, "--ask-pin and the environment variable NOTATION_PKCS11_PIN_SOURCE are both set"},
		{"nobody to ask", signingKey, nil, []string{"SSH_ASKPASS="}, 1, "--ask-pin has nobody to ask"},
		{"no such program", signingKey, nil, []string{"SSH_ASKPASS=/absent/askpass"}, 1, "SSH_ASKPASS names can't be run"},
	} {
		for _, command := range [][]string{{"--", "echo", "run"}, nil} {
			cmd := exec.Command("setsid", slices.Concat([]string{"-w", w.executable, "agent", row.key, "--ask-pin"}, row.args, command)...)
			cmd.Env = slices.Concat(w.env, []string{"SSH_ASKPASS=" + p.path}, row.env)
			output, err := cmd.CombinedOutput()
			if cmd.ProcessState.ExitCode() != row.code || !strings.Contains(string(output), row.says) || strings.Contains(string(output), "run\n") {
				t.Errorf("%s, %v: %v: %s", row.name, command, err, output)
			}
		}
	}
	if n := w.module.Calls("C_Initialize"); n != 0 || p.asked(t) != 0 {
		t.Errorf("the module was started %d times, and %d questions were asked", n, p.asked(t))
	}
}

// Beside a command the agent asks by the program, at each login.
func TestAgentBesideACommandAsksByTheProgram(t *testing.T) {
	w := newAgentWorld(t)
	w.rules(t, "always-authenticate "+w.token.PIN)
	p := newAskpass(t, w)
	document := filepath.Join(w.dir, "request")
	if err := os.WriteFile(document, a2json(t, generateRequest(notaryMessage("PS256"))), 0o600); err != nil {
		t.Fatal(err)
	}
	sign := shellQuote(w.executable, "generate-signature") + " <" + shellQuote(document)
	cmd := exec.Command(w.executable, "agent", signingKey, "--ask-pin", "--", "sh", "-c", sign+" && "+sign)
	cmd.Env = append(slices.Clone(w.env), "SSH_ASKPASS="+p.path)
	if output, err := cmd.CombinedOutput(); err != nil || strings.Count(string(output), `"signature"`) != 2 {
		t.Errorf("%v: %s", err, output)
	}
	w.logins(t, p, 3)
}

// On the terminal the PIN is asked for at each login. What was typed before the question
// is no answer, and a question that nobody answers takes no line of the next one.
func TestPINIsAskedForAgainOnTheTerminal(t *testing.T) {
	w := newAgentWorld(t)
	w.rules(t, "always-authenticate "+w.token.PIN)
	dir := w.env[slices.IndexFunc(w.env, func(v string) bool { return strings.HasPrefix(v, "XDG_RUNTIME_DIR=") })]
	socket := filepath.Join(strings.TrimPrefix(dir, "XDG_RUNTIME_DIR="), "s")
	cmd, person := w.converse(t, w.executable, "agent", signingKey, "--ask-pin", "--socket", socket, "--timeout", "4s")
	person.hear(t, "PIN of the token")
	person.say(w.token.PIN + "\n")
	person.hear(t, "export NOTATION_PKCS11_AGENT="+socket)
	ask := func() chan error {
		message := notaryMessage("PS256")
		result := make(chan error)
		go func() {
			result <- w.checkAnswer(t.Context(), w.client(socket, "generate-signature", generateRequest(message)), message)
		}()
		person.hear(t, "PIN of the token")
		return result
	}
	person.say("not-a-pin\n")
	person.hear(t, "not-a-pin")
	result := ask()
	person.say(w.token.PIN + "\n")
	if err := <-result; err != nil {
		t.Error(err)
	}
	if err := <-ask(); err == nil || !strings.Contains(err.Error(), "not typed in time") {
		t.Errorf("without an answer: %v", err)
	}
	result = ask() // of another process: its login, and that of the signature
	person.say(w.token.PIN + "\n")
	person.hear(t, "PIN of the token")
	person.say(w.token.PIN + "\n")
	if err := <-result; err != nil {
		t.Error(err)
	}
	if n := w.module.Calls("C_Login"); n != 4 {
		t.Errorf("%d logins", n)
	}
	person.say("\x03")
	cmd.Wait()
}
