// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	contract "github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/notation-pkcs11/notation-pkcs11/testenv/faults"
)

// subject is a command whose module fails.
type subject struct {
	name    string
	args    []string                          // # stands for a number that no other run has
	request func() any                        // of a command of the plugin contract
	check   func(h *hsm, answer []byte) error // of what it answers when it worked
	only    []string                          // the functions that fail; nil: all that it calls
	rule    string                            // that is always in force
}

const wrongKey = "generate-key, of a key that is not sensitive"

var subjects = []subject{
	{name: "generate-signature", args: []string{"generate-signature"}, request: generate, check: (*hsm).checkSignature},
	{name: "describe-key", args: []string{"describe-key"}, request: describe, check: (*hsm).checkDescription},
	{name: "tokens", args: []string{"tokens"}, only: []string{"C_GetInfo", "C_GetSlotInfo"}, check: unchecked},
	{name: "generate-key", args: []string{"generate-key", "pkcs11:token=testenv;object=new-#", "--type", "ec:p256"},
		only: []string{"C_GenerateKeyPair"}, check: unchecked},
	{name: wrongKey, args: []string{"generate-key", "pkcs11:token=testenv;object=new-#", "--type", "ec:p256"},
		only: []string{"C_DestroyObject"}, check: unchecked, rule: "set-attribute private 0x103 00"}, // CKA_SENSITIVE
	{name: "self-sign --import", args: []string{"self-sign", signingKey, "--subject", "CN=Lab,O=testenv,ST=WA,C=US", "--days", "1", "--import"},
		only: []string{"C_CreateObject"}, check: unchecked},
}

// unchecked is for what is printed for people.
func unchecked(*hsm, []byte) error { return nil }

// isPlugin is whether notation calls the command.
func (s subject) isPlugin() bool { return s.request != nil }

func (s subject) order(number int) order {
	o := order{timeout: timeout}
	for _, arg := range s.args {
		o.args = append(o.args, strings.ReplaceAll(arg, "#", fmt.Sprint(number)))
	}
	if s.isPlugin() {
		o.request = s.request()
	}
	if s.rule != "" {
		o.rules = append(o.rules, s.rule)
	}
	return o
}

// fault is something that a module does in a call.
type fault struct {
	name string // on the page
	rule string // of package faults
	// everywhere is whether it is tried at each call of a run, not only at the
	// first of its function.
	everywhere bool
}

func (f fault) hangs() bool { return f == hangs }

func (f fault) isReturnValue() bool { return strings.HasPrefix(f.rule, "rv 0x") && f != idle }

// What any call can do.
var (
	hangs   = fault{"hangs", "hang", false}
	crashes = fault{"crashes", "crash", true}
	aborts  = fault{"aborts", "abort", false}
	exits   = fault{"calls exit(3)", "exit 3", false}
	prints  = fault{"prints 100 KiB", "noise 100", false}
)

// What a call can do that returns something.
var (
	idle    = fault{"returns CKR_OK and does nothing", "rv 0x0", false}
	unknown = fault{"0xdeadbeef", "rv 0xdeadbeef", false}
	vendors = fault{"0x80000123 (a vendor's)", "rv 0x80000123", false}
	absent  = fault{"CKR_FUNCTION_NOT_SUPPORTED", fmt.Sprintf("rv 0x%x", faults.ReturnValue("CKR_FUNCTION_NOT_SUPPORTED")), false}
)

// What a call can do that answers with more than a return value.
var (
	flips       = fault{"flips all bits", "garble", true}
	cutsShort   = fault{"one short", "short", true}
	isEmpty     = fault{"empty", "empty", true}
	isLong      = fault{"8 too long", "long 8", true}
	isHuge      = fault{"1000000000 too long", "long 1000000000", true}
	unavailable = fault{"length CK_UNAVAILABLE_INFORMATION", "unavailable", true}
)

