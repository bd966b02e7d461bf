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
	return promptPIN(ctx, token, false)
}

// PromptPINAgain is PromptPIN for a process that asks at any time: what was typed before
// the question is no PIN, and would cost one of the token's tries.
func PromptPINAgain(ctx context.Context, token pkcs11.TokenInfo) (pkcs11.PIN, error) {
	return promptPIN(ctx, token, true)
}

func promptPIN(ctx context.Context, token pkcs11.TokenInfo, discard bool) (pkcs11.PIN, error) {
	tty, err := openTerminal()
	if err != nil {
		return pkcs11.PIN{}, &pkcs11.Error{Kind: pkcs11.KindNoPIN, Message: "none is configured, and there is no terminal to prompt on"}
	}
	defer tty.Close()
	if _, err := term.GetState(tty.inputFd()); err != nil {
		return pkcs11.PIN{}, &pkcs11.Error{Kind: pkcs11.KindNoPIN, Message: "none is configured, and there is no terminal to prompt on"}
	}
	if discard {
		if err := tty.discardInput(); err != nil {
			return pkcs11.PIN{}, fmt.Errorf("what was typed before can't be told from a PIN: %w", err)
		}
	}
	alternative := ""
	if token.Has(pkcs11.FlagPINPad) {
		alternative = ", or only Enter for the token's own PIN pad"
	}
	fmt.Fprintf(tty, "PIN of the token %s, serial number %s%s: ", strconv.QuoteToGraphic(token.Label), strconv.QuoteToGraphic(token.Serial), alternative)

	secret, err := tty.readSecret(ctx)
	fmt.Fprintln(tty)
	switch {
	case ctx.Err() != nil:
		clear(secret)
		return pkcs11.PIN{}, ctx.Err()
	case err != nil || len(secret) == 0:
		return pkcs11.PIN{}, &pkcs11.Error{Kind: pkcs11.KindNoPIN, Message: "no PIN was typed"}
	}
	return pkcs11.NewPIN(secret), nil
}
