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

// advice is the contract's code for an error, and what to do: a sentence
// without its full stop, in which {pin} stands for where the PIN came from.
type advice struct {
	code contract.ErrorCode
	todo string
}

// remedyCertificate ends the sentences about a certificate that is missing.
const remedyCertificate = "import the key's certificate to the token with notation-pkcs11 import-cert, or set cert_chain to a file that holds it"

// Short names, for the tables' sake.
const (
	validation = contract.ErrorCodeValidation
	denied     = contract.ErrorCodeAccessDenied
	timeout    = contract.ErrorCodeTimeout
	throttled  = contract.ErrorCodeThrottled
	general    = contract.ErrorCodeGeneric
)

// ofKind is the table of the pkcs11 package's errors.
var ofKind = map[pkcs11.Kind]advice{
	pkcs11.KindURI:          {validation, "A key ID is a PKCS#11 URI such as pkcs11:token=LABEL;object=LABEL (RFC 7512)"},
	pkcs11.KindConfig:       {validation, "Correct this setting"},
	pkcs11.KindModule:       {validation, "Set the absolute path of the vendor's PKCS#11 module with module-path in the key URI, with the plugin config module, or with NOTATION_PKCS11_MODULE"},
	pkcs11.KindUnsafe:       {validation, "The module was not loaded, because another user could replace it and so read the PIN; run that command, or move the module"},
	pkcs11.KindNoDevice:     {general, "Plug the token in, or start the service that the module needs: pcscd for smart cards, the vendor's service, the server of a remote token"},
	pkcs11.KindBlankToken:   {validation, "Initialize a token with the vendor's tool, such as softhsm2-util --init-token, or point the module's own configuration to an initialized one"},
	pkcs11.KindNoToken:      {validation, "Correct the token's attributes in the key URI; serial=… stays the same if a driver changes the label"},
	pkcs11.KindTokens:       {validation, "Use one of these in the key URI; if two differ only in slot-id, p11-kit's proxy may show one token through two modules, so set module-path instead"},
	pkcs11.KindNoKey:        {validation, "Check object=… and id=… in the key URI against the keys on the token"},
	pkcs11.KindKeys:         {validation, "Add object=… or id=… to the key URI, so that it selects one private key"},
	pkcs11.KindSameName:     {validation, "Change the label or the CKA_ID of one of them, and of the objects that belong to it, with the vendor's tool"},
	pkcs11.KindManyObjects:  {validation, "Move the key and its certificates to a token or partition of their own"},
	pkcs11.KindKey:          {validation, "Use another key: notation signs with RSA of 2048, 3072 or 4096 bits and with P-256, P-384 or P-521"},
	pkcs11.KindPublicKey:    {general, "To make the public key known, " + remedyCertificate},
	pkcs11.KindNotPermitted: {denied, "Use a key with CKA_SIGN, or ask the token's administrator to allow signing"},
	pkcs11.KindExposed:      {denied, "Change the token's policy so that new keys are sensitive and not extractable, or generate the key with the vendor's tool"},
	pkcs11.KindNoPIN:        {denied, "Set the environment variable NOTATION_PKCS11_PIN, or the plugin config pin_source=file:/path or pin_source=env:NAME"},
	pkcs11.KindPINSource:    {denied, "No PIN was tried; correct {pin}"},
	pkcs11.KindPINLocked:    {denied, "No PIN was tried; reset the PIN with the vendor's tool, or, if one attempt is left, log in there once with the right PIN; then find what used the wrong one"},
	pkcs11.KindExists:       {validation, "Nothing was changed; choose another object=LABEL and id, or use what is there"},
	pkcs11.KindMechanism:    {general, "Allow one of these mechanisms for the key on the token, or use another key; if the token fixes the key's hash, it must be SHA-256 for RSA-2048 and P-256, SHA-384 for RSA-3072 and P-384, SHA-512 for RSA-4096 and P-521"},
	pkcs11.KindNoMechanism:  {general, "Use a key of another type, or another module for the token: notation needs RSASSA-PSS or ECDSA"},
	pkcs11.KindSignature:    {general, "Nothing was signed; if the error names public keys, check that one of them is the key's own and not a former key's; otherwise update the vendor's module or firmware, and report it to the vendor if it happens again"},
	pkcs11.KindAnswer:       {general, "Update the vendor's module, and report it to the vendor if it happens again; NOTATION_PKCS11_LOG=/path/to/file records every call"},
	pkcs11.KindCrash:        {general, "Try the same with the vendor's own tool, and update the module; NOTATION_PKCS11_LOG=/path/to/file records every call up to the crash"},
	pkcs11.KindResources:    {throttled, "Raise the limit of processes and threads (ulimit -u, --pids-limit of a container), of open files or of memory, or end other programs, then try again"},
	pkcs11.KindTimeout:      {timeout, "Check that the HSM can be reached; to wait longer, set the plugin config timeout or NOTATION_PKCS11_TIMEOUT"},
	pkcs11.KindProxy:        {timeout, "Name the module that has the token with module-path in the key URI, with the plugin config module, or with NOTATION_PKCS11_MODULE"},
	pkcs11.KindClosed:       {general, "Try again"},
	pkcs11.KindReplaced:     {general, "Put the former token or key back, or start the agent again with the new one"},
}

