// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	contract "github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
)

// advice is the contract's code for an error; what a return value means, as a clause,
// where the error doesn't say it; and what to do: one imperative, a sentence without
// its full stop, in which {pin} stands for where the PIN came from. It is empty where
// the error says it.
type advice struct {
	code  contract.ErrorCode
	cause string
	todo  string
}

// What is to be done about more than one error.
const (
	importCertificate = "Import the key's certificate with notation-pkcs11 import-cert, or set cert_chain"
	setModule         = "Set the module's absolute path: module-path in the URI, plugin config module or NOTATION_PKCS11_MODULE"
	updateModule      = "Update the vendor's module, or record its calls with NOTATION_PKCS11_LOG=/path/to/file"
	tryAgain          = "Try again"
	tryAgainOrUpdate  = "Try again; if it happens again, update the module"
	withVendorsTool   = "Create the object with the vendor's tool"
	useAnotherKey     = "Use another key"
	useAnotherType    = "Use another type of key"
	pinWasUsed        = "the token refused the PIN, which was tried once and not again"
)

// Short names, for the tables' sake.
const (
	validation = contract.ErrorCodeValidation
	denied     = contract.ErrorCodeAccessDenied
	timeout    = contract.ErrorCodeTimeout
	throttled  = contract.ErrorCodeThrottled
	general    = contract.ErrorCodeGeneric
)

// ofKind is the table of the pkcs11 package's errors. An error that has its own Todo
// needs no other.
var ofKind = map[pkcs11.Kind]advice{
	pkcs11.KindURI:          {code: validation},
	pkcs11.KindConfig:       {code: validation},
	pkcs11.KindModule:       {code: validation, todo: setModule},
	pkcs11.KindUnsafe:       {code: validation},
	pkcs11.KindNoDevice:     {code: general, todo: "Plug the token in, or start the service that the module needs"},
	pkcs11.KindBlankToken:   {code: validation, todo: "Initialize a token, or point the module's configuration to an initialized one"},
	pkcs11.KindNoToken:      {code: validation, todo: "Correct the token's attributes in the key URI"},
	pkcs11.KindTokens:       {code: validation, todo: "Add serial=… to the key URI, so that it selects one token"},
	pkcs11.KindNoKey:        {code: validation, todo: "Correct object=… and id=… in the key URI"},
	pkcs11.KindKeys:         {code: validation, todo: "Add object=… or id=… to the key URI, so that it selects one key"},
	pkcs11.KindSameName:     {code: validation, todo: "Change the label or the CKA_ID of one key with the vendor's tool"},
	pkcs11.KindManyObjects:  {code: validation, todo: "Move the key and its certificates to a token or partition of their own"},
	pkcs11.KindKey:          {code: validation, todo: "Use another key, such as one made with notation-pkcs11 generate-key"},
	pkcs11.KindPublicKey:    {code: general, todo: importCertificate},
	pkcs11.KindNotPermitted: {code: denied, todo: "Use a key with CKA_SIGN, or ask the token's administrator to allow signing"},
	pkcs11.KindExposed:      {code: denied, todo: "Change the token's policy, or generate the key with the vendor's tool"},
	pkcs11.KindNoPIN:        {code: denied, todo: "Set NOTATION_PKCS11_PIN, or the plugin config pin_source=file:/path or pin_source=env:NAME"},
	pkcs11.KindPINSource:    {code: denied},
	pkcs11.KindPINLocked:    {code: denied, todo: "Reset the PIN with the vendor's tool, and find what used a wrong one"},
	pkcs11.KindExists:       {code: validation, todo: "Choose another object=LABEL and id, or use that key"},
	pkcs11.KindMechanism:    {code: general, todo: "Allow one of these mechanisms for the key, or use another key"},
	pkcs11.KindNoMechanism:  {code: general, todo: "Use a key of another type, or another module for the token"},
	pkcs11.KindSignature:    {code: general, todo: "Update the vendor's module or firmware, or report the fault to the vendor"},
	pkcs11.KindAnswer:       {code: general, todo: updateModule},
	pkcs11.KindCrash:        {code: general, todo: updateModule},
	pkcs11.KindResources:    {code: throttled, todo: "Raise the limit of processes, threads, files or memory, or end other programs"},
	pkcs11.KindTimeout:      {code: timeout, todo: "Check that the HSM can be reached, or raise the plugin config timeout or NOTATION_PKCS11_TIMEOUT"},
	pkcs11.KindProxy:        {code: timeout, todo: "Set the token's own module: module-path in the URI, plugin config module or NOTATION_PKCS11_MODULE"},
	pkcs11.KindClosed:       {code: general, todo: tryAgain},
	pkcs11.KindReplaced:     {code: general, todo: "Put the former token or key back, or start again with the new one"},
}

