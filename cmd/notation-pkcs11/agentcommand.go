// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/notation-pkcs11/notation-pkcs11/cmd/internal/companion"
	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
	"github.com/notation-pkcs11/notation-pkcs11/pkcs11/host"
	"github.com/notation-pkcs11/notation-pkcs11/plugin"
	"github.com/notation-pkcs11/notation-pkcs11/plugin/agent"
)

// becomesCommand reports whether a process with these arguments becomes another
// command, so that its limits and its open files are the caller's.
func becomesCommand(args []string) bool {
	return len(args) > 1 && args[1] == agentName && slices.Contains(args, "--")
}

// isAgentServer reports whether a process is an agent beside a command.
func isAgentServer(args []string) bool { return len(args) > 1 && args[1] == agentServer }

func variableName(variable string) string {
	name, _, _ := strings.Cut(variable, "=")
	return name
}

// pinQuestion is what the agent beside a command asks: the PIN of a token, for a key.
type pinQuestion struct {
	Key   int              `json:"key"` // its number on the command line
	Token pkcs11.TokenInfo `json:"token"`
}

// agentFailure is why it doesn't start, for the person at the terminal.
type agentFailure struct {
	Key   int           `json:"key"` // the number of the key that failed
	Error *pkcs11.Error `json:"error,omitempty"`
	What  string        `json:"what,omitempty"` // where it is no pkcs11.Error
	Hint  string        `json:"hint,omitempty"`
	Code  int           `json:"code"`
}

// failure is that of the person's command, who knows where the PIN is from.
func (f agentFailure) failure(o agentOrder) error {
	told := &failure{hint: f.Hint, code: f.Code}
	switch {
	case f.Error == nil:
		told.error = errors.New(f.What)
	case f.Key >= 0 && f.Key < len(o.settings):
		told.error, told.settings = f.Error, o.settings[f.Key]
	default:
		told.error = f.Error
	}
	return told
}

// becomeCommand starts the agent beside this process, which asks for PINs where
// they are to be asked for, and then becomes the command.
func (i *invocation) becomeCommand(ctx context.Context, o agentOrder) error {
	path, err := lookUpCommand(o.command[0])
	if err != nil {
		return err
	}
	if o.confirm { // before a PIN is asked for
		if _, err := o.confirmer(); err != nil {
			return err
		}
	}
	mayDumpCore := host.HoldCores()
	host.EraseEnv(o.secrets...)
	socket, err := companion.Start(ctx, companion.Config{
		Args:   i.serverArguments(o),
		Env:    without(os.Environ(), func(name string) bool { return host.IsSecret(name) || slices.Contains(o.secrets, name) }),
		Answer: func(question []byte) (answer, refusal []byte) { return o.answerPIN(ctx, question) },
	})
	var failed *companion.FailedError
	switch {
	case errors.As(err, &failed):
		var f agentFailure
		if err := json.Unmarshal(failed.Document, &f); err != nil {
			return &failure{error: err}
		}
		return f.failure(o)
	case errors.Is(err, context.Canceled) && ctx.Err() != nil:
		return &failure{error: fmt.Errorf("interrupted: %w", context.Cause(ctx))}
	case err != nil:
		return &failure{error: fmt.Errorf("the agent can't be started: %w", err)}
	}
	restoreSignals()
	mayDumpCore()
	environ := append(without(os.Environ(), func(name string) bool { return name == agent.Variable || slices.Contains(o.secrets, name) }), agent.Variable+"="+string(socket))
	err = companion.Become(path, o.command, environ)
	return &failure{error: fmt.Errorf("the command %q can't be run: %w", path, err), code: exitNotExecutable}
}

// serverArguments are those of the agent's own process: the same flags and keys.
func (i *invocation) serverArguments(o agentOrder) []string {
	args := []string{agentServer}
	i.cmd.Flags().Visit(func(f *pflag.Flag) {
		args = append(args, "--"+f.Name+"="+f.Value.String())
	})
	args = append(args, "--")
	for _, s := range o.settings {
		args = append(args, s.URI.String())
	}
	return args
}

