// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/notation-pkcs11/notation-pkcs11/cmd/internal/hosted"
	"github.com/notation-pkcs11/notation-pkcs11/internal/auditlog"
	"github.com/notation-pkcs11/notation-pkcs11/plugin"
	"github.com/notation-pkcs11/notation-pkcs11/plugin/agent"
)

// The agent is two commands: the one that people type, and, where that one becomes
// another command, the agent's own process beside it.
const (
	agentName   = "agent"
	agentServer = "agent-server"
)

// Defaults of an agent without a command.
const (
	defaultLifetime = 8 * time.Hour
	defaultIdle     = 30 * time.Minute
)

// maxSessions bounds the sessions with a token, which grow with the signatures that
// wait, up to what the token states and grants.
const maxSessions = 32

// agentOrder is what an agent is to be.
type agentOrder struct {
	socket   string
	auditLog string
	lifetime time.Duration // 0: for ever
	idle     time.Duration // likewise
	sessions int
	confirm  bool
	settings []plugin.Settings // of the keys
	secrets  []string          // variables of the environment that hold their PINs
	command  []string          // nil: none
}

// agentFlags are the agent's own.
type agentFlags struct {
	socket, auditLog string
	lifetime, idle   time.Duration
	sessions         int
	confirm          bool
}

func agentCommand() *cobra.Command {
	cmd := newAgentCommand((*invocation).agent)
	cmd.Use = agentName + " KEY-URI... [-- COMMAND ARGUMENT...]"
	cmd.Short = "Keep keys open: one login for many signatures"
	cmd.Long = `Log in to tokens once and keep keys open for plugin processes, which use the agent
where the variable NOTATION_PKCS11_AGENT names its socket.

With a command, the agent opens the keys and then becomes the command, with
NOTATION_PKCS11_AGENT set and without the variables that hold the PIN. The agent
works beside the command and ends when the command does. This is the form for CI:
no agent outlives its job.

Without a command, the agent prints the line that sets the variable for a shell,
and serves until it is interrupted. It ends by itself after --lifetime (8h), or
when no signature was asked for during --idle (30m). At SIGHUP it logs out and lets
go of the tokens until the next signature.

The agent signs Notary payloads and nothing else, for processes of the same user
alone. A PIN that a token refused is never sent again. The agent reads no
certificates from files: the plugin does, from its own cert_chain.`
	cmd.Example = `  notation-pkcs11 agent 'pkcs11:token=Release;object=signing' --module /usr/lib/softhsm/libsofthsm2.so -- ./release.sh
  notation-pkcs11 agent 'pkcs11:token=Release;object=signing' --audit-log /var/log/signing.jsonl --lifetime 2h
  notation-pkcs11 agent 'pkcs11:token=Release;object=signing' 'pkcs11:token=Release;object=test' -- make release`
	return cmd
}

// agentServerCommand is the agent's process beside a command.
func agentServerCommand() *cobra.Command {
	cmd := newAgentCommand((*invocation).serveBesideCommand)
	cmd.Use, cmd.Hidden = agentServer, true
	return cmd
}

func newAgentCommand(run func(*invocation, context.Context, *agentFlags, []string) error) *cobra.Command {
	var f agentFlags
	cmd := tokenCommand(&cobra.Command{Args: cobra.ArbitraryArgs}, func(i *invocation, ctx context.Context, args []string) error {
		return run(i, ctx, &f, args)
	}, "cert_chain")
	cmd.Flags().Lookup("timeout").Usage = "how `long` the module may take for one signature (NOTATION_PKCS11_TIMEOUT; 60s if it isn't set)"
	cmd.Flags().StringVar(&f.socket, "socket", "", "`path` of the socket, in a directory of your own (a new one in $XDG_RUNTIME_DIR, or for temporary files)")
	cmd.Flags().DurationVar(&f.lifetime, "lifetime", 0, "end after this `time`, suspend included; 0 for never (8h without a command, never with one)")
	cmd.Flags().DurationVar(&f.idle, "idle", 0, "end after this `time` without a request; 0 for never (30m without a command, never with one)")
	cmd.Flags().StringVar(&f.auditLog, "audit-log", "", "append a line to this `file` for each signature before it is given out")
	cmd.Flags().IntVar(&f.sessions, "sessions", maxSessions, "how `many` sessions with a token are opened at most, each for one signature at a time")
	cmd.Flags().BoolVar(&f.confirm, "confirm", false, "ask before each signature, by the program that SSH_ASKPASS names, or without a command on the terminal")
	return cmd
}

