// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"testing"

	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
)

// The return values of C_Login in these tests.
const (
	pinIncorrect  = 0xa0
	deviceError   = 0x30
	generalError  = 0x5
	deviceRemoved = 0x32
)

func loginError(rv uint) error {
	return &pkcs11.Error{Kind: pkcs11.KindCall, Call: "C_Login", RV: rv, Message: "the login failed"}
}

// The PIN is asked for once, and handed out to the same token for as long as nothing
// speaks against it.
func TestWhenThePINIsHandedOut(t *testing.T) {
	token := pkcs11.TokenInfo{Label: "T", Serial: "1", Model: "M", Manufacturer: "V"}
	counted := token
	counted.Flags = pkcs11.FlagPINCountLow
	other := token
	other.Serial = "2"
	type step struct {
		token  pkcs11.TokenInfo
		gets   bool
		opened error // what the opening is like
		signed error // and a signature after it
	}
	crash := &pkcs11.Error{Kind: pkcs11.KindCrash, Message: `the PKCS#11 module "m" ended its process in C_Login (signal: killed)`}
	for name, steps := range map[string][]step{
		"again and again":                         {{token, true, nil, nil}, {token, true, nil, nil}, {token, true, nil, nil}},
		"refused at once":                         {{token, true, loginError(pinIncorrect), nil}, {token, false, nil, nil}},
		"refused later":                           {{token, true, nil, nil}, {token, true, loginError(pinIncorrect), nil}, {token, false, nil, nil}, {token, false, nil, nil}},
		"refused for a signature":                 {{token, true, nil, loginError(pinIncorrect)}, {token, false, nil, nil}},
		"refused without a word":                  {{token, true, loginError(generalError), nil}, {token, false, nil, nil}},
		"the device fails":                        {{token, true, nil, nil}, {token, true, loginError(deviceError), nil}, {token, true, loginError(deviceRemoved), nil}, {token, true, nil, nil}},
		"another token":                           {{token, true, nil, nil}, {other, false, nil, nil}, {token, true, nil, nil}},
		"a login without an answer":               {{token, true, nil, nil}, {token, true, context.Canceled, nil}, {token, true, nil, nil}, {token, true, crash, nil}, {token, true, nil, nil}},
		"two of them":                             {{token, true, nil, nil}, {token, true, crash, nil}, {token, true, crash, nil}, {token, false, nil, nil}},
		"two of them, of signatures":              {{token, true, nil, crash}, {token, true, crash, nil}, {token, false, nil, nil}},
		"one, and the token counts it":            {{token, true, nil, nil}, {token, true, crash, nil}, {counted, false, nil, nil}},
		"the token counts what others did":        {{counted, true, nil, nil}, {counted, true, nil, nil}},
		"what fails after the login":              {{token, true, nil, nil}, {token, true, &pkcs11.Error{Kind: pkcs11.KindNoKey}, nil}, {token, true, crash, nil}, {token, true, nil, nil}},
		"a signature that crashes somewhere else": {{token, true, nil, &pkcs11.Error{Kind: pkcs11.KindCrash, Message: "in C_Sign"}}, {token, true, crash, nil}, {token, true, nil, nil}},
	} {
		t.Run(name, func(t *testing.T) {
			asked := 0
			k := &keeper{ask: func(context.Context, pkcs11.TokenInfo) (pkcs11.PIN, error) {
				asked++
				return pkcs11.NewPIN([]byte("1234")), nil
			}}
			for i, s := range steps {
				pin, err := k.hand(t.Context(), s.token)
				if got := err == nil; got != s.gets || got && string(pin.Reveal()) != "1234" {
					t.Fatalf("step %d: %v", i, err)
				}
				pin.Wipe() // as module hosts do
				if err != nil {
					k.opened(err)
					continue
				}
				k.opened(s.opened)
				if s.opened == nil {
					k.signed(s.signed)
				}
			}
			if asked != 1 {
				t.Errorf("the PIN was asked for %d times", asked)
			}
		})
	}
}

