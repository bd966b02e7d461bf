// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	contract "github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/wording"
)

// Some return values by number (PKCS#11 v2.40, pkcs11t.h), as a module gives them.
const (
	ckrHostMemory              = 0x02
	ckrGeneralError            = 0x05
	ckrKeyFunctionNotPermitted = 0x68
	ckrDeviceError             = 0x30
	ckrDeviceMemory            = 0x31
	ckrDeviceRemoved           = 0x32
	ckrPINIncorrect            = 0xa0
	ckrPINInvalid              = 0xa1
	ckrPINLenRange             = 0xa2
	ckrPINExpired              = 0xa3
	ckrPINLocked               = 0xa4
	ckrSessionCount            = 0xb1
	ckrTokenNotPresent         = 0xe0
	ckrUserPINNotInitialized   = 0x102
	ckrUserTypeInvalid         = 0x103
	ckrFunctionRejected        = 0x200
	ckrSlotIDInvalid           = 0x3
	ckrVendor                  = 0x80000123
)

func TestCodeOfEachError(t *testing.T) {
	call := func(rv uint) *pkcs11.Error { return &pkcs11.Error{Kind: pkcs11.KindCall, Call: "C_Sign", RV: rv} }
	kind := func(k pkcs11.Kind) *pkcs11.Error { return &pkcs11.Error{Kind: k} }
	for _, test := range []struct {
		code   contract.ErrorCode
		errors []*pkcs11.Error
	}{
		{contract.ErrorCodeValidation, []*pkcs11.Error{
			kind(pkcs11.KindURI), kind(pkcs11.KindConfig), kind(pkcs11.KindModule), kind(pkcs11.KindNoToken),
			kind(pkcs11.KindBlankToken), kind(pkcs11.KindSameName), kind(pkcs11.KindManyObjects),
			kind(pkcs11.KindTokens), kind(pkcs11.KindNoKey), kind(pkcs11.KindKeys), kind(pkcs11.KindKey), kind(pkcs11.KindExists),
		}},
		{contract.ErrorCodeAccessDenied, []*pkcs11.Error{
			kind(pkcs11.KindNotPermitted), kind(pkcs11.KindExposed), kind(pkcs11.KindNoPIN), kind(pkcs11.KindPINSource), kind(pkcs11.KindPINLocked),
			call(ckrPINIncorrect), call(ckrPINInvalid), call(ckrPINLenRange), call(ckrPINExpired), call(ckrPINLocked),
			call(ckrUserPINNotInitialized), call(ckrUserTypeInvalid), call(ckrKeyFunctionNotPermitted), call(ckrFunctionRejected),
		}},
		{contract.ErrorCodeTimeout, []*pkcs11.Error{kind(pkcs11.KindTimeout), kind(pkcs11.KindProxy)}},
		{contract.ErrorCodeThrottled, []*pkcs11.Error{kind(pkcs11.KindResources), call(ckrSessionCount), call(ckrHostMemory), call(ckrDeviceMemory)}},
		{contract.ErrorCodeGeneric, []*pkcs11.Error{
			kind(pkcs11.KindPublicKey), kind(pkcs11.KindNoMechanism), kind(pkcs11.KindMechanism), kind(pkcs11.KindNoDevice), kind(pkcs11.KindSignature), kind(pkcs11.KindCrash), kind(pkcs11.KindClosed),
			call(ckrGeneralError), call(ckrDeviceError), call(ckrDeviceRemoved), call(ckrTokenNotPresent), call(ckrSlotIDInvalid), call(ckrVendor), call(0),
		}},
	} {
		for _, failed := range test.errors {
			t.Run(fmt.Sprintf("%s %s", failed.Kind, pkcs11.RVName(failed.RV)), func(t *testing.T) {
				failed.Message = "the cause"
				checkError(t, Translate(fmt.Errorf("wrapped: %w", failed), Settings{}), test.code, "wrapped: the cause")
			})
		}
	}
}