var (
	withLength    = []string{"C_GetSlotList", "C_GetMechanismList", "C_GetAttributeValue", "C_FindObjects", "C_Sign"}
	withoutLength = []string{"C_GetInfo", "C_GetSlotInfo", "C_GetTokenInfo", "C_OpenSession", "C_GenerateKeyPair", "C_CreateObject"}
)

// faultsOf lists all that can go wrong in a function.
func faultsOf(function string) []fault {
	list := []fault{hangs, crashes, aborts, exits, prints}
	for _, f := range faults.Functions {
		if f.Name != function {
			continue
		}
		for _, name := range f.Returns {
			list = append(list, fault{name, fmt.Sprintf("rv 0x%x", faults.ReturnValue(name)), name == "CKR_DEVICE_ERROR"})
		}
		list = append(list, absent, unknown, vendors, idle)
	}
	switch {
	case slices.Contains(withLength, function):
		list = append(list, flips, cutsShort, isEmpty, isLong, isHuge, unavailable)
	case slices.Contains(withoutLength, function):
		list = append(list, flips)
	}
	return list
}

// Outcomes, beside the codes of the contract.
const (
	worked = ""       // the command did what it is for
	failed = "failed" // it said so to a person, who is told no code
)

// meanings are the contract's codes for what return values say (specification,
// chapter "Function return values"): the user may not do it, or there is too
// little of something now. All others are ERROR.
var meanings = map[contract.ErrorCode][]string{
	contract.ErrorCodeAccessDenied: {
		"CKR_PIN_INCORRECT", "CKR_PIN_EXPIRED", "CKR_PIN_LOCKED", "CKR_USER_PIN_NOT_INITIALIZED", "CKR_USER_TYPE_INVALID",
		"CKR_USER_NOT_LOGGED_IN", "CKR_USER_ANOTHER_ALREADY_LOGGED_IN", "CKR_USER_TOO_MANY_TYPES",
		"CKR_KEY_FUNCTION_NOT_PERMITTED", "CKR_ACTION_PROHIBITED", "CKR_FUNCTION_REJECTED",
	},
	contract.ErrorCodeThrottled: {
		"CKR_HOST_MEMORY", "CKR_DEVICE_MEMORY", "CKR_SESSION_COUNT", "CKR_OPERATION_ACTIVE", "CKR_TOKEN_RESOURCE_EXCEEDED",
	},
}

func meaning(name string) string {
	for code, names := range meanings {
		if slices.Contains(names, name) {
			return string(code)
		}
	}
	return string(contract.ErrorCodeGeneric)
}

// Return values on which more is tried, by why.
var (
	lossOfSession   = []string{"CKR_SESSION_CLOSED", "CKR_SESSION_HANDLE_INVALID", "CKR_USER_NOT_LOGGED_IN", "CKR_KEY_HANDLE_INVALID", "CKR_OBJECT_HANDLE_INVALID"}
	isGone          = []string{"CKR_SESSION_CLOSED", "CKR_SESSION_HANDLE_INVALID", "CKR_DEVICE_REMOVED", "CKR_CRYPTOKI_NOT_INITIALIZED"}
	otherMechanism  = []string{"CKR_MECHANISM_INVALID", "CKR_MECHANISM_PARAM_INVALID", "CKR_KEY_SIZE_RANGE", "CKR_KEY_TYPE_INCONSISTENT", "CKR_DATA_INVALID", "CKR_DATA_LEN_RANGE", absent.name}
	noMoreSessions  = []string{"CKR_SESSION_COUNT", "CKR_HOST_MEMORY", "CKR_DEVICE_MEMORY", "CKR_DEVICE_REMOVED", "CKR_TOKEN_NOT_PRESENT"}
	otherTemplate   = []string{"CKR_ATTRIBUTE_READ_ONLY", "CKR_ATTRIBUTE_TYPE_INVALID", "CKR_ATTRIBUTE_VALUE_INVALID", "CKR_TEMPLATE_INCONSISTENT"}
	deadly          = names(hangs, crashes, aborts, exits)
	impossible      = names(isLong, isHuge, unavailable)
	doubtful        = names(isHuge, unavailable) // with the question for the length
	lessThanThereIs = names(cutsShort, isEmpty)
)

