// SPDX-License-Identifier: Apache-2.0

package hosted

import (
	"context"
	"fmt"
	"strconv"

	"golang.org/x/term"

	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
)

// PromptPIN asks for a token's PIN on the controlling terminal, without echo:
// stdin belongs to the plugin's protocol. Where there is no terminal, or nobody
// in front of it, the error is of pkcs11.KindNoPIN.
func PromptPIN(ctx context.Context, token pkcs11.TokenInfo) (pkcs11.PIN, error) {
	tty, err := openTerminal()
	if err != nil {
		return pkcs11.PIN{}, &pkcs11.Error{Kind: pkcs11.KindNoPIN, Message: "none is configured, and there is no terminal to prompt on"}
	}
	defer tty.Close()
	state, err := term.GetState(tty.inputFd())
	if err != nil {
		return pkcs11.PIN{}, &pkcs11.Error{Kind: pkcs11.KindNoPIN, Message: "none is configured, and there is no terminal to prompt on"}
	}
	alternative := ""
	if token.Has(pkcs11.FlagPINPad) {
		alternative = ", or only Enter for the token's own PIN pad"
	}
	fmt.Fprintf(tty, "PIN of the token %s, serial number %s%s: ", strconv.QuoteToGraphic(token.Label), strconv.QuoteToGraphic(token.Serial), alternative)

	type typed struct {
		secret []byte
		err    error
	}
	done := make(chan typed, 1)
	go func() { // can't be interrupted, but ends with the process
		secret, err := tty.readSecret()
		done <- typed{secret, err}
	}()
	select {
	case <-ctx.Done():
		term.Restore(tty.inputFd(), state)
		fmt.Fprintln(tty)
		return pkcs11.PIN{}, ctx.Err()
	case answer := <-done:
		fmt.Fprintln(tty)
		if answer.err != nil || len(answer.secret) == 0 {
			return pkcs11.PIN{}, &pkcs11.Error{Kind: pkcs11.KindNoPIN, Message: "no PIN was typed"}
		}
		return pkcs11.NewPIN(answer.secret), nil
	}
}