func TestMessagesSayWhatFailedAndWhatToDo(t *testing.T) {
	s := Settings{Timeout: time.Minute, pinFrom: "the environment variable NOTATION_PKCS11_PIN"}
	for _, test := range []struct {
		err  error
		code contract.ErrorCode
		want string
	}{
		{
			&pkcs11.Error{Kind: pkcs11.KindCall, Message: "the login to the token pkcs11:token=T failed", Call: "C_Login", RV: ckrPINIncorrect},
			contract.ErrorCodeAccessDenied,
			"the login to the token pkcs11:token=T failed: the token refused the PIN, which was tried once and not again (C_Login: CKR_PIN_INCORRECT). " +
				"Check the environment variable NOTATION_PKCS11_PIN before the token locks.",
		},
		{
			&pkcs11.Error{Kind: pkcs11.KindCall, Message: "the token pkcs11:token=T opens no session", Call: "C_OpenSession", RV: ckrSessionCount},
			contract.ErrorCodeThrottled,
			"the token pkcs11:token=T opens no session: the token has no session left (C_OpenSession: CKR_SESSION_COUNT). " +
				"End other programs that use the token, or try again later.",
		},
		{
			&pkcs11.Error{Kind: pkcs11.KindCall, Message: "the key can't sign", Call: "C_Sign", RV: ckrVendor},
			contract.ErrorCodeGeneric,
			"the key can't sign (C_Sign: CKR 0x80000123). " +
				"Look the code up in the vendor's documentation, or set NOTATION_PKCS11_LOG=/path/to/file.",
		},
		{
			&pkcs11.Error{Kind: pkcs11.KindTimeout, Message: "the module didn't answer", Call: "C_Sign"},
			contract.ErrorCodeTimeout,
			"the module didn't answer (C_Sign). " +
				"Check that the HSM can be reached, or raise the plugin config timeout or NOTATION_PKCS11_TIMEOUT.",
		},
		{
			fmt.Errorf("open the key: %w", context.DeadlineExceeded),
			contract.ErrorCodeTimeout,
			"not finished within 1m0s: open the key: context deadline exceeded. " +
				"Check that the HSM can be reached, or raise the plugin config timeout or NOTATION_PKCS11_TIMEOUT.",
		},
		{
			fmt.Errorf("open the key: %w", &pkcs11.Error{Kind: pkcs11.KindNoToken, Message: "no token matches", Candidates: []string{"pkcs11:token=A"}, Todo: "Use pkcs11:token=A"}),
			contract.ErrorCodeValidation,
			"open the key: no token matches; there is pkcs11:token=A. Use pkcs11:token=A.",
		},
		{
			&pkcs11.Error{Kind: pkcs11.KindPINSource, Message: "the PIN source env:PIN is empty or not set"},
			contract.ErrorCodeAccessDenied,
			"the PIN source env:PIN is empty or not set",
		},
		{
			fmt.Errorf("the chain: %w", advised{contract.NewValidationError("a certificate is missing"), "Get the certificate"}),
			contract.ErrorCodeValidation,
			"the chain: a certificate is missing. Get the certificate.",
		},
		{
			contract.NewError(contract.ErrorCodeThrottled, "slow down"),
			contract.ErrorCodeThrottled,
			"slow down",
		},
		{
			fmt.Errorf("sign: %w", contract.NewError(contract.ErrorCodeThrottled, `slow "down"`)),
			contract.ErrorCodeThrottled,
			`sign: slow "down"`,
		},
		{
			errors.New("something else"),
			contract.ErrorCodeGeneric,
			"something else",
		},
	} {
		err := Translate(test.err, s)
		checkError(t, err, test.code)
		if got := err.(*contract.Error).Message; got != test.want {
			t.Errorf("got:\n%s\nwant:\n%s", got, test.want)
		}
	}
	if err := Translate(nil, s); err != nil {
		t.Errorf("got %v of no error", err)
	}
}

// For people who read no contract, what failed and what to do come apart.
func TestExplanationIsTheMessageInTwoParts(t *testing.T) {
	s := Settings{Timeout: time.Minute, pinFrom: "what was typed"}
	for _, test := range []struct {
		err        error
		what, todo string
	}{
		{&pkcs11.Error{Kind: pkcs11.KindCall, Message: "the login failed", Call: "C_Login", RV: ckrPINIncorrect},
			"the login failed: the token refused the PIN, which was tried once and not again (C_Login: CKR_PIN_INCORRECT)", "Check what was typed before the token locks"},
		{context.DeadlineExceeded, "not finished within 1m0s: context deadline exceeded", ofKind[pkcs11.KindTimeout].todo},
		{contract.NewValidationError("a sentence"), "a sentence", ""},
		{errors.New("\x1b[2J"), `\x1b[2J`, ""},
	} {
		if what, todo := Explain(test.err, s); what != test.what || todo != test.todo {
			t.Errorf("got %q, %q, want %q, %q", what, todo, test.what, test.todo)
		}
	}
}

