// SPDX-License-Identifier: Apache-2.0

package pkcs11

import (
	"errors"
	"fmt"
	"strings"

	"github.com/miekg/pkcs11"
)

// Kind says what went wrong, for a caller that decides on it.
type Kind string

// The kinds of errors. Those of KindCall carry the function and its CKR, those of
// KindAnswer the function.
const (
	KindURI          Kind = "uri"           // the URI is malformed, or doesn't select a private key
	KindConfig       Kind = "config"        // another setting is malformed
	KindModule       Kind = "module"        // the module can't be found or loaded
	KindUnsafe       Kind = "unsafe-module" // somebody else could have put the module there: it was not loaded
	KindNoDevice     Kind = "no-device"     // the module shows no token at all, or what it reaches them through is away
	KindBlankToken   Kind = "blank-token"   // it shows tokens, and none was ever initialized
	KindNoToken      Kind = "no-token"      // no token matches the URI
	KindTokens       Kind = "tokens"        // several tokens match it
	KindNoKey        Kind = "no-key"        // no private key matches it
	KindKeys         Kind = "keys"          // several private keys match it
	KindSameName     Kind = "same-name"     // several private keys match it, and no other URI selects one of them
	KindManyObjects  Kind = "many-objects"  // the token holds more objects than are read
	KindKey          Kind = "key"           // the key can never make such a signature (type, size, attributes)
	KindPublicKey    Kind = "public-key"    // the key's public half can't be learned from the token
	KindNotPermitted Kind = "not-permitted" // the key exists, but its attributes forbid this use
	KindExposed      Kind = "exposed"       // the token made a key that could leave it
	KindNoPIN        Kind = "no-pin"        // the token wants a PIN and there is none
	KindPINSource    Kind = "pin-source"    // the PIN can't be read from where it should be
	KindPINLocked    Kind = "pin-locked"    // the token's flags say final try or locked: it was not touched
	KindExists       Kind = "exists"        // an object of that name is on the token already
	KindMechanism    Kind = "mechanism"     // the token offers no mechanism for this signature
	KindNoMechanism  Kind = "no-mechanism"  // it knows none at all for keys of this type
	KindSignature    Kind = "signature"     // the token returned a signature that doesn't verify
	KindAnswer       Kind = "answer"        // a PKCS#11 function succeeded, with an answer that can't be
	KindCall         Kind = "call"          // a PKCS#11 function failed otherwise
	KindCrash        Kind = "crash"         // the process that held the module died
	KindResources    Kind = "resources"     // no process, thread, file or memory is left for the module
	KindTimeout      Kind = "timeout"       // the module did not answer in time
	KindProxy        Kind = "proxy"         // one of the modules behind p11-kit's proxy keeps it from answering
	KindClosed       Kind = "closed"        // the key or module was closed before
	KindReplaced     Kind = "replaced"      // another token is where the one was that was opened
)

// Error is the type of every error that this package and its host return on
// purpose. Its text holds no PIN. It survives the way through the host's pipe.
type Error struct {
	Kind    Kind   `json:"kind"`
	Message string `json:"message"`        // what failed, on which object; a sentence without its full stop
	Call    string `json:"call,omitempty"` // the PKCS#11 function, such as C_Login, where one failed
	RV      uint   `json:"rv,omitempty"`   // what it returned (CKR_…), CKR_OK where that is not the matter
	// More is what else is known, such as what the module printed: clauses that follow,
	// each after a semicolon.
	More string `json:"more,omitempty"`
	// Candidates are the URIs of what there is to choose from, the first ten.
	Candidates []string `json:"candidates,omitempty"`
	// Todo is what to do, where that depends on more than the kind: one imperative, a
	// sentence without its full stop.
	Todo string `json:"todo,omitempty"`
}