func names(list ...fault) []string {
	var texts []string
	for _, f := range list {
		texts = append(texts, f.name)
	}
	return texts
}

// Calls of a function, beside 1, the first, and 2, the second.
const (
	each     = 0
	anywhere = -1
)

// expectation is what is expected otherwise than by the meaning of the fault:
// where there is another way to the goal, or where a failure shows elsewhere.
type expectation struct {
	subject  string // "": each command of the plugin
	function string
	nth      int
	faults   []string // nil: all
	but      []string // not these
	code     string
	says     string // in the error
}

const (
	codeInvalid = string(contract.ErrorCodeValidation)
	codeGeneral = string(contract.ErrorCodeGeneric)
	codeBusy    = string(contract.ErrorCodeThrottled)
	codeDenied  = string(contract.ErrorCodeAccessDenied)
	tooLong     = "the module says that its answer has a length of "
)

// expectations are gone through in this order; the first that fits holds.
var expectations = []expectation{
	// What comes after the work changes nothing of it.
	{function: "C_Logout", nth: anywhere},
	{function: "C_CloseSession", nth: anywhere},
	{function: "C_Finalize", nth: anywhere},
	{function: "unload", nth: anywhere},

	// Loading the module and finding the token.
	{function: "C_GetFunctionList", nth: anywhere, but: append(names(prints), deadly...), code: codeInvalid, says: "gives no function list (C_GetFunctionList"},
	{function: "C_Initialize", nth: 1, faults: []string{"CKR_CANT_LOCK"}}, // without locks, then
	{function: "C_Initialize", nth: anywhere, faults: []string{"CKR_CRYPTOKI_ALREADY_INITIALIZED", idle.name}, code: codeGeneral, says: "C_GetSlotList: CKR_CRYPTOKI_NOT_INITIALIZED"},
	{function: "C_Initialize", nth: 1, faults: []string{"CKR_HOST_MEMORY"}, code: codeGeneral, says: "can't be initialized (C_Initialize: CKR_HOST_MEMORY)"}, // a daemon that is missing, mostly
	{function: "C_GetSlotList", nth: 1, faults: doubtful, code: codeGeneral, says: tooLong},
	{function: "C_GetSlotList", nth: 1, faults: append(names(idle, flips, isLong, prints, cutsShort, isEmpty), "CKR_BUFFER_TOO_SMALL")},
	{function: "C_GetSlotList", nth: 2, faults: impossible, code: codeGeneral, says: tooLong},
	{function: "C_GetSlotList", nth: 2, faults: names(isEmpty), code: codeGeneral, says: "shows no token: its slots are empty"},
	{function: "C_GetSlotList", nth: 2, faults: names(flips, idle), code: codeGeneral, says: "C_GetTokenInfo: CKR_SLOT_ID_INVALID"},
	{function: "C_GetSlotList", nth: 2, faults: names(cutsShort)},                 // the empty slot is the last one
	{function: "C_GetSlotList", nth: 2, faults: []string{"CKR_BUFFER_TOO_SMALL"}}, // it is asked again
	{function: "C_GetTokenInfo", nth: 1, faults: []string{"CKR_TOKEN_NOT_PRESENT", "CKR_TOKEN_NOT_RECOGNIZED"}, code: codeGeneral, says: "shows no initialized token, and none that it knows in slot"},
	{function: "C_GetTokenInfo", nth: 1, faults: names(idle, flips), code: codeInvalid, says: "shows no initialized token"},
	{function: "C_GetTokenInfo", nth: 2, faults: append(names(flips), "CKR_DEVICE_ERROR")}, // the empty slot's

	// Sessions and the login.
	{function: "C_OpenSession", nth: 1, but: slices.Concat(noMoreSessions, deadly, names(idle, flips))},                                   // a read-write one, then
	{subject: "describe-key", function: "C_OpenSession", nth: 1, faults: names(idle, flips)},                                              // another one, then
	{function: "C_OpenSession", nth: anywhere, faults: names(idle, flips), code: codeDenied, says: "C_Login: CKR_SESSION_HANDLE_INVALID"}, // any refusal may have cost a try
	{function: "C_Login", nth: anywhere, faults: append(names(idle), "CKR_USER_ALREADY_LOGGED_IN"), code: codeInvalid, says: "shows no private key"},

	// What describe-key can't learn before a login it learns after it.
	{subject: "describe-key", function: "C_FindObjectsInit", nth: 1, but: deadly},
	{subject: "describe-key", function: "C_FindObjects", nth: 1, but: deadly},
	{subject: "describe-key", function: "C_FindObjectsFinal", nth: 1, but: deadly},
	{subject: "describe-key", function: "C_GetAttributeValue", nth: 1, but: deadly},

	// Finding the key. Where a search by name alone fails, those of each class are searched
	// for; where that finds nothing, all objects are looked at.
	{function: "C_FindObjectsInit", nth: 1, but: slices.Concat(deadly, isGone, names(idle))},
	{function: "C_FindObjectsInit", nth: 1, faults: names(idle), code: codeGeneral, says: "C_FindObjects: CKR_OPERATION_NOT_INITIALIZED"},
	{function: "C_FindObjects", nth: 1, faults: names(flips, isLong)},
	{function: "C_FindObjects", nth: anywhere, faults: doubtful, code: codeGeneral, says: tooLong},
	{function: "C_FindObjects", nth: anywhere, faults: slices.Concat(lessThanThereIs, names(idle))},
	{function: "C_FindObjectsFinal", nth: 1, faults: names(idle), code: codeBusy, says: "C_FindObjectsInit: CKR_OPERATION_ACTIVE"},
	{function: "C_GetAttributeValue", nth: 1, faults: names(isHuge), code: codeGeneral, says: tooLong},
	{function: "C_GetAttributeValue", nth: 1, but: append([]string{"CKR_SESSION_CLOSED", "CKR_SESSION_HANDLE_INVALID"}, deadly...)}, // one by one, then

	// Signing. The mechanism list only orders the tries.
	{function: "C_GetMechanismList", nth: anywhere, but: deadly},
	{function: "C_SignInit", nth: 1, faults: slices.Concat(otherMechanism, lossOfSession)},
	{function: "C_SignInit", nth: each, faults: otherMechanism, code: codeGeneral, says: "refuses every mechanism for this signature"},
	{function: "C_SignInit", nth: anywhere, faults: names(idle), code: codeGeneral, says: "C_Sign: CKR_OPERATION_NOT_INITIALIZED"},
	{function: "C_Sign", nth: 1, faults: slices.Concat(otherMechanism, lossOfSession, []string{"CKR_BUFFER_TOO_SMALL"})},
	{function: "C_Sign", nth: 1, faults: impossible, code: codeGeneral, says: tooLong},
	{function: "C_Sign", nth: 1, faults: names(idle, flips, cutsShort, isEmpty), code: codeGeneral, says: "returned a wrong signature"},
	{function: "C_Sign", nth: each, faults: otherMechanism, code: codeGeneral, says: "refuses every mechanism for this signature"},

	// What people call. Lists show what they get.
	{subject: "tokens", function: "C_GetInfo", nth: 1, faults: names(idle, flips)},
	{subject: "tokens", function: "C_GetSlotInfo", nth: 1, faults: names(idle, flips)},
	{subject: "generate-key", function: "C_GenerateKeyPair", nth: 1, faults: otherTemplate}, // it may do more, then
	{subject: "generate-key", function: "C_GenerateKeyPair", nth: 1, faults: names(idle, flips), code: failed, says: "was generated, but its attributes can't be read: an object vanished while it was read (C_GetAttributeValue: CKR_OBJECT_HANDLE_INVALID)"},
	{subject: wrongKey, function: "C_DestroyObject", nth: 1, faults: names(prints), code: failed, says: "is not sensitive (CKA_SENSITIVE); it was deleted again"},
	{subject: wrongKey, function: "C_DestroyObject", nth: anywhere, but: deadly, code: failed, says: "is not sensitive (CKA_SENSITIVE); it could not be deleted"},
	{subject: "self-sign --import", function: "C_CreateObject", nth: 1, faults: names(idle), code: failed, says: "says that it has stored the certificate"},
	{subject: "self-sign --import", function: "C_CreateObject", nth: 1, faults: names(flips)}, // its handle isn't used
}

