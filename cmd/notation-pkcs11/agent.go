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
	"strings"
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

// agentFlags are the agent's own.
type agentFlags struct {
	socket, auditLog string
	lifetime, idle   time.Duration // 0: for ever
	sessions         int
	confirm, askPIN  bool
}

// agentOrder is what an agent is to be.
type agentOrder struct {
	agentFlags
	settings []plugin.Settings // of the keys
	secrets  []string          // variables of the environment that hold their PINs
	command  []string          // nil: none
}

func agentCommand() *cobra.Command {
	cmd := newAgentCommand((*invocation).agent)
	cmd.Use = agentName + " URI... [flags] [-- COMMAND [ARGUMENT...]]"
	cmd.Short = "Keep keys open: one login for many signatures"
	cmd.Long = `Log in to tokens once and keep keys open for plugin processes. The plugin uses the
agent if the variable NOTATION_PKCS11_AGENT names the agent's socket.

With a command, the agent opens the keys and then runs the command in its own
process, with NOTATION_PKCS11_AGENT set and without the variables that hold the PIN.
The agent serves in a process beside the command and ends with it. Use this form in
CI: no agent outlives its job.

Without a command, the agent prints the line that sets the variable in a shell, and
serves until you interrupt it. The agent ends after --lifetime (8h), or after --idle
without a request (30m). At SIGHUP, the agent logs out and unloads the module until
the next signature.

The agent signs only Notary Project payloads, and only for processes of the same
user. A PIN that a token refused is never sent again. The plugin reads its own
cert_chain; the agent reads only the one in NOTATION_PKCS11_CERT_CHAIN.

With a command, the exit status is the command's own; it is 127 if the command is not
found, and 126 if it can't be run. Flags of the agent come before the --.`
	cmd.Example = `  notation-pkcs11 agent 'pkcs11:token=Release;object=signing' --module /usr/lib/softhsm/libsofthsm2.so -- ./release.sh
  notation-pkcs11 agent 'pkcs11:token=Release;object=signing' --audit-log /var/log/signing/audit.log --lifetime 2h
  notation-pkcs11 agent 'pkcs11:token=Release;object=signing' 'pkcs11:token=Release;object=nightly' -- make release`
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
	cmd.Flags().Lookup("timeout").Usage = "`DURATION` that the module may take for one signature (default: $NOTATION_PKCS11_TIMEOUT, then 60s)"
	cmd.Flags().StringVar(&f.socket, "socket", "", "`PATH` of the socket, in a directory of mode 0700 that you own (default: a new one below $XDG_RUNTIME_DIR or the temporary directory)")
	cmd.Flags().DurationVar(&f.lifetime, "lifetime", 0, "end after this `DURATION`, time in suspend included; 0 is never (default: 8h, with a command never)")
	cmd.Flags().DurationVar(&f.idle, "idle", 0, "end after this `DURATION` without a request; 0 is never (default: 30m, with a command never)")
	cmd.Flags().StringVar(&f.auditLog, "audit-log", "", "append a line to `FILE` for each signature, before the signature is given out")
	cmd.Flags().IntVar(&f.sessions, "sessions", maxSessions, "open at most `N` sessions with a token, each for one signature at a time")
	cmd.Flags().BoolVar(&f.confirm, "confirm", false, "ask before each signature, with the program that SSH_ASKPASS names; without a command, the agent can ask on the terminal")
	cmd.Flags().BoolVar(&f.askPIN, "ask-pin", false, "keep no PIN: ask at each login, as --confirm asks; a key with CKA_ALWAYS_AUTHENTICATE logs in for each signature (default: ask once and keep the PIN)")
	return cmd
}

// order checks the command line.
func (i *invocation) order(f *agentFlags, uris, command []string) (agentOrder, error) {
	o := agentOrder{agentFlags: *f, command: command}
	switch {
	case len(uris) == 0:
		return o, fmt.Errorf("%s takes one or more PKCS#11 URIs, in quotes, such as 'pkcs11:token=LABEL;object=LABEL'", i.cmd.CommandPath())
	case command == nil && len(uris) > 1 && !strings.HasPrefix(strings.ToLower(uris[len(uris)-1]), "pkcs11:"):
		return o, fmt.Errorf("%s is not a PKCS#11 URI; put -- before a command", strconv.QuoteToGraphic(uris[len(uris)-1]))
	case f.lifetime < 0 || f.idle < 0:
		return o, errors.New("--lifetime and --idle must not be negative; use 0 for no limit")
	case f.sessions < 1 || f.sessions > maxSessions:
		return o, fmt.Errorf("--sessions %d is out of range; use 1 to %d", f.sessions, maxSessions)
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
	return o, i.askEachTime(&o)
}

// agent starts an agent, and becomes the command if there is one.
func (i *invocation) agent(ctx context.Context, f *agentFlags, args []string) error {
	uris, command := args, []string(nil)
	if dash := i.cmd.ArgsLenAtDash(); dash >= 0 {
		uris, command = args[:dash], args[dash:]
		if len(command) == 0 {
			return errors.New("no command follows --; add one, or remove --")
		}
	}
	if command == nil && becomesCommand(os.Args) { // such as --socket --, of a process that isn't closed to others
		return errors.New("-- is no value of a flag; use it only before a command")
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
		hint: "Correct the command after --"}
}

// without returns an environment without variables.
func without(environ []string, drop func(name string) bool) []string {
	return slices.DeleteFunc(slices.Clone(environ), func(variable string) bool { return drop(variableName(variable)) })
}

// openTokens opens the keys, those of one token with one login. With an error it
// returns those that are open.
func (o agentOrder) openTokens(ctx context.Context, note func(auditlog.Entry) error) (tokens []*agent.Token, err error) {
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