// ofReturnValue is the table of what PKCS#11 functions return (PKCS#11 v2.40,
// section 5.1), for errors of pkcs11.KindCall, by pkcs11.RVName.
var ofReturnValue = map[string]advice{
	// The login.
	"CKR_PIN_INCORRECT":                  {denied, pinWasUsed, "Check {pin} before the token locks"},
	"CKR_PIN_INVALID":                    {denied, "the PIN has characters that this token doesn't accept; it was tried once and not again", "Correct {pin}"},
	"CKR_PIN_LEN_RANGE":                  {denied, "the PIN has a length that this token doesn't accept; it was tried once and not again", "Check {pin} for a line break, a space or a missing user name"},
	"CKR_PIN_EXPIRED":                    {denied, "the PIN has expired", "Set a new PIN with the vendor's tool, then update {pin}"},
	"CKR_PIN_LOCKED":                     {denied, "too many wrong PINs were used", "Have the security officer reset the PIN, then check {pin}"},
	"CKR_USER_PIN_NOT_INITIALIZED":       {denied, "the token's security officer has not set the user's PIN", "Have the user's PIN set with the vendor's tool"},
	"CKR_USER_TYPE_INVALID":              {denied, "the token has no such user type (Luna's crypto user is 0x80000001)", "Set the plugin config user_type to the user type that owns the key"},
	"CKR_USER_NOT_LOGGED_IN":             {denied, "the token lost its login, or requires one that its flags don't report", "Try again; if it happens again, look for another program that logs out"},
	"CKR_USER_ANOTHER_ALREADY_LOGGED_IN": {denied, "another user type is logged in to the token", "End that session, or set the plugin config user_type"},
	"CKR_USER_TOO_MANY_TYPES":            {denied, "other user types are logged in to the token", "End those sessions"},

	// What the key or the token permits.
	"CKR_KEY_FUNCTION_NOT_PERMITTED": {denied, "the key's attributes forbid signing", "Use a key with CKA_SIGN, or ask the token's administrator to allow signing"},
	"CKR_ACTION_PROHIBITED":          {denied, "the token's policy forbids it", "Ask the token's administrator"},
	"CKR_FUNCTION_REJECTED":          {denied, "the token rejected the request", "Confirm on the device; on a YubiHSM 2, check the authentication key's capabilities and domains"},

	// Too much at once.
	"CKR_SESSION_COUNT":           {throttled, "the token has no session left", "End other programs that use the token, or try again later"},
	"CKR_HOST_MEMORY":             {throttled, "this machine has no memory left for the module", "Try again later"},
	"CKR_DEVICE_MEMORY":           {throttled, "the token has no memory left, often because other programs left sessions open", "End those programs, or try again later"},
	"CKR_TOKEN_RESOURCE_EXCEEDED": {throttled, "the token has no resources left", "End other programs that use the token, or try again later"},
	"CKR_OPERATION_ACTIVE":        {throttled, "the token is busy with another operation", "Try again later"},

	// The device.
	"CKR_DEVICE_ERROR":         {general, "the token reports a fault", "Check the token and its connection with the vendor's tool, then try again"},
	"CKR_DEVICE_REMOVED":       {general, "the token was removed, or its connection lost", "Plug the token in, or restore its connection, then try again"},
	"CKR_TOKEN_NOT_PRESENT":    {general, "no token is in the slot", "Plug the token in, then try again"},
	"CKR_TOKEN_NOT_RECOGNIZED": {general, "the module doesn't know the token in the slot", "Check that the module and the token belong together"},
	"CKR_SLOT_ID_INVALID":      {general, "the slot that the module listed is gone", "Plug the token in, or restore its connection, then try again"},

	// Sessions.
	"CKR_SESSION_CLOSED":               {general, "the session ended early, perhaps because the HSM or its connection restarted", tryAgain},
	"CKR_SESSION_HANDLE_INVALID":       {general, "the session ended early, perhaps because the HSM or its connection restarted", tryAgain},
	"CKR_SESSION_READ_ONLY_EXISTS":     {general, "another program has the token open", "End that program, then try again"},
	"CKR_SESSION_READ_WRITE_SO_EXISTS": {general, "the security officer is logged in to the token", "End that session, then try again"},
	"CKR_TOKEN_WRITE_PROTECTED":        {general, "the token is write-protected, or locked for maintenance", "Change that with the vendor's tool"},
	"CKR_FUNCTION_CANCELED":            {general, "the operation was cancelled at the token", tryAgain},

	// The key.
	"CKR_KEY_HANDLE_INVALID":      {general, "the key vanished while it was used", "Check whether another program changes the token, then try again"},
	"CKR_OBJECT_HANDLE_INVALID":   {general, "an object vanished while it was read", "Check whether another program changes the token, then try again"},
	"CKR_KEY_TYPE_INCONSISTENT":   {general, "the token doesn't sign with a key of this type", useAnotherKey},
	"CKR_KEY_SIZE_RANGE":          {general, "the token doesn't sign with a key of this size", useAnotherKey},
	"CKR_MECHANISM_INVALID":       {general, "the token has no mechanism for this signature (RSASSA-PSS or ECDSA), or doesn't allow it for this key", "Allow the mechanism on the token, or use another key"},
	"CKR_MECHANISM_PARAM_INVALID": {general, "the token doesn't accept the parameters that notation needs (a salt as long as the hash)", "Use another key or a newer module"},
	"CKR_FUNCTION_NOT_SUPPORTED":  {general, "the module lacks this function", "Check that it is the vendor's current PKCS#11 module"},
	"CKR_ATTRIBUTE_VALUE_INVALID": {general, "the token doesn't accept one of the values, often the id", "Use an id that the vendor's documentation allows, or update the module"},
	"CKR_RANDOM_NO_RNG":           {general, "the token has no random numbers, which RSASSA-PSS and ECDSA need", "Use another token"},

	// What is made on the token.
	"CKR_SESSION_READ_ONLY":      {general, "the token accepts no new objects", "Check whether the token is write-protected"},
	"CKR_ATTRIBUTE_TYPE_INVALID": {general, "the token doesn't know one of the object's attributes", withVendorsTool},
	"CKR_ATTRIBUTE_READ_ONLY":    {general, "the token sets one of the attributes itself", "Remove id from the key URI, or create the object with the vendor's tool"},
	"CKR_TEMPLATE_INCOMPLETE":    {general, "the token requires more attributes than the standard", withVendorsTool},
	"CKR_TEMPLATE_INCONSISTENT":  {general, "the token refuses the object, perhaps by its policy", withVendorsTool},
	"CKR_DOMAIN_PARAMS_INVALID":  {general, "the token doesn't know the curve", useAnotherType},
	"CKR_CURVE_NOT_SUPPORTED":    {general, "the token doesn't know the curve", useAnotherType},

	// The module.
	"CKR_ARGUMENTS_BAD":                {general, "the module refuses the arguments of this function", updateModule},
	"CKR_CANT_LOCK":                    {general, "the module doesn't support programs with threads", "Update the module"},
	"CKR_NEED_TO_CREATE_THREADS":       {general, "the module needs to start threads, which is not allowed", "Check the module's configuration"},
	"CKR_CRYPTOKI_NOT_INITIALIZED":     {general, "the module lost its initialization", tryAgainOrUpdate},
	"CKR_CRYPTOKI_ALREADY_INITIALIZED": {general, "something else in the process uses the module", tryAgainOrUpdate},
	"CKR_OPERATION_NOT_INITIALIZED":    {general, "the module lost track of what it was doing", tryAgainOrUpdate},
	"CKR_BUFFER_TOO_SMALL":             {general, "the module doesn't report how long its answer is", "Update the module"},
	"CKR_GENERAL_ERROR":                {general, "the module gives no reason", "Check the module's configuration and log, and that no other program uses the token"},
	"CKR_FUNCTION_FAILED":              {general, "the module gives no reason", "Check the module's configuration and log, then try again"},
}