// Error returns the message, followed by the function and the CKR's name, what else is
// known, and the candidates.
func (e *Error) Error() string {
	text := e.Message
	switch {
	case e.Call == "":
	case e.RV == pkcs11.CKR_OK:
		text += fmt.Sprintf(" (%s)", e.Call)
	default:
		text += fmt.Sprintf(" (%s: %s)", e.Call, RVName(e.RV))
	}
	text += e.More
	switch len(e.Candidates) {
	case 0:
		return text
	case 1:
		return text + "; there is " + e.Candidates[0]
	}
	return text + "; there are " + strings.Join(e.Candidates, ", ")
}

// Is makes errors.Is(err, &Error{Kind: k}) true for every error of that kind.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Kind == e.Kind && t.Message == "" && t.Call == "" && t.RV == pkcs11.CKR_OK && t.Candidates == nil && t.More+t.Todo == ""
}

// IsKind reports whether err is, or wraps, an *Error of the kind.
func IsKind(err error, kind Kind) bool {
	return errors.Is(err, &Error{Kind: kind})
}

// newerNames are the names of return values that the binding doesn't know: those
// of PKCS#11 v3, and some of v2.40.
var newerNames = map[uint]string{
	0x1B:  "CKR_ACTION_PROHIBITED",
	0x140: "CKR_CURVE_NOT_SUPPORTED",
	0x201: "CKR_TOKEN_RESOURCE_EXCEEDED",
	0x202: "CKR_OPERATION_CANCEL_FAILED",
	0x203: "CKR_KEY_EXHAUSTED",
	0x204: "CKR_PENDING",
	0x205: "CKR_SESSION_ASYNC_NOT_SUPPORTED",
	0x209: "CKR_PARAMETER_SET_NOT_SUPPORTED",
}

// RVName returns the name of a PKCS#11 return value, such as
// "CKR_PIN_INCORRECT"; "CKR 0x80000123" for a vendor's own.
func RVName(rv uint) string {
	if name, known := newerNames[rv]; known {
		return name
	}
	// The binding keeps the names, but shows them only inside its error text.
	text := pkcs11.Error(rv).Error()
	if i := strings.LastIndex(text, "CKR_"); i >= 0 {
		return text[i:]
	}
	return fmt.Sprintf("CKR 0x%08X", rv)
}

func newError(kind Kind, format string, args ...any) *Error {
	return &Error{Kind: kind, Message: fmt.Sprintf(format, args...)}
}

// withCall returns e as the failure of a PKCS#11 function.
func (e *Error) withCall(call string, rv uint) *Error {
	e.Call, e.RV = call, rv
	return e
}

// With returns a copy of e whose message ends with the cause, as a clause.
func (e *Error) With(cause string) *Error {
	caused := *e
	if cause != "" {
		caused.Message += ": " + cause
	}
	return &caused
}

// withTodo returns e with what to do.
func (e *Error) withTodo(todo string) *Error {
	e.Todo = todo
	return e
}

// withCandidates returns e with what there is to choose from.
func (e *Error) withCandidates(uris []URI) *Error {
	const most = 10
	for i, u := range uris {
		if i == most {
			e.Candidates = append(e.Candidates, fmt.Sprintf("and %d more", len(uris)-most))
			break
		}
		e.Candidates = append(e.Candidates, u.String())
	}
	return e
}

// returned gives the CKR of an error of the calls, and the function.
func returned(err error) (call string, rv uint) {
	var failed *callError
	if errors.As(err, &failed) {
		return failed.call, failed.rv
	}
	return "", pkcs11.CKR_OK
}

// failed turns the error of a call into an *Error that says what it was for.
func failed(err error, format string, args ...any) *Error {
	var c *callError
	if errors.As(err, &c) && c.why != nil {
		return newError(KindAnswer, "%s: %v", fmt.Sprintf(format, args...), c.why).withCall(c.call, pkcs11.CKR_OK)
	}
	call, rv := returned(err)
	return newError(KindCall, format, args...).withCall(call, rv)
}

// asError returns err if it is an *Error already, and else as failed does.
func asError(err error, format string, args ...any) error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return failed(err, format, args...)
}