// order checks the command line.
func (i *invocation) order(f *agentFlags, uris, command []string) (agentOrder, error) {
	o := agentOrder{socket: f.socket, auditLog: f.auditLog, lifetime: f.lifetime, idle: f.idle, sessions: f.sessions, confirm: f.confirm, command: command}
	switch {
	case len(uris) == 0:
		return o, fmt.Errorf("%s takes one or more PKCS#11 URIs, in quotes, such as 'pkcs11:token=LABEL;object=LABEL'", i.cmd.CommandPath())
	case f.lifetime < 0 || f.idle < 0:
		return o, errors.New("--lifetime and --idle are not negative")
	case f.sessions < 1 || f.sessions > maxSessions:
		return o, fmt.Errorf("--sessions %d is out of range; 1 to %d are possible", f.sessions, maxSessions)
	}
	for _, uri := range uris {
		s, err := i.settings(uri)
		if err != nil {
			return o, err
		}
		o.settings = append(o.settings, s)
	}
	// No module and no program that asks sees the PIN of any key.
	o.secrets = []string{"NOTATION_PKCS11_PIN"}
	for _, s := range o.settings {
		o.secrets = append(o.secrets, s.SecretEnv...)
	}
	for n := range o.settings {
		o.settings[n].SecretEnv = o.secrets
	}
	return o, nil
}

// agent starts an agent, and becomes the command if there is one.
func (i *invocation) agent(ctx context.Context, f *agentFlags, args []string) error {
	uris, command := args, []string(nil)
	if dash := i.cmd.ArgsLenAtDash(); dash >= 0 {
		uris, command = args[:dash], args[dash:]
		if len(command) == 0 {
			return errors.New("a command must follow --")
		}
	}
	if command == nil && becomesCommand(os.Args) { // such as --socket --, of a process that isn't closed to others
		return errors.New("-- is no value of a flag here: it comes before a command")
	}
	order, err := i.order(f, uris, command)
	if err != nil {
		return err
	}
	if err := agent.Check(); err != nil {
		return &failure{error: err}
	}
	if command != nil {
		return i.becomeCommand(ctx, order)
	}
	if !i.cmd.Flags().Changed("lifetime") {
		order.lifetime = defaultLifetime
	}
	if !i.cmd.Flags().Changed("idle") {
		order.idle = defaultIdle
	}
	return i.serveAlone(ctx, order)
}

// Exit codes of a command that could not be run, as shells have them.
const (
	exitNotExecutable = 126
	exitNotFound      = 127
)

// lookUpCommand finds a command's program.
func lookUpCommand(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err == nil {
		return path, nil
	}
	code := exitNotFound
	if errors.Is(err, os.ErrPermission) {
		code = exitNotExecutable
	}
	var failed *exec.Error // which names it again
	if errors.As(err, &failed) {
		err = failed.Err
	}
	return "", &failure{error: fmt.Errorf("the command %s can't be run: %w", strconv.QuoteToGraphic(name), err), code: code,
		hint: "No token was touched; correct the command after --"}
}

// without returns an environment without variables.
func without(environ []string, drop func(name string) bool) []string {
	return slices.DeleteFunc(slices.Clone(environ), func(variable string) bool { return drop(variableName(variable)) })
}

// openTokens opens the keys, those of one token with one login.
func (o agentOrder) openTokens(ctx context.Context, note func(auditlog.Entry) error) (tokens []*agent.Token, err error) {
	defer func() {
		if err != nil {
			for _, t := range tokens {
				t.Close()
			}
		}
	}()
	for n, s := range o.settings {
		if err := o.openKey(ctx, s, note, &tokens); err != nil {
			return tokens, &failure{error: err, settings: s, key: n}
		}
	}
	return tokens, nil
}

func (o agentOrder) openKey(ctx context.Context, s plugin.Settings, note func(auditlog.Entry) error, tokens *[]*agent.Token) error {
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	for _, t := range *tokens {
		if admitted, err := t.Admit(ctx, s); admitted || err != nil {
			return err
		}
	}
	vault, err := hosted.NewVault(s, o.sessions)
	if err != nil {
		return err
	}
	t, err := agent.OpenToken(ctx, vault, s, note)
	if err == nil {
		*tokens = append(*tokens, t)
	}
	return err
}
