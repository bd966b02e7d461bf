// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
)

// keeper keeps the PIN of one token for logins that follow the first one: in a new
// module host, after one died or the token was away. It hands it out as long as
// nothing speaks against it, and never again after a token has refused it. Where a
// person is asked each time, it keeps only what speaks against another login.
type keeper struct {
	ask  pkcs11.PINFunc
	each bool // ask for each login

	mu    sync.Mutex
	asked bool
	pin   pkcs11.PIN
	none  error // of asking: the token asks for it itself, on its pin pad
	token pkcs11.TokenInfo
	// refused is why the PIN is not handed out again.
	refused error
	// sent is true from when the PIN is handed out until it is known what became of
	// it; unanswered counts the logins in a row of which that is never known.
	sent       bool
	unanswered int
}

// hand is the pkcs11.PINFunc of module hosts. They wipe what they get.
func (k *keeper) hand(ctx context.Context, token pkcs11.TokenInfo) (pkcs11.PIN, error) {
	if k.each {
		return k.handAnew(ctx, token)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.refused != nil {
		return pkcs11.PIN{}, k.refused
	}
	if !k.asked {
		pin, err := k.ask(ctx, token)
		if err != nil && !pkcs11.IsKind(err, pkcs11.KindNoPIN) {
			return pkcs11.PIN{}, err
		}
		k.asked, k.pin, k.none, k.token = true, pin, err, token
		_ = k.pin.Lock() // which a limit may forbid
	}
	if err := k.check(token); err != nil {
		return pkcs11.PIN{}, err
	}
	k.sent = true
	if k.none != nil {
		return pkcs11.PIN{}, k.none
	}
	return pkcs11.NewPIN(slices.Clone(k.pin.Reveal())), nil
}

// handAnew hands out what a person says for this login. Nothing else waits meanwhile.
func (k *keeper) handAnew(ctx context.Context, token pkcs11.TokenInfo) (pkcs11.PIN, error) {
	if err := k.admit(token, false); err != nil {
		return pkcs11.PIN{}, err
	}
	pin, err := k.ask(ctx, token)
	if err != nil && !pkcs11.IsKind(err, pkcs11.KindNoPIN) {
		return pkcs11.PIN{}, err
	}
	if err := k.admit(token, true); err != nil { // another login was refused
		pin.Wipe()
		return pkcs11.PIN{}, err
	}
	return pin, err
}

// admit returns why a token may not get a PIN, and else notes whether it does.
func (k *keeper) admit(token pkcs11.TokenInfo, sent bool) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.refused != nil {
		return k.refused
	}
	if !k.asked {
		k.asked, k.token = true, token
	}
	if err := k.check(token); err != nil {
		return err
	}
	k.sent = k.sent || sent
	return nil
}

// check looks at the token that asks before it gets a PIN that another login had.
func (k *keeper) check(token pkcs11.TokenInfo) error {
	if token.Serial != k.token.Serial || token.Model != k.token.Model || token.Manufacturer != k.token.Manufacturer {
		short := pkcs11.ShortURIs([]pkcs11.URI{token.URI(), k.token.URI()})
		return &pkcs11.Error{Kind: pkcs11.KindReplaced, Message: fmt.Sprintf("the token %s is in the place of the token %s, to which the agent had logged in; no PIN was sent", short[0], short[1])}
	}
	counted := token.Has(pkcs11.FlagPINCountLow) || token.Has(pkcs11.FlagPINFinalTry) || token.Has(pkcs11.FlagPINLocked)
	if k.unanswered > 1 || k.unanswered > 0 && counted {
		k.refused = &pkcs11.Error{Kind: pkcs11.KindPINLocked, Message: fmt.Sprintf("a login to the token %s was never answered, so the PIN may be wrong, and the agent doesn't send it again", pkcs11.ShortURIs([]pkcs11.URI{k.token.URI()})[0]),
			Todo: "Check the PIN, then start the agent again"}
		return k.refused
	}
	return nil
}

// opening forgets that a PIN was handed out for a signature, of which signed learns.
func (k *keeper) opening() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.sent = false
}

// opened learns from the outcome of an opening.
func (k *keeper) opened(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	sent := k.sent
	k.sent = false
	var e *pkcs11.Error
	switch {
	case !sent, k.learn(err):
	case err == nil || errors.As(err, &e) && e.Kind != pkcs11.KindCrash && e.Kind != pkcs11.KindTimeout && e.Call != "C_Login":
		k.unanswered = 0 // the login was before that
	case e == nil || e.Call != "C_Login":
		k.unanswered++
	}
}

// signed learns from the outcome of a signature, for which a lost login may have
// been made again.
func (k *keeper) signed(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	var e *pkcs11.Error
	if k.learn(err) || !errors.As(err, &e) {
		return
	}
	if e.Kind == pkcs11.KindTimeout && strings.Contains(e.Call, "C_Login") || e.Kind == pkcs11.KindCrash && strings.Contains(e.Message, "in C_Login") {
		k.unanswered++
	}
}

// learn reports whether the token has refused the PIN.
func (k *keeper) learn(err error) bool {
	var e *pkcs11.Error
	if !errors.As(err, &e) || !refusesPIN(e) {
		return false
	}
	if k.refused == nil {
		again := *e
		again.Message = "the agent doesn't log in again, because the token refused the PIN before: " + e.Message
		again.Todo = "Start the agent again with the right PIN"
		k.refused = &again
		k.pin.Wipe()
	}
	return true
}

// passing are what C_Login returns without having judged the PIN.
var passing = []string{
	"CKR_DEVICE_ERROR", "CKR_DEVICE_REMOVED", "CKR_DEVICE_MEMORY", "CKR_HOST_MEMORY", "CKR_TOKEN_RESOURCE_EXCEEDED",
	"CKR_TOKEN_NOT_PRESENT", "CKR_TOKEN_NOT_RECOGNIZED", "CKR_SLOT_ID_INVALID",
	"CKR_SESSION_CLOSED", "CKR_SESSION_HANDLE_INVALID", "CKR_SESSION_COUNT",
	"CKR_CRYPTOKI_NOT_INITIALIZED", "CKR_OPERATION_ACTIVE", "CKR_FUNCTION_CANCELED",
}

// refusesPIN reports whether an error may be that of a wrong PIN. Tokens are known
// that answer one with CKR_USER_NOT_LOGGED_IN or CKR_GENERAL_ERROR.
func refusesPIN(e *pkcs11.Error) bool {
	return e.Kind == pkcs11.KindCall && e.Call == "C_Login" && !slices.Contains(passing, pkcs11.RVName(e.RV))
}

// forget wipes the PIN.
func (k *keeper) forget() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.pin.Wipe()
	k.asked, k.pin = true, pkcs11.PIN{}
	k.refused = &pkcs11.Error{Kind: pkcs11.KindClosed, Message: "the agent has ended"}
}