// A name in the table that no return value has would never be found.
func TestTableOfReturnValuesHasRealNames(t *testing.T) {
	names := map[string]bool{}
	for rv := range uint(0x400) {
		names[pkcs11.RVName(rv)] = true
	}
	for _, table := range append(slices.Collect(maps.Values(ofFunction)), ofReturnValue) {
		for name := range table {
			if !names[name] {
				t.Errorf("%s is not a return value of PKCS#11", name)
			}
		}
	}
}

// Tokens answer a wrong PIN with nearly anything: an OpenPGP card with
// CKR_USER_NOT_LOGGED_IN, a CAC with CKR_GENERAL_ERROR. None may lead to another
// try of it.
func TestNoRefusalOfALoginAdvisesAnother(t *testing.T) {
	s := Settings{pinFrom: "the PIN source env:PIN"}
	for rv := range uint(0x400) {
		if rv == 0 {
			continue
		}
		name := pkcs11.RVName(rv)
		what, todo := Explain(&pkcs11.Error{Kind: pkcs11.KindCall, Message: "the login failed", Call: "C_Login", RV: rv}, s)
		if strings.Contains(strings.ToLower(todo), "try again") || strings.Contains(todo, "next time") {
			t.Errorf("%s: %s", name, todo)
		}
		if !judgesLogin(name) && (!strings.Contains(what, "one attempt used") || !strings.Contains(todo, "Check the PIN source env:PIN")) {
			t.Errorf("%s doesn't say that the PIN may be wrong: %s. %s", name, what, todo)
		}
	}
}

// The same return value has another cause in another function.
func TestAdviceFitsTheFunction(t *testing.T) {
	for _, test := range []struct {
		call  string
		rv    uint
		wants string
	}{
		{"C_Initialize", 0x07, "init_args"},
		{"C_GetAttributeValue", 0x07, "Update the vendor's module"},
		{"C_Initialize", ckrHostMemory, "its service"},
		{"C_OpenSession", ckrHostMemory, "no memory left"},
		{"C_GetSlotList", ckrDeviceError, "its service"},
		{"C_Sign", ckrDeviceError, "reports a fault"},
		{"C_Sign", 0x20, "doesn't sign such data"},
		{"C_GetAttributeValue", 0x20, "Look the code up"},
		{"C_GenerateKeyPair", 0x54, "doesn't generate keys"},
		{"C_SignInit", 0x54, "lacks this function"},
	} {
		what, todo := Explain(&pkcs11.Error{Kind: pkcs11.KindCall, Message: "it failed", Call: test.call, RV: test.rv}, Settings{})
		if !strings.Contains(what+". "+todo, test.wants) {
			t.Errorf("%s: %s: %s. %s", test.call, pkcs11.RVName(test.rv), what, todo)
		}
	}
}

// The cause is part of the error, and the hint is short.
func TestAdviceHasItsForm(t *testing.T) {
	all := []advice{ofOtherValue, ofNoValue, ofLogin}
	all = slices.AppendSeq(all, maps.Values(ofKind))
	all = slices.AppendSeq(all, maps.Values(ofReturnValue))
	for _, table := range ofFunction {
		all = slices.AppendSeq(all, maps.Values(table))
	}
	for _, a := range all {
		failed := (&pkcs11.Error{Message: "it failed"}).With(a.cause).Error()
		if flaws := wording.Pair(failed, a.todo); len(flaws) > 0 || a.code == "" || strings.Contains(a.cause, ". ") {
			t.Errorf("%s %q %q: %s", a.code, a.cause, a.todo, strings.Join(flaws, "; "))
		}
	}
}

// checkError checks that an error is the contract's, has the code, and that its
// message has all the phrases.
func checkError(tb testing.TB, err error, code contract.ErrorCode, phrases ...string) {
	tb.Helper()
	if a := (advised{}); errors.As(err, &a) {
		err = Translate(err, Settings{})
	}
	var failed *contract.Error
	if !errors.As(err, &failed) {
		tb.Fatalf("got the error %v, want one of the contract", err)
	}
	if failed.ErrCode != code {
		tb.Errorf("got the code %s, want %s; message: %s", failed.ErrCode, code, failed.Message)
	}
	for _, phrase := range phrases {
		if !strings.Contains(failed.Message, phrase) {
			tb.Errorf("the message lacks %q: %s", phrase, failed.Message)
		}
	}
}