func (e expectation) fits(t trial) bool {
	return (e.subject == t.subject.name || e.subject == "" && t.subject.isPlugin()) && e.function == t.function &&
		(e.nth == t.nth || e.nth == anywhere) && (e.faults == nil || slices.Contains(e.faults, t.fault.name)) &&
		!slices.Contains(e.but, t.fault.name)
}

// expected is what is expected of a trial.
func (t trial) expected() (code, says string) {
	for _, e := range expectations {
		if e.fits(t) {
			return e.code, e.says
		}
	}
	function := t.function
	if function == "load" || function == "C_GetFunctionList" {
		function = "dlopen" // of which these are parts
	}
	switch t.fault {
	case prints:
		return worked, ""
	case hangs:
		code, says = string(contract.ErrorCodeTimeout), "did not answer in time ("+function+")"
	case crashes:
		code, says = codeGeneral, "ended its process in "+function+" (signal SIGSEGV)"
	case aborts:
		code, says = codeGeneral, "ended its process in "+function+" (signal SIGABRT)"
	case exits:
		code, says = codeGeneral, "ended its process in "+function+" (exit status 3)"
	case unknown:
		code, says = codeGeneral, "("+function+": CKR 0xDEADBEEF)"
	case vendors:
		code, says = codeGeneral, "("+function+": CKR 0x80000123)"
	default:
		code, says = meaning(t.fault.name), "("+function+": "+t.fault.name+")"
	}
	if function == "C_Login" && t.fault.isReturnValue() { // whatever it says, the PIN may be wrong
		code = string(contract.ErrorCodeAccessDenied)
	}
	if !t.subject.isPlugin() {
		code = failed
	}
	return code, says
}