// ofReturnValue is the table of what PKCS#11 functions return (PKCS#11 v2.40,
// section 5.1), for errors of pkcs11.KindCall, by pkcs11.RVName.
var ofReturnValue = map[string]advice{
	// The login.
	"CKR_PIN_INCORRECT":                  {denied, "The PIN was tried once and not again; check {pin} before the token locks"},
	"CKR_PIN_INVALID":                    {denied, "The PIN was tried once and not again; {pin} has characters that this token doesn't accept"},
	"CKR_PIN_LEN_RANGE":                  {denied, "The PIN was tried once and not again; {pin} has a length that this token doesn't accept: look for a line break, a space, or a missing user name (user:password)"},
	"CKR_PIN_EXPIRED":                    {denied, "The PIN has expired; set a new one with the vendor's tool, then update {pin}"},
	"CKR_PIN_LOCKED":                     {denied, "Too many wrong PINs were used; the token's security officer must reset the PIN with the vendor's tool; then check {pin}"},
	"CKR_USER_PIN_NOT_INITIALIZED":       {denied, "The token's security officer must set the user's PIN first, with the vendor's tool"},
	"CKR_USER_TYPE_INVALID":              {denied, "Set the plugin config user_type to the user type that owns the key (Luna's crypto user: 0x80000001)"},
	"CKR_USER_NOT_LOGGED_IN":             {denied, "The token lost its login, or requires one that its flags don't report; try again, and if it happens again, look for another program that logs out"},
	"CKR_USER_ANOTHER_ALREADY_LOGGED_IN": {denied, "Another user type is logged in to the token; end that session, or set the plugin config user_type"},
	"CKR_USER_TOO_MANY_TYPES":            {denied, "Other user types are logged in to the token; end those sessions"},

	// What the key or the token permits.
	"CKR_KEY_FUNCTION_NOT_PERMITTED": {denied, "The key's attributes forbid signing; use a key with CKA_SIGN, or have the token's administrator change it"},
	"CKR_ACTION_PROHIBITED":          {denied, "The token's policy forbids it; ask the token's administrator"},
	"CKR_FUNCTION_REJECTED":          {denied, "The token rejected the request; confirm it on the device if it asks, and on a YubiHSM 2 check the capabilities and domains of the authentication key"},

	// Too much at once.
	"CKR_SESSION_COUNT":           {throttled, "The token has no session left; end other programs that use it, or try again later"},
	"CKR_HOST_MEMORY":             {throttled, "This machine has no memory left for the module; try again later"},
	"CKR_DEVICE_MEMORY":           {throttled, "The token has no memory left, often because other programs left sessions open; end those, or try again later"},
	"CKR_TOKEN_RESOURCE_EXCEEDED": {throttled, "The token has no resources left; end other programs that use it, or try again later"},
	"CKR_OPERATION_ACTIVE":        {throttled, "The token is busy with another operation; try again later"},

	// The device.
	"CKR_DEVICE_ERROR":         {general, "The token reports a fault; check it and its connection with the vendor's tool, then try again"},
	"CKR_DEVICE_REMOVED":       {general, "The token was removed or its connection lost; plug it in or restore it, then try again"},
	"CKR_TOKEN_NOT_PRESENT":    {general, "No token is in the slot; plug it in, then try again"},
	"CKR_TOKEN_NOT_RECOGNIZED": {general, "The module doesn't know the token in the slot; check that module and token belong together"},
	"CKR_SLOT_ID_INVALID":      {general, "The slot that the module listed is gone; plug the token in or restore its connection, then try again"},

	// Sessions.
	"CKR_SESSION_CLOSED":               {general, "The session ended early, perhaps because the HSM or its connection restarted; try again"},
	"CKR_SESSION_HANDLE_INVALID":       {general, "The session ended early, perhaps because the HSM or its connection restarted; try again"},
	"CKR_SESSION_READ_ONLY_EXISTS":     {general, "Another program has the token open; end it, then try again"},
	"CKR_SESSION_READ_WRITE_SO_EXISTS": {general, "The security officer is logged in to the token; end that session, then try again"},
	"CKR_TOKEN_WRITE_PROTECTED":        {general, "The token is write-protected, or locked for maintenance; change that with the vendor's tool"},
	"CKR_FUNCTION_CANCELED":            {general, "The operation was cancelled at the token; try again"},

	// The key.
	"CKR_KEY_HANDLE_INVALID":      {general, "The key vanished while it was used; check whether another program changes the token, then try again"},
	"CKR_OBJECT_HANDLE_INVALID":   {general, "An object vanished while it was read; check whether another program changes the token, then try again"},
	"CKR_KEY_TYPE_INCONSISTENT":   {general, "The token doesn't sign with a key of this type; use another key"},
	"CKR_KEY_SIZE_RANGE":          {general, "The token doesn't sign with a key of this size; use another key"},
	"CKR_MECHANISM_INVALID":       {general, "The token has no mechanism for this signature (RSASSA-PSS or ECDSA), or doesn't allow it for this key; allow it on the token, or use another key"},
	"CKR_MECHANISM_PARAM_INVALID": {general, "The token doesn't accept the parameters that notation needs (a salt as long as the hash); use another key or a newer module"},
	"CKR_FUNCTION_NOT_SUPPORTED":  {general, "The module lacks this function; check that it is the vendor's current PKCS#11 module"},
	"CKR_ATTRIBUTE_VALUE_INVALID": {general, "The token doesn't accept one of the values, often the id; use an id in the key URI that the vendor's documentation allows, or update the vendor's module"},
	"CKR_RANDOM_NO_RNG":           {general, "The token has no random numbers, which RSASSA-PSS and ECDSA need; use another token"},

	// What is made on the token.
	"CKR_SESSION_READ_ONLY":      {general, "The token accepts no new objects; check whether it is write-protected"},
	"CKR_ATTRIBUTE_TYPE_INVALID": {general, "The token doesn't know one of the object's attributes; create the object with the vendor's tool"},
	"CKR_ATTRIBUTE_READ_ONLY":    {general, "The token sets one of the attributes itself; leave id out of the key URI, or create the object with the vendor's tool"},
	"CKR_TEMPLATE_INCOMPLETE":    {general, "The token requires more attributes than the standard; create the object with the vendor's tool"},
	"CKR_TEMPLATE_INCONSISTENT":  {general, "The token refuses the object, perhaps by its policy; create it with the vendor's tool"},
	"CKR_DOMAIN_PARAMS_INVALID":  {general, "The token doesn't know the curve; use another type of key"},
	"CKR_CURVE_NOT_SUPPORTED":    {general, "The token doesn't know the curve; use another type of key"},

	// The module.
	"CKR_ARGUMENTS_BAD":                {general, "The module refuses the arguments of this function; update it, and report it to the vendor: NOTATION_PKCS11_LOG=/path/to/file records every call"},
	"CKR_CANT_LOCK":                    {general, "The module doesn't support programs with threads; update it"},
	"CKR_NEED_TO_CREATE_THREADS":       {general, "The module needs to start threads, which is not allowed; check its configuration"},
	"CKR_CRYPTOKI_NOT_INITIALIZED":     {general, "The module lost its initialization; try again, and update it if it happens again"},
	"CKR_CRYPTOKI_ALREADY_INITIALIZED": {general, "Something else in the process uses the module; try again, and update it if it happens again"},
	"CKR_OPERATION_NOT_INITIALIZED":    {general, "The module lost track of what it was doing; try again, and update it if it happens again"},
	"CKR_BUFFER_TOO_SMALL":             {general, "The module can't say how long its answer is; update it"},
	"CKR_GENERAL_ERROR":                {general, "The module doesn't say why; check its own configuration and log, and that nothing else keeps the token busy"},
	"CKR_FUNCTION_FAILED":              {general, "The module doesn't say why; check its own configuration and log, then try again"},
}

