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
	ask := hosted.AskYes
	if program := os.Getenv("SSH_ASKPASS"); program != "" && os.Getenv("SSH_ASKPASS_REQUIRE") != "never" {
		path, err := exec.LookPath(program)
		if err != nil {
			return nil, &failure{error: fmt.Errorf("the program that SSH_ASKPASS names can't be run: %w", err)}
		}
		ask = func(ctx context.Context, text string) error { return o.askByProgram(ctx, path, text) }
	} else if o.command != nil || !hosted.CanAsk() {
		return nil, &failure{error: errors.New("--confirm has nobody to ask: SSH_ASKPASS names no program, and the agent runs a command or has no terminal"),
			hint: "Set SSH_ASKPASS to a program such as ssh-askpass"}
	}
	return func(ctx context.Context, q agent.Question) error {
		ctx, cancel := context.WithTimeout(ctx, confirmPatience)
		defer cancel()
		return ask(ctx, questionText(q))
	}, nil
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
	cmd.Env = append(without(os.Environ(), func(name string) bool { return host.IsSecret(name) || slices.Contains(o.secrets, name) }), "SSH_ASKPASS_PROMPT=confirm")
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
