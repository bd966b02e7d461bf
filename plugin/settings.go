// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	contract "github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/notation-pkcs11/notation-pkcs11/internal/sandbox"
	"github.com/notation-pkcs11/notation-pkcs11/internal/trustedfile"
	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
)

// Settings is everything that the user said about a key, parsed and checked.
type Settings struct {
	// URI selects the key.
	URI pkcs11.URI
	// Module is the path of the vendor's PKCS#11 module. Empty: the opener's
	// default, which may follow the URI's module-name.
	Module string
	// InitArgs is handed to C_Initialize as pReserved (NSS wants it).
	InitArgs string
	// UserType is the CKU_… to log in as; pkcs11.UserTypeUser by default.
	UserType uint
	// PIN reads or asks for the PIN when it is called, not before. It is never
	// nil; where there is no PIN its error is of pkcs11.KindNoPIN.
	PIN pkcs11.PINFunc
	// AskEachTime has PIN called for each login to a token that stays open.
	AskEachTime bool
	// Certificates are those of cert_chain, in the file's order.
	Certificates []*x509.Certificate
	// Timeout limits the whole command. The context of Opener.Open has it
	// as its deadline already.
	Timeout time.Duration
	// Sandbox is what the module may do to the machine. Nil: all that the user may.
	Sandbox *sandbox.Sandbox
	// MayGainPrivileges lets programs that the module starts have more rights than
	// the user, as setuid programs do.
	MayGainPrivileges bool
	// Log is a file for debug logs. Empty: none.
	Log string
	// ModuleLog is a file for what the module prints, which may be the PIN. Empty:
	// none.
	ModuleLog string
	// Agent is the socket of an agent, which opens the key instead of the Opener. Empty:
	// there is none.
	Agent string
	// AuditLog is a file with a line for each signature, each request that was
	// refused, and each login that failed. Empty: none.
	AuditLog string
	// SecretEnv names environment variables that hold secrets, which the
	// module's process must not see.
	SecretEnv []string
	// PublicOnly says that no signature will be asked for, so that a login is
	// wanted only if the public half of the key can't be read without one.
	PublicOnly bool

	pinFrom   string // where the PIN comes from, for errors
	pinFile   string // the file that it comes from, if it is one
	chainFile string // that of cert_chain
}

const (
	defaultTimeout = time.Minute
	maxTimeout     = time.Hour
)

const envPIN = "NOTATION_PKCS11_PIN"

// A setting has up to three sources, the earlier one wins: an attribute of the
// key URI, a key of the plugin config, an environment variable.
type setting struct {
	attribute string
	key       string
	variable  string
	parse     func(s *draft, value string) error
}

// settings is the one table of them. The PIN itself is none: see draft.pin.
var settings = []setting{
	{pkcs11.AttrModulePath, "module", "NOTATION_PKCS11_MODULE", parseModule},
	{pkcs11.AttrPINSource, "pin_source", "NOTATION_PKCS11_PIN_SOURCE", parsePINSource},
	{"", "cert_chain", "NOTATION_PKCS11_CERT_CHAIN", parseCertChain},
	{"", "timeout", "NOTATION_PKCS11_TIMEOUT", parseTimeout},
	{"", "init_args", "", parseInitArgs},
	{"", "user_type", "", parseUserType},
	{"", "sandbox", "", parseSandbox},
	{"", "no_new_privs", "", parseNoNewPrivs},
	{"", "", "NOTATION_PKCS11_AGENT", parseAgent},
	{"", "audit_log", "NOTATION_PKCS11_AUDIT_LOG", parseAuditLog},
	{"", "", "NOTATION_PKCS11_LOG", parseLog},
	{"", "", "NOTATION_PKCS11_MODULE_LOG", parseModuleLog},
}

// draft is Settings while they are put together.
type draft struct {
	Settings
	source pkcs11.PINSource
}

// ParseSettings puts together what a key id (a PKCS#11 URI), the plugin config
// and the environment say, in this order, then defaults. The bundle of
// cert_chain is read; a PIN source is not. The prompt asks a person for the PIN
// where no source is set; nil means that there is nobody to ask. The error is a
// *plugin.Error of the framework, names the setting at fault, and holds no PIN.
func ParseSettings(keyID string, config map[string]string, getenv func(string) string, prompt pkcs11.PINFunc) (Settings, error) {
	if err := checkConfig(config); err != nil {
		return Settings{}, err
	}
	uri, err := pkcs11.ParseURI(keyID)
	if err != nil {
		return Settings{}, Translate(err, Settings{})
	}
	d := draft{Settings: Settings{URI: uri, UserType: pkcs11.UserTypeUser, Timeout: defaultTimeout}}
	for _, setting := range settings {
		value, origin := setting.lookUp(uri, config, getenv)
		if value == "" {
			continue
		}
		if err := setting.parse(&d, value); err != nil {
			return Settings{}, contract.NewValidationErrorf("%s: %v", origin, err)
		}
	}
	d.choosePIN(getenv, prompt)
	d.SecretEnv = pinVariables(uri, config, getenv)
	return d.Settings, nil
}