// answerPIN reads or asks for a PIN.
func (o agentOrder) answerPIN(ctx context.Context, question []byte) (answer, refusal []byte) {
	var q pinQuestion
	err := json.Unmarshal(question, &q)
	if err == nil && (q.Key < 0 || q.Key >= len(o.settings)) {
		err = errors.New("the agent asks for the PIN of no key")
	}
	var pin pkcs11.PIN
	if err == nil {
		pin, err = o.settings[q.Key].PIN(ctx, q.Token)
	}
	if err != nil {
		return nil, encodeRefusal(err)
	}
	return pin.Reveal(), nil
}

// encodeRefusal writes an error as a document.
func encodeRefusal(err error) []byte {
	var e *pkcs11.Error
	if !errors.As(err, &e) {
		e = &pkcs11.Error{Kind: pkcs11.KindNoPIN, Message: err.Error()}
	}
	document, err := json.Marshal(e)
	if err != nil {
		return []byte("{}")
	}
	return document
}

// serveBesideCommand is the agent's own process. The parent has the terminal and the
// PINs.
func (i *invocation) serveBesideCommand(ctx context.Context, f *agentFlags, uris []string) error {
	c, err := companion.Inherited()
	if err != nil {
		return errors.New("this command is not for users: it serves a parent process that starts it itself")
	}
	err = i.serveFor(ctx, c, f, uris)
	if err != nil {
		document, encoding := json.Marshal(failureOf(err))
		if encoding != nil {
			return encoding
		}
		return errors.Join(&failure{error: err}, c.Fail(document))
	}
	return nil
}

func failureOf(err error) agentFailure {
	result := agentFailure{Code: exitUsage}
	var f *failure
	if errors.As(err, &f) {
		result.Code = max(f.code, exitFailed)
		err = f.error
	} else {
		f = &failure{}
	}
	result.Hint, result.Key = f.hint, f.key
	if !errors.As(err, &result.Error) {
		result.What, _ = plugin.Explain(err, f.settings)
	}
	return result
}

func (i *invocation) serveFor(ctx context.Context, c *companion.Companion, f *agentFlags, uris []string) error {
	o, err := i.order(f, uris, []string{})
	if err != nil {
		return err
	}
	for n := range o.settings {
		if o.askPIN { // which the parent, a command by then, can't
			break
		}
		ask := func(_ context.Context, token pkcs11.TokenInfo) (pkcs11.PIN, error) { return askParent(c, n, token) }
		o.settings[n] = o.settings[n].WithPIN(ask, pinOfAgent)
	}
	r, err := o.start(ctx, nil)
	if err != nil {
		return err
	}
	if err := c.Ready([]byte(r.socket.Path)); err != nil {
		r.close()
		return &failure{error: err} // there is nobody left to tell
	}
	ctx, end := context.WithCancel(ctx)
	defer end()
	go func() {
		c.AwaitParent()
		end()
	}()
	// The command goes on when the agent's time is over, and hears of it.
	r.serve(ctx, r.server.Expire)
	return nil
}

// pinOfAgent is the PIN in errors that plugins hear.
const pinOfAgent = "the PIN that the agent was started with"

// askParent has the parent ask for a PIN or read it.
func askParent(c *companion.Companion, key int, token pkcs11.TokenInfo) (pkcs11.PIN, error) {
	question, err := json.Marshal(pinQuestion{key, token})
	if err != nil {
		return pkcs11.PIN{}, err
	}
	answer, refusal, err := c.Ask(question)
	if err != nil {
		return pkcs11.PIN{}, err
	}
	if refusal != nil {
		var e pkcs11.Error
		if err := json.Unmarshal(refusal, &e); err != nil {
			return pkcs11.PIN{}, err
		}
		return pkcs11.PIN{}, &e
	}
	return pkcs11.NewPIN(answer), nil
}
