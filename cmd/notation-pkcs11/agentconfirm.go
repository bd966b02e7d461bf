// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/notation-pkcs11/notation-pkcs11/cmd/internal/hosted"
	"github.com/notation-pkcs11/notation-pkcs11/pkcs11/host"
	"github.com/notation-pkcs11/notation-pkcs11/plugin/agent"
)

// confirmPatience is how long an answer is waited for.
const confirmPatience = 2 * time.Minute

// confirmer returns what asks a person before a signature: the program that
// SSH_ASKPASS names, as ssh-agent has it, or the terminal, where that isn't a
// command's.
func (o agentOrder) confirmer() (func(context.Context, agent.Question) error, error) {
	path, err := o.asker("--confirm")
	if err != nil {
		return nil, err
	}
	ask := hosted.AskYes
	if path != "" {
		ask = func(ctx context.Context, text string) error { return o.askByProgram(ctx, path, text) }
	}
	return func(ctx context.Context, q agent.Question) error {
		ctx, cancel := context.WithTimeout(ctx, confirmPatience)
		defer cancel()
		return ask(ctx, questionText(q))
	}, nil
}

// asker finds the program that asks for what a flag wants asked; empty: the terminal.
func (o agentOrder) asker(flag string) (path string, err error) {
	program := os.Getenv("SSH_ASKPASS")
	switch {
	case program != "" && os.Getenv("SSH_ASKPASS_REQUIRE") != "never":
		if path, err = exec.LookPath(program); err != nil {
			return "", &failure{error: fmt.Errorf("the program that SSH_ASKPASS names can't be run: %w", err), hint: "Set SSH_ASKPASS to a program such as ssh-askpass"}
		}
	case o.command != nil || !hosted.CanAsk():
		return "", &failure{error: fmt.Errorf("%s has nobody to ask: SSH_ASKPASS names no program, and the agent runs a command or has no terminal", flag),
			hint: "Set SSH_ASKPASS to a program such as ssh-askpass"}
	}
	return path, nil
}

// programEnv is the environment of a program that asks: without PINs, and with what kind of
// answer is wanted (empty: a secret).
func (o agentOrder) programEnv(prompt string) []string {
	environ := without(os.Environ(), func(name string) bool {
		return host.IsSecret(name) || slices.Contains(o.secrets, name) || name == "SSH_ASKPASS_PROMPT"
	})
	if prompt != "" {
		environ = append(environ, "SSH_ASKPASS_PROMPT="+prompt)
	}
	return environ
}

// questionText says what would be signed. Its texts are quoted: a requester chose
// them, and could else go on with the question. The digest was checked.
func questionText(q agent.Question) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Sign %s (%+q, %d bytes) with the key %s?", q.Payload.Target.Digest, q.Payload.Target.MediaType, q.Payload.Target.Size, q.Key)
	if q.Peer.PID != 0 {
		fmt.Fprintf(&b, " Process %d asks", q.Peer.PID)
		if q.Peer.Executable != "" {
			fmt.Fprintf(&b, ", of %+q", q.Peer.Executable)
		}
		b.WriteString(".")
	}
	return b.String()
}

// askByProgram returns an error unless the program ends with the exit status 0.
func (o agentOrder) askByProgram(ctx context.Context, path, text string) error {
	cmd := exec.CommandContext(ctx, path, text)
	cmd.Env = o.programEnv("confirm")
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return errors.New("no answer came in time")
	case errors.As(err, &exit):
		return errors.New("the answer was no")
	}
	return err
}