// SecretVariables names the environment variables that may hold the PIN of a key:
// [envPIN], and those that any PIN source names. Nothing but the plugin and what
// it starts is to see them. A key id that is no URI names none; ParseSettings
// refuses it.
func SecretVariables(keyID string, config map[string]string, getenv func(string) string) []string {
	uri, _ := pkcs11.ParseURI(keyID)
	return append([]string{envPIN}, pinVariables(uri, config, getenv)...)
}

// pinVariables names the environment variables that any PIN source names, those
// too that another one wins over.
func pinVariables(uri pkcs11.URI, config map[string]string, getenv func(string) string) []string {
	inURI, _ := uri.Value(pkcs11.AttrPINSource)
	var names []string
	for _, value := range []string{inURI, config["pin_source"], getenv("NOTATION_PKCS11_PIN_SOURCE")} {
		if source, err := pkcs11.ParsePINSource(value); err == nil && source.EnvName() != "" {
			names = append(names, source.EnvName())
		}
	}
	return names
}

// checkConfig refuses what the plugin config must not hold, before anything
// that it does hold is used.
func checkConfig(config map[string]string) error {
	var known []string
	for _, s := range settings {
		if s.key != "" {
			known = append(known, s.key)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(config)) {
		switch {
		case key == "pin":
			return contract.NewValidationErrorf("plugin config %q is refused: notation keeps plugin config in its file signingkeys.json and writes it to its log with -d, so a PIN in it is no secret; "+
				"use pin_source=file:/path, pin_source=env:NAME, or the environment variable %s", key, envPIN)
		case !slices.Contains(known, key):
			return contract.NewValidationErrorf("unknown plugin config %s; use one of %s", quote(key), strings.Join(known, ", "))
		case config[key] == "":
			return contract.NewValidationErrorf("plugin config %q is empty; give it a value or leave it out", key)
		}
	}
	return nil
}

// KeyAddArguments returns the arguments of notation that give a key a name:
// "key add --plugin pkcs11 --id … --plugin-config …", without the name, for the
// settings that ParseSettings would find. What stands in the environment goes
// into the plugin config, so that the key works elsewhere, too. Files get
// absolute names.
func KeyAddArguments(uri pkcs11.URI, config map[string]string, getenv func(string) string) ([]string, error) {
	if source, present := uri.Value(pkcs11.AttrPINSource); present {
		source, err := absolute("pin_source", source)
		if err != nil {
			return nil, err
		}
		uri = uri.With(pkcs11.AttrPINSource, source)
	}
	arguments := []string{"key", "add", "--plugin", Name, "--id", uri.String()}
	for _, s := range settings {
		_, inURI := uri.Value(s.attribute)
		if _, named := uri.Value(pkcs11.AttrModuleName); named && s.attribute == pkcs11.AttrModulePath {
			inURI = true
		}
		value, _ := s.lookUp(uri, config, getenv)
		if inURI || s.key == "" || value == "" {
			continue
		}
		value, err := absolute(s.key, value)
		if err != nil {
			return nil, err
		}
		arguments = append(arguments, "--plugin-config", s.key+"="+value)
	}
	return arguments, nil
}

// absolute makes the file that a setting names independent of the working
// directory.
func absolute(key, value string) (string, error) {
	prefix, file := "", value
	switch key {
	case "cert_chain", "audit_log":
	case "pin_source":
		path, isFile := strings.CutPrefix(value, "file:")
		if !isFile || strings.HasPrefix(path, "//") {
			return value, nil
		}
		prefix, file = "file:", path
	default:
		return value, nil
	}
	path, err := filepath.Abs(file)
	return prefix + path, err
}

// Warnings returns a sentence for each file of the settings, and for the module at a
// path, that the users of a group can change, and one for what the kernel lacks for
// the sandbox.
func (s Settings) Warnings(module string) []string {
	var sentences []string
	for _, err := range []error{s.sandboxWarning(), moduleWarning(module), s.pinWarning(), s.chainWarning()} {
		var w warning
		if errors.As(err, &w) {
			sentences = append(sentences, w.problem+"; "+w.advice)
		}
	}
	return sentences
}

// sandboxWarning says what the kernel doesn't restrict of what a sandbox should.
func (s Settings) sandboxWarning() error {
	if s.Sandbox == nil {
		return nil
	}
	missing, err := sandbox.Missing()
	if err != nil || missing == "" { // an error comes when the module is loaded
		return nil
	}
	return warning{"in the sandbox " + missing, "Use a newer kernel if that matters"}
}

func moduleWarning(path string) error  { return fileWarning("the PKCS#11 module", path) }
func (s Settings) pinWarning() error   { return fileWarning("the PIN file", s.pinFile) }
func (s Settings) chainWarning() error { return fileWarning("the file of cert_chain", s.chainFile) }

// fileWarning warns of groups that can change a file, if there is one.
func fileWarning(what, path string) error {
	problem, keepOut := trustedfile.Warning(path)
	if problem == "" {
		return nil
	}
	return warning{what + " " + problem, "To keep them out, run: " + keepOut}
}

// lookUp returns the value that wins, empty if there is none, and where it is from.
func (s setting) lookUp(uri pkcs11.URI, config map[string]string, getenv func(string) string) (value, origin string) {
	if value, present := uri.Value(s.attribute); present {
		return value, s.attribute + " of the key URI"
	}
	if value, present := config[s.key]; present {
		return value, fmt.Sprintf("plugin config %q", s.key)
	}
	if s.variable == "" {
		return "", ""
	}
	return getenv(s.variable), "environment variable " + s.variable
}

func parseModule(d *draft, value string) error {
	_, path := d.URI.Value(pkcs11.AttrModulePath)
	if _, name := d.URI.Value(pkcs11.AttrModuleName); name && !path {
		return nil // the URI's word comes first, and the opener looks it up
	}
	d.Module = value
	return nil
}

func parsePINSource(d *draft, value string) (err error) {
	d.source, err = pkcs11.ParsePINSource(value)
	return err
}

func parseCertChain(d *draft, value string) (err error) {
	d.chainFile = value
	d.Certificates, err = ReadBundle(value)
	return err
}

func parseTimeout(d *draft, value string) error {
	timeout, err := time.ParseDuration(value)
	if err != nil {
		return fmt.Errorf("%s is not a duration such as 30s or 2m", quote(value))
	}
	if timeout <= 0 || timeout > maxTimeout {
		return fmt.Errorf("%s is out of range; it must be more than 0s, and at most %v", quote(value), maxTimeout)
	}
	d.Timeout = timeout
	return nil
}

func parseInitArgs(d *draft, value string) error {
	d.InitArgs = value
	return nil
}

// parseUserType reads a CK_USER_TYPE. The security officer (0) can't use keys,
// and a context-specific login (2) is not one to begin with: PKCS#11 v2.40,
// section 5.6.
func parseUserType(d *draft, value string) error {
	if value == "user" {
		return nil
	}
	digits, base := value, 10
	if rest, ok := strings.CutPrefix(value, "0x"); ok {
		digits, base = rest, 16
	}
	number, err := strconv.ParseUint(digits, base, 32)
	if err != nil {
		return fmt.Errorf("%s is neither user nor a number such as 0x80000001", quote(value))
	}
	if number == 0 || number == 2 {
		return fmt.Errorf("user type %d can't use keys; leave user_type out, or give the vendor's number", number)
	}
	d.UserType = uint(number)
	return nil
}

func parseSandbox(d *draft, value string) (err error) {
	d.Sandbox, err = sandbox.Parse(value)
	return err
}

func parseNoNewPrivs(d *draft, value string) error {
	switch value {
	case "true":
	case "false":
		d.MayGainPrivileges = true
	default:
		return fmt.Errorf("%s is neither true nor false", quote(value))
	}
	return nil
}

func parseAgent(d *draft, value string) error {
	d.Agent = value
	return nil
}

func parseAuditLog(d *draft, value string) error {
	d.AuditLog = value
	return nil
}

func parseLog(d *draft, value string) error {
	d.Log = value
	return nil
}

func parseModuleLog(d *draft, value string) error {
	d.ModuleLog = value
	return nil
}

// WithPIN returns settings with another source of the PIN, which errors call from,
// such as "the PIN that was typed".
func (s Settings) WithPIN(pin pkcs11.PINFunc, from string) Settings {
	s.PIN, s.pinFrom, s.pinFile = pin, from, ""
	return s
}

// choosePIN decides where the PIN comes from. It is read when the token wants
// it, which describe-key mostly doesn't.
func (d *draft) choosePIN(getenv func(string) string, prompt pkcs11.PINFunc) {
	source := d.source
	switch {
	case !source.IsZero():
		d.pinFrom, d.pinFile = "the PIN source "+source.String(), source.File()
		d.PIN = func(context.Context, pkcs11.TokenInfo) (pkcs11.PIN, error) {
			return source.Read(getenv)
		}
	case getenv(envPIN) != "":
		d.pinFrom = "the environment variable " + envPIN
		d.PIN = func(context.Context, pkcs11.TokenInfo) (pkcs11.PIN, error) {
			return pkcs11.NewPIN([]byte(getenv(envPIN))), nil
		}
	case prompt != nil:
		d.pinFrom = "what was typed"
		d.PIN = prompt
	default:
		d.pinFrom = "what was typed at the token's PIN pad"
		d.PIN = func(context.Context, pkcs11.TokenInfo) (pkcs11.PIN, error) {
			return pkcs11.PIN{}, &pkcs11.Error{Kind: pkcs11.KindNoPIN, Message: "none is configured"}
		}
	}
}