// compare compares what a command did with what is expected. Deep in a run a
// fault may be overcome or show elsewhere: then what is said must be consistent.
func (t trial) compare(o outcome) error {
	if t.isDeep() {
		return o.consistent()
	}
	code, says := t.expected()
	if o.code != code {
		return fmt.Errorf("the outcome is %q, want %q", o.code, code)
	}
	if !strings.Contains(o.message, says) {
		return fmt.Errorf("the error doesn't say %q", says)
	}
	return nil
}

var namedReturnValue = regexp.MustCompile(`\(C_\w+: (CKR_\w+)\)`)

// consistent checks a code by what the error says.
func (o outcome) consistent() error {
	want := o.code
	if named := namedReturnValue.FindStringSubmatch(o.message); named != nil {
		want = meaning(named[1])
	}
	if strings.Contains(o.message, "(C_Login: ") {
		want = string(contract.ErrorCodeAccessDenied)
	}
	for what, code := range map[string]string{
		"did not answer in time": string(contract.ErrorCodeTimeout), "ended its process in C_": codeGeneral,
		tooLong: codeGeneral, "returned a wrong signature": codeGeneral,
	} {
		if strings.Contains(o.message, what) {
			want = code
		}
	}
	if o.code != want && o.code != failed {
		return fmt.Errorf("the code is %s, and the error is one of %s", o.code, want)
	}
	return nil
}