// atStart is for a module that finds nothing of what it works with.
var atStart = advice{general, "Check that the module's device is there, that its service runs (such as pkcsslotd, pcscd or tpm2-abrmd), and its own configuration"}

// ofFunction is for return values that mean something of their own in one
// function.
var ofFunction = map[string]map[string]advice{
	"C_Initialize": {
		"CKR_ARGUMENTS_BAD":   {general, "If the module needs arguments at its start, as NSS does, set the plugin config init_args; otherwise check its own configuration"},
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
		"CKR_FUNCTION_NOT_SUPPORTED": {general, "The module doesn't generate keys; generate the key with the vendor's tool"},
		"CKR_MECHANISM_INVALID":      {general, "The token doesn't generate keys of this type; use another type, or generate the key with the vendor's tool"},
	},
	"C_Sign": {
		"CKR_DATA_LEN_RANGE": {general, "The token doesn't sign a digest of this length with this key; use another key"},
		"CKR_DATA_INVALID":   {general, "The token doesn't sign such data with this key; use another key"},
	},
	"C_CreateObject": {
		"CKR_FUNCTION_NOT_SUPPORTED": {general, "The module stores no objects; store the certificate with the vendor's tool, or set cert_chain"},
	},
}

// ofLogin is for what C_Login returns and names neither PIN nor user: tokens are
// known that answer a wrong PIN with CKR_USER_NOT_LOGGED_IN or CKR_GENERAL_ERROR.
var ofLogin = advice{denied, "The PIN was tried once and not again; it may be wrong, and one attempt used, so first check {pin}, and the state of the PIN with notation-pkcs11 tokens"}

