// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/notation-pkcs11/notation-pkcs11/cmd/internal/hosted"
	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
	"github.com/notation-pkcs11/notation-pkcs11/plugin"
)

// askEachTime has a person asked for the PIN at each login, if --ask-pin says so.
func (i *invocation) askEachTime(o *agentOrder) error {
	if !o.askPIN {
		return nil
	}
	for _, s := range o.settings {
		if source := i.pinSource(s); source != "" {
			return fmt.Errorf("--ask-pin and %s are both set; use only one", source)
		}
	}
	path, err := o.asker("--ask-pin")
	if err != nil {
		return err
	}
	ask := hosted.PromptPINAgain
	if path != "" {
		secrets := *o
		ask = func(ctx context.Context, token pkcs11.TokenInfo) (pkcs11.PIN, error) {
			return secrets.pinByProgram(ctx, path, token)
		}
	}
	turn := make(chan struct{}, 1)
	for n := range o.settings {
		o.settings[n] = o.settings[n].WithPIN(oneAtATime(turn, ask), "the PIN that a person gave")
		o.settings[n].AskEachTime = true
	}
	return nil
}

// pinSource names what says where the PIN of a key is; empty: nothing does.
func (i *invocation) pinSource(s plugin.Settings) string {
	inURI, _ := s.URI.Value(pkcs11.AttrPINSource)
	switch {
	case inURI != "":
		return "the key URI's pin-source"
	case i.config()["pin_source"] != "":
		return "--pin-source"
	}
	for _, name := range []string{"NOTATION_PKCS11_PIN_SOURCE", "NOTATION_PKCS11_PIN"} {
		if os.Getenv(name) != "" {
			return "the environment variable " + name
		}
	}
	return ""
}

// oneAtATime has a person asked about one token at a time. No answer is an error that
// names no other source, but where the token has a PIN pad.
func oneAtATime(turn chan struct{}, ask pkcs11.PINFunc) pkcs11.PINFunc {
	return func(ctx context.Context, token pkcs11.TokenInfo) (pkcs11.PIN, error) {
		select {
		case turn <- struct{}{}:
			defer func() { <-turn }()
		case <-ctx.Done():
			return pkcs11.PIN{}, ctx.Err()
		}
		pin, err := ask(ctx, token)
		if pkcs11.IsKind(err, pkcs11.KindNoPIN) && !token.Has(pkcs11.FlagPINPad) {
			err = &pkcs11.Error{Kind: pkcs11.KindPINSource, Message: fmt.Sprintf("no PIN was given for the token %s", pkcs11.ShortURIs([]pkcs11.URI{token.URI()})[0])}
		}
		return pin, err
	}
}

// pinByProgram returns the line that the program prints. It is in one buffer.
func (o agentOrder) pinByProgram(ctx context.Context, path string, token pkcs11.TokenInfo) (pkcs11.PIN, error) {
	cmd := exec.CommandContext(ctx, path, fmt.Sprintf("PIN of the token %+q, serial number %+q:", token.Label, token.Serial))
	cmd.Env = o.programEnv("")
	cmd.WaitDelay = time.Second
	out, err := cmd.StdoutPipe()
	if err != nil {
		return pkcs11.PIN{}, err
	}
	if err := cmd.Start(); err != nil {
		return pkcs11.PIN{}, err
	}
	printed := make([]byte, 4<<10)
	whole := pkcs11.NewPIN(printed)
	_ = whole.Lock()                                       // which a limit may forbid
	defer context.AfterFunc(ctx, func() { out.Close() })() // its children may have it open
	n, read := io.ReadFull(out, printed)
	out.Close() // at which one that prints more ends
	line, _, _ := bytes.Cut(printed[:n], []byte("\n"))
	line = bytes.TrimSuffix(line, []byte("\r"))
	err = cmd.Wait()
	switch {
	case ctx.Err() != nil:
		err = ctx.Err()
	case read == nil:
		err = errors.New("the program that SSH_ASKPASS names printed too much for a PIN")
	case err != nil || len(line) == 0: // it was cancelled
		err = &pkcs11.Error{Kind: pkcs11.KindNoPIN, Message: "no PIN was given"}
	}
	if err != nil {
		whole.Wipe()
		return pkcs11.PIN{}, err
	}
	clear(printed[len(line):])
	return pkcs11.NewPIN(line), nil
}
