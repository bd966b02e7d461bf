// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/notation-pkcs11/notation-pkcs11/internal/auditlog"
	"github.com/notation-pkcs11/notation-pkcs11/plugin"
	"github.com/notation-pkcs11/notation-pkcs11/plugin/agent"
)

// agentResult is the JSON of the command agent, without a command.
type agentResult struct {
	// Variable is to be set to Socket.
	Variable string   `json:"variable"`
	Socket   string   `json:"socket"`
	PID      int      `json:"pid"`
	Keys     []string `json:"keys"` // their URIs
}

// running is an agent whose keys are open and whose socket listens.
type running struct {
	order  agentOrder
	socket *agent.Socket
	server *agent.Server
	log    *auditlog.Log
}

// start makes the socket, opens the log and then the keys: what is wrong with the
// first two is said before a PIN is asked for.
func (o agentOrder) start(ctx context.Context, socket *agent.Socket) (_ *running, err error) {
	r := &running{order: o, socket: socket, server: &agent.Server{Version: version, Timeout: o.settings[0].Timeout}}
	defer func() {
		if err != nil {
			r.close()
		}
	}()
	if o.confirm {
		if r.server.Confirm, err = o.confirmer(); err != nil {
			return nil, err
		}
	}
	if r.socket == nil {
		if r.socket, err = agent.Listen(o.socket); err != nil {
			return nil, &failure{error: err}
		}
	}
	if o.auditLog != "" {
		if r.log, err = auditlog.Open(o.auditLog); err != nil {
			return nil, &failure{error: err}
		}
		r.server.Log = r.log
	}
	if r.server.Tokens, err = o.openTokens(ctx, r.append); err != nil {
		if errors.Is(err, context.Canceled) && ctx.Err() != nil {
			err = fail(fmt.Errorf("interrupted: %w", context.Cause(ctx)), o.settings[0])
		}
		if plugin.IsLoginFailure(err) {
			r.note(auditlog.LoginFailure, err.Error())
		}
		return nil, err
	}
	if err := r.note(auditlog.Start, strings.Join(r.server.Names(), ", ")); err != nil {
		return nil, &failure{error: err}
	}
	return r, nil
}

func (r *running) note(event auditlog.Event, reason string) error {
	return r.append(auditlog.Entry{Event: event, Reason: reason})
}

// append writes a line to the log, if there is one.
func (r *running) append(e auditlog.Entry) error {
	if r.log == nil {
		return nil
	}
	_, err := r.log.Append(e)
	return err
}

func (r *running) close() {
	r.server.CloseTokens()
	if r.socket != nil {
		r.socket.Close() // what it says comes too late
	}
	if r.log != nil {
		r.log.Close()
	}
}

// serve serves until ctx ends. Where the agent's time is over, expired is called
// with the reason.
func (r *running) serve(ctx context.Context, expired func(reason string)) error {
	defer r.close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	go func() {
		for range hangups {
			r.server.Release()
		}
	}()
	go r.order.limits().watch(ctx, r.server, func(reason string) {
		r.note(auditlog.End, reason)
		expired(reason)
	})
	err := r.server.Serve(ctx, r.socket.UnixListener)
	r.note(auditlog.End, "the agent ended")
	return err
}

// serveAlone serves in this process.
func (i *invocation) serveAlone(ctx context.Context, o agentOrder) error {
	socket, err := agent.Inherit()
	if err != nil {
		return &failure{error: err}
	}
	if socket != nil && o.socket != "" {
		socket.Close()
		return errors.New("--socket is set, and the service manager passes a socket; remove --socket")
	}
	r, err := o.start(ctx, socket)
	if err != nil {
		return err
	}
	if err := i.announce(r); err != nil {
		r.close()
		return unsaid("", err)
	}
	ctx, end := context.WithCancel(ctx)
	defer end()
	err = r.serve(ctx, func(reason string) {
		r.server.Expire(reason)
		i.notes().note("%s, so it ends", reason)
		end()
	})
	if err != nil {
		return &failure{error: fmt.Errorf("the agent can't listen any more: %w", err)}
	}
	return nil
}

// announce prints how clients find the agent.
func (i *invocation) announce(r *running) error {
	if i.format == formatJSON {
		return i.screen().json(agentResult{Variable: agent.Variable, Socket: r.socket.Path, PID: os.Getpid(), Keys: r.server.URIs()})
	}
	_, err := fmt.Fprintf(i.screen(), "export %s=%s\n", agent.Variable, shellQuote(r.socket.Path))
	return err
}