// Where there is no PIN the token's own pad asks, until it has refused what was
// typed.
func TestPINPadOfAToken(t *testing.T) {
	token := pkcs11.TokenInfo{Serial: "1"}
	none := &pkcs11.Error{Kind: pkcs11.KindNoPIN, Message: "none is configured"}
	k := &keeper{ask: func(context.Context, pkcs11.TokenInfo) (pkcs11.PIN, error) { return pkcs11.PIN{}, none }}
	for range 2 {
		if _, err := k.hand(t.Context(), token); !errors.Is(err, error(none)) {
			t.Errorf("error %v", err)
		}
		k.opened(nil)
	}
	if _, err := k.hand(t.Context(), token); !pkcs11.IsKind(err, pkcs11.KindNoPIN) {
		t.Errorf("error %v", err)
	}
	k.opened(loginError(pinIncorrect))
	if _, err := k.hand(t.Context(), token); pkcs11.IsKind(err, pkcs11.KindNoPIN) {
		t.Errorf("error %v", err)
	}
}

// Where each login asks, a person is asked again for as long as nothing speaks against
// another login, and never after a refusal. No PIN is kept.
func TestPersonIsAskedForEachLogin(t *testing.T) {
	token := pkcs11.TokenInfo{Label: "T", Serial: "1"}
	other := pkcs11.TokenInfo{Label: "T", Serial: "2"}
	crash := &pkcs11.Error{Kind: pkcs11.KindCrash, Message: "in C_Login"}
	cancelled := &pkcs11.Error{Kind: pkcs11.KindPINSource, Message: "no PIN was given"}
	var answer error
	asked := 0
	k := &keeper{each: true, ask: func(context.Context, pkcs11.TokenInfo) (pkcs11.PIN, error) {
		asked++
		return pkcs11.NewPIN([]byte("1234")), answer
	}}
	for i, s := range []struct {
		token          pkcs11.TokenInfo
		answer         error
		opened, signed error
		asks, gets     bool
	}{
		{token: token, asks: true, gets: true},
		{token: token, asks: true, gets: true},
		{token: other},
		{token: token, answer: cancelled, asks: true},
		{token: token, opened: crash, asks: true, gets: true}, // no answer of the token's
		{token: token, answer: cancelled, asks: true},         // which makes that no better
		{token: token, signed: loginError(pinIncorrect), asks: true, gets: true},
		{token: token},
		{token: token},
	} {
		before := asked
		answer = s.answer
		k.opening()
		pin, err := k.hand(t.Context(), s.token)
		if got := err == nil; got != s.gets || got && string(pin.Reveal()) != "1234" || (asked > before) != s.asks {
			t.Fatalf("step %d: %v, after %d questions", i, err, asked-before)
		}
		if err == nil {
			err = s.opened
		}
		k.opened(err)
		if i == 5 && k.unanswered != 1 {
			t.Errorf("%d logins without an answer", k.unanswered)
		}
		k.signed(s.signed)
		if k.pin.Reveal() != nil {
			t.Errorf("step %d: the PIN is kept", i)
		}
	}
}

// A login that is refused while a person is asked for another one ends that, too.
func TestRefusalWhileAPersonIsAsked(t *testing.T) {
	given := pkcs11.NewPIN([]byte("1234"))
	k := &keeper{each: true}
	k.ask = func(context.Context, pkcs11.TokenInfo) (pkcs11.PIN, error) {
		k.signed(loginError(pinIncorrect))
		return given, nil
	}
	if _, err := k.hand(t.Context(), pkcs11.TokenInfo{Serial: "1"}); err == nil || string(given.Reveal()) != "\x00\x00\x00\x00" {
		t.Errorf("handed out %q, error %v", given.Reveal(), err)
	}
}
