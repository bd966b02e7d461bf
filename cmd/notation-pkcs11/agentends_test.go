// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// When the lifetime ends, the signature that is being made is given out, the next
// one is refused, and the command goes on.
func TestLifetimeEndsDuringASignature(t *testing.T) {
	w := newAgentWorld(t, "C_Sign delay 3000")
	message := filepath.Join(w.dir, "request")
	request := a2json(t, generateRequest(notaryMessage("PS256")))
	if err := os.WriteFile(message, request, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := w.command("agent", signingKey, "--lifetime", "1s", "--", "sh", "-c",
		`notation-pkcs11 generate-signature <"$0" >/dev/null || exit 1; notation-pkcs11 generate-signature <"$0" && exit 2; exit 7`, message)
	output, err := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != 7 || !strings.Contains(string(output), "the agent's lifetime of 1s is over") {
		t.Errorf("%v: %s", err, output)
	}
}

// An agent that is idle ends, and says so.
func TestIdleAgentEnds(t *testing.T) {
	w := newAgentWorld(t)
	a := w.startAgent(t, "--idle", "1s")
	<-a.ended
	if !strings.Contains(a.stderr.String(), "idle for 1s") || !a.ProcessState.Success() {
		t.Errorf("%v: %s", a.ProcessState, &a.stderr)
	}
	if failed := a.fails(t); !strings.Contains(failed.Message, "can't be reached: there is no socket") {
		t.Errorf("error %s", failed.Message)
	}
}

// An agent that was killed leaves a socket that the next one removes, and no module
// host.
func TestKilledAgent(t *testing.T) {
	w := newAgentWorld(t)
	a := w.startAgent(t)
	hosts := w.hosts(t)
	a.Process.Kill()
	<-a.ended
	for _, pid := range hosts {
		ends(t, pid)
	}
	if failed := a.fails(t); !strings.Contains(failed.Message, "no process listens on it") {
		t.Errorf("error %s", failed.Message)
	}
	next := w.startAgent(t)
	if _, err := os.Lstat(a.socket); !os.IsNotExist(err) {
		t.Errorf("the socket of the killed agent is still there: %v", err)
	}
	if err := next.sign(t.Context()); err != nil {
		t.Error(err)
	}
}

// An agent that is killed while a client waits is an error there, and no hang.
func TestAgentKilledDuringASignature(t *testing.T) {
	w := newAgentWorld(t, "C_Sign hang")
	a := w.startAgent(t)
	client := a.client("generate-signature", generateRequest(notaryMessage("PS256")))
	var stderr bytes.Buffer
	client.Stderr = &stderr
	if err := client.Start(); err != nil {
		t.Fatal(err)
	}
	w.awaitCall(t, "C_Sign", 1)
	a.Process.Kill()
	client.Wait()
	if !strings.Contains(stderr.String(), "ended the connection without an answer") {
		t.Errorf("error %s", &stderr)
	}
	w.rules(t)
	w.startAgent(t) // which removes the socket
}

// SIGHUP lets go of the token until the next signature.
func TestHangupLetsGoOfTheToken(t *testing.T) {
	w := newAgentWorld(t)
	a := w.startAgent(t)
	if err := a.sign(t.Context()); err != nil {
		t.Fatal(err)
	}
	hosts := w.hosts(t)
	a.Process.Signal(syscall.SIGHUP)
	for _, pid := range hosts {
		ends(t, pid)
	}
	if n := w.module.Calls("C_Finalize"); n != 1 {
		t.Errorf("the module was finalized %d times", n)
	}
	if err := a.sign(t.Context()); err != nil {
		t.Error(err)
	}
	if n := w.module.Calls("C_Login"); n != 2 {
		t.Errorf("%d logins", n)
	}
}
