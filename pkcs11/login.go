// SPDX-License-Identifier: Apache-2.0

package pkcs11

import (
	"context"

	"github.com/miekg/pkcs11"
)

// UserTypeUser is the user type of a token's normal user (CKU_USER). Vendors
// have more, such as Luna's crypto user 0x80000001.
const UserTypeUser uint = pkcs11.CKU_USER

// PINFunc returns the PIN of a token. It is asked at most once for a key, but with
// KeyOptions.AskEachTime, and only when the token wants a login. An error of KindNoPIN means that there is
// none: the token's pin pad is used then, if it has one. Any other error ends
// the login. The PIN is wiped when the key is closed, at the latest.
type PINFunc func(ctx context.Context, token TokenInfo) (PIN, error)

// login is the one login of a key. It knows the PIN for as long as the key is
// open, for logins that follow a success: after a lost session, and for keys
// that want one for every signature.
type login struct {
	token *Token
	user  uint
	ask   PINFunc
	each  bool // ask for each login, and keep the PIN no longer than that

	asked  bool
	noPIN  error // of asking
	pin    PIN   // none: the token asks for it on its pin pad
	failed error // of a login: there is never another one after it
	done   bool  // there is something to log out of
}

// wanted follows the token's flags: nShield's accelerator slot, which requires
// no login, refuses one.
func (l *login) wanted() bool { return l.token.Has(FlagLoginRequired) }

// check refuses to touch a token that could be locked by one more try.
func (l *login) check() error { return l.token.checkTries(l.token.TokenInfo) }

// checkTries is check of what the token says of itself at another time.
func (t *Token) checkTries(info TokenInfo) error {
	switch {
	case info.Has(FlagPINLocked):
		return newError(KindPINLocked, "the PIN of the token %s is locked, so no login was attempted", t.ShortURI())
	case info.Has(FlagPINFinalTry):
		return newError(KindPINLocked, "the token %s has one PIN attempt left before its PIN is locked, so no login was attempted", t.ShortURI()).
			withTodo("Log in once with the vendor's tool and the right PIN")
	}
	return nil
}

// checkToken makes sure, before the PIN is sent to the slot once more, that the
// same token is in it, and that the PIN is none of its last tries. A token that
// wants no PIN is not looked at.
func (l *login) checkToken() error {
	if !l.wanted() {
		return nil
	}
	info, err := l.token.calls.tokenInfo(l.token.SlotID)
	if err != nil {
		return failed(err, "the module doesn't describe the token in the slot of the token %s any more", l.token.ShortURI())
	}
	now := newTokenInfo(l.token.SlotID, info)
	if now.Serial != l.token.Serial || now.Model != l.token.Model || now.Manufacturer != l.token.Manufacturer {
		tokens := []map[string]string{now.attributes(), l.token.attributes()}
		return newError(KindReplaced, "the token %s is in the slot of the token %s, which was opened",
			shortURI(tokens[0], tokens, tokenSets), shortURI(tokens[1], tokens, tokenSets))
	}
	return l.token.checkTries(now)
}

// obtain asks for the PIN, unless it is there.
func (l *login) obtain(ctx context.Context) error {
	if !l.asked {
		l.asked = true
		l.pin, l.noPIN = l.askPIN(ctx)
	}
	return l.noPIN
}

// spend forgets a PIN that is asked for again.
func (l *login) spend() {
	if l.each {
		l.pin.Wipe()
		l.pin, l.noPIN, l.asked = PIN{}, nil, false
	}
}

// prepareSignature asks for the PIN of the next logInForSignature, where it wasn't kept. A
// person may take their time, and mistype: the token is looked at before.
func (l *login) prepareSignature(ctx context.Context) error {
	if !l.each || l.asked || l.failed != nil {
		return l.failed
	}
	if err := l.checkToken(); err != nil {
		return err
	}
	return l.obtain(ctx)
}

func (l *login) askPIN(ctx context.Context) (PIN, error) {
	pin, err := PIN{}, error(newError(KindNoPIN, "none is configured"))
	if l.ask != nil {
		pin, err = l.ask(ctx, l.token.TokenInfo)
	}
	switch {
	case IsKind(err, KindNoPIN) && l.token.Has(FlagPINPad):
		return PIN{}, nil
	case IsKind(err, KindNoPIN):
		return PIN{}, newError(KindNoPIN, "no PIN for the token %s: %v", l.token.ShortURI(), err)
	case err == nil && len(pin.Reveal()) == 0:
		return PIN{}, newError(KindPINSource, "the PIN for the token %s is empty", l.token.ShortURI())
	case err == nil && pin.flaw() != "":
		defer pin.Wipe()
		return PIN{}, newError(KindPINSource, "the PIN for the token %s %s", l.token.ShortURI(), pin.flaw())
	}
	return pin, err
}

// logIn logs in to the token, if it wants that, on any of its sessions: the login
// holds for all of them (section 5.6).
func (l *login) logIn(ctx context.Context, s pkcs11.SessionHandle) error {
	if !l.wanted() {
		return nil
	}
	err := l.loginAs(ctx, s, l.user)
	l.done = l.done || err == nil
	return err
}

// out logs out what in logged in.
func (l *login) out(s pkcs11.SessionHandle) error {
	if !l.done {
		return nil
	}
	l.done = false
	return l.token.calls.logout(s)
}

// logInForSignature makes the context-specific login of CKA_ALWAYS_AUTHENTICATE, which
// belongs between C_SignInit and C_Sign (section 5.6). The PIN must have been
// obtained before, since no other call may stand between them.
func (l *login) logInForSignature(ctx context.Context, s pkcs11.SessionHandle) error {
	return l.loginAs(ctx, s, pkcs11.CKU_CONTEXT_SPECIFIC)
}

func (l *login) loginAs(ctx context.Context, s pkcs11.SessionHandle, user uint) error {
	defer l.spend()
	if l.failed != nil {
		return l.failed
	}
	if err := l.check(); err != nil {
		return err
	}
	if err := l.obtain(ctx); err != nil {
		return err
	}
	err := l.token.calls.login(s, user, l.pin.Reveal())
	if _, rv := returned(err); err == nil || rv == pkcs11.CKR_USER_ALREADY_LOGGED_IN {
		return nil
	}
	what := ""
	if suspicion := l.pin.suspicion(); suspicion != "" {
		what = " with a PIN that " + suspicion
	}
	l.failed = failed(err, "the login to the token %s failed%s", l.token.ShortURI(), what)
	return l.failed
}

// close forgets the PIN.
func (l *login) close() {
	l.pin.Wipe()
	l.pin, l.failed = PIN{}, newError(KindClosed, "the key is closed")
}