// What is left: return values without an advice of their own, such as a
// vendor's, and failures without a return value.
var (
	ofOtherValue = advice{general, "Look the code up in the vendor's documentation; NOTATION_PKCS11_LOG=/path/to/file records every call"}
	ofNoValue    = advice{general, "Try again; NOTATION_PKCS11_LOG=/path/to/file records every call"}
)

// Translate turns an error of a key into the contract's, a *plugin.Error of the
// framework: a code, what failed, and what to do. The settings are those under which
// it failed. It is called where a request ends, and once.
func Translate(err error, s Settings) error {
	var failed *pkcs11.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &failed):
		return contract.NewError(adviceFor(failed).code, sentences(err, s))
	case errors.Is(err, context.DeadlineExceeded):
		return contract.NewError(timeout, sentences(err, s))
	}
	return asContract(err)
}

func sentences(err error, s Settings) string {
	what, todo := Explain(err, s)
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

// Explain returns, for somebody who doesn't speak the contract, what failed and,
// as a sentence without its full stop, what to do; that is empty where the
// first says all. The settings are those under which it failed.
func Explain(err error, s Settings) (what, todo string) {
	var failed *pkcs11.Error
	switch {
	case errors.As(err, &failed):
		return printable(err.Error()), strings.ReplaceAll(adviceFor(failed).todo, "{pin}", cmp.Or(s.pinFrom, "the PIN"))
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("not finished within %v: %s", s.Timeout, printable(err.Error())), ofKind[pkcs11.KindTimeout].todo
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