// atStart is for a module that finds nothing of what it works with.
var atStart = advice{general, "", "Check the module's device, its service (such as pkcsslotd, pcscd, tpm2-abrmd) and its configuration"}

// ofFunction is for return values that mean something of their own in one
// function.
var ofFunction = map[string]map[string]advice{
	"C_Initialize": {
		"CKR_ARGUMENTS_BAD":   {general, "the module needs arguments, as NSS does, or its configuration is wrong", "Set the plugin config init_args, or check the module's configuration"},
		"CKR_GENERAL_ERROR":   atStart,
		"CKR_FUNCTION_FAILED": atStart,
		"CKR_HOST_MEMORY":     atStart,
		"CKR_DEVICE_ERROR":    atStart,
	},
	"C_GetSlotList": {
		"CKR_GENERAL_ERROR":   atStart,
		"CKR_FUNCTION_FAILED": atStart,
		"CKR_DEVICE_ERROR":    atStart,
	},
	"C_GenerateKeyPair": {
		"CKR_FUNCTION_NOT_SUPPORTED": {general, "the module doesn't generate keys", "Generate the key with the vendor's tool"},
		"CKR_MECHANISM_INVALID":      {general, "the token doesn't generate keys of this type", "Use another type, or generate the key with the vendor's tool"},
	},
	"C_Sign": {
		"CKR_DATA_LEN_RANGE": {general, "the token doesn't sign a digest of this length with this key", useAnotherKey},
		"CKR_DATA_INVALID":   {general, "the token doesn't sign such data with this key", useAnotherKey},
	},
	"C_CreateObject": {
		"CKR_FUNCTION_NOT_SUPPORTED": {general, "the module stores no objects", "Store the certificate with the vendor's tool, or set cert_chain"},
	},
}

// ofLogin is for what C_Login returns and names neither PIN nor user: tokens are
// known that answer a wrong PIN with CKR_USER_NOT_LOGGED_IN or CKR_GENERAL_ERROR.
var ofLogin = advice{denied, "the PIN may be wrong, and one attempt used; it was tried once and not again", "Check {pin}, and the state of the PIN with notation-pkcs11 tokens"}

// What is left: return values without an advice of their own, such as a
// vendor's, and failures without a return value.
var (
	ofOtherValue = advice{general, "", "Look the code up in the vendor's documentation, or set NOTATION_PKCS11_LOG=/path/to/file"}
	ofNoValue    = advice{general, "", "Try again with NOTATION_PKCS11_LOG=/path/to/file, which records every call"}
)

// advised is an error with what to do about it: one imperative, a sentence without
// its full stop.
type advised struct {
	error
	todo string
}

func (a advised) Unwrap() error { return a.error }

func advise(todo, format string, args ...any) error {
	return advised{fmt.Errorf(format, args...), todo}
}

// Refuse makes an error of the contract: what failed, and what to do, a sentence
// without its full stop.
func Refuse(code contract.ErrorCode, todo, format string, args ...any) *contract.Error {
	return contract.NewError(code, sentences(fmt.Sprintf(format, args...), todo))
}

// Translate turns an error of a key into the contract's, a *plugin.Error of the
// framework: a code, what failed, and what to do. The settings are those under which
// it failed. It is called where a request ends, and once.
func Translate(err error, s Settings) error {
	var failed *pkcs11.Error
	var a advised
	switch {
	case err == nil:
		return nil
	case errors.As(err, &failed):
		return contract.NewError(adviceFor(failed).code, sentences(Explain(err, s)))
	case errors.Is(err, context.DeadlineExceeded):
		return contract.NewError(timeout, sentences(Explain(err, s)))
	case errors.As(err, &a):
		return contract.NewError(asContract(err).ErrCode, sentences(Explain(err, s)))
	}
	return asContract(err)
}

// sentences joins what failed and what to do, if that is not said yet.
func sentences(what, todo string) string {
	if todo == "" {
		return what
	}
	return what + ". " + todo + "."
}

// asContract returns an error as the contract's. One that is or wraps such an
// error keeps its code.
func asContract(err error) *contract.Error {
	var own *contract.Error
	if !errors.As(err, &own) {
		return contract.NewGenericError(err.Error())
	}
	// Its text is JSON; where it is wrapped, that stands inside a sentence.
	message := strings.Replace(err.Error(), own.Error(), own.Message, 1)
	return &contract.Error{ErrCode: own.ErrCode, Message: message, Metadata: own.Metadata}
}

// Explain returns, for people, who don't speak the contract, what failed and, as a
// sentence without its full stop, what to do; that is empty where the first says all.
// The settings are those under which it failed.
func Explain(err error, s Settings) (what, todo string) {
	var failed *pkcs11.Error
	var a advised
	switch {
	case errors.As(err, &failed):
		advice := adviceFor(failed)
		what := strings.Replace(err.Error(), failed.Error(), failed.With(advice.cause).Error(), 1)
		return printable(what), strings.ReplaceAll(printable(cmp.Or(failed.Todo, advice.todo)), "{pin}", cmp.Or(s.pinFrom, "the PIN"))
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("not finished within %v: %s", s.Timeout, printable(err.Error())), ofKind[pkcs11.KindTimeout].todo
	case errors.As(err, &a):
		return printable(asContract(err).Message), printable(a.todo)
	}
	return printable(asContract(err).Message), ""
}

func adviceFor(failed *pkcs11.Error) advice {
	if a, ok := ofKind[failed.Kind]; ok {
		return a
	}
	name := pkcs11.RVName(failed.RV)
	if a, ok := ofFunction[failed.Call][name]; ok {
		return a
	}
	if failed.Call == "C_Login" && !judgesLogin(name) {
		return ofLogin
	}
	if a, ok := ofReturnValue[name]; ok {
		return a
	}
	if failed.RV == 0 { // CKR_OK
		return ofNoValue
	}
	return ofOtherValue
}

// judgesLogin reports whether a return value says what is wrong with a PIN or a
// type of user.
func judgesLogin(name string) bool {
	return strings.HasPrefix(name, "CKR_PIN_") || strings.HasPrefix(name, "CKR_USER_") && name != "CKR_USER_NOT_LOGGED_IN"
}
