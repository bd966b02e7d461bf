// SPDX-License-Identifier: Apache-2.0

package pkcs11

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"unicode"

	"github.com/notation-pkcs11/notation-pkcs11/internal/trustedfile"
)

// maxPIN bounds a PIN in bytes. API keys of cloud HSMs have a few hundred.
const maxPIN = 4 << 10

// PIN is a token's PIN: any bytes. However it is printed, logged or marshalled
// it shows as REDACTED; only Reveal returns the bytes. Copies share the bytes,
// so Wipe clears them all.
type PIN struct {
	// A pointer, since package fmt calls no methods of what is in unexported
	// members: it shows the address.
	secret *[]byte
}

// NewPIN takes over the bytes.
func NewPIN(secret []byte) PIN { return PIN{&secret} }

const redacted = "REDACTED"

// Format implements fmt.Formatter for every verb.
func (PIN) Format(s fmt.State, _ rune) { io.WriteString(s, redacted) }

// MarshalText implements encoding.TextMarshaler, and so JSON and slog.
func (PIN) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Reveal returns the PIN itself, not a copy.
func (p PIN) Reveal() []byte {
	if p.secret == nil {
		return nil
	}
	return *p.secret
}

// Wipe overwrites the PIN's bytes with zeros. What the binding and the module
// copied is out of reach.
func (p PIN) Wipe() { clear(p.Reveal()) }

// flaw says what a PIN has that none has on purpose, since nobody could type it:
// trying it would cost one of the token's tries. Empty: nothing.
func (p PIN) flaw() string {
	secret := p.Reveal()
	switch {
	case bytes.HasPrefix(secret, []byte("\xef\xbb\xbf")):
		return "begins with a byte order mark, as some editors write it"
	case bytes.HasPrefix(secret, []byte("\xff\xfe")), bytes.HasPrefix(secret, []byte("\xfe\xff")):
		return "is UTF-16 text, as PowerShell writes it"
	case bytes.HasSuffix(secret, []byte("\n")), bytes.HasSuffix(secret, []byte("\r")):
		return "ends in a line break"
	}
	return ""
}

// suspicion says what a PIN may have on purpose, and mostly has not, for a token
// that refused it. Empty: nothing.
func (p PIN) suspicion() string {
	const blanks = " \t"
	switch secret := p.Reveal(); {
	case len(bytes.TrimLeft(secret, blanks)) < len(secret):
		return "begins with a space or a tab"
	case len(bytes.TrimRight(secret, blanks)) < len(secret):
		return "ends in a space or a tab"
	case bytes.ContainsAny(secret, "\r\n"):
		return "has a line break in it"
	case bytes.IndexByte(secret, 0) >= 0:
		return "has a NUL byte in it"
	case len(secret) > 1 && secret[0] == secret[len(secret)-1] && (secret[0] == '"' || secret[0] == '\''):
		return "is in quotation marks"
	case bytes.ContainsFunc(secret, func(r rune) bool { return !unicode.IsGraphic(r) }):
		return "has a character in it that doesn't show"
	}
	return ""
}

// PINSource names a place where a PIN is kept. The zero PINSource names none.
type PINSource struct {
	scheme, name string
}

// ParsePINSource parses "file:/path" (or "file:///path", or just an absolute
// path) or "env:NAME". The path is taken literally. The command form that some
// tools know ("|command") is refused. Nothing is read yet. The error doesn't
// repeat s: people put the PIN itself there by mistake.
func ParsePINSource(s string) (PINSource, error) {
	scheme, name, found := strings.Cut(s, ":")
	switch {
	case found && scheme == "env" && name != "" && !strings.ContainsAny(name, "=\x00"):
		return PINSource{scheme, name}, nil
	case found && scheme == "file" && name != "":
		if rest, ok := strings.CutPrefix(name, "//"); ok {
			name = strings.TrimPrefix(rest, "localhost")
			if !strings.HasPrefix(name, "/") {
				return PINSource{}, newError(KindConfig, "the PIN source is on another host; use file:/path")
			}
		}
		return PINSource{scheme, name}, nil
	case strings.HasPrefix(s, "/"):
		return PINSource{"file", s}, nil
	case strings.HasPrefix(s, "|"):
		return PINSource{}, newError(KindConfig, "the PIN source is a command, which is not run; use file:/path or env:NAME")
	}
	return PINSource{}, newError(KindConfig, "the PIN source is neither file:/path nor env:NAME")
}

// IsZero reports whether the source names no place.
func (s PINSource) IsZero() bool { return s == PINSource{} }

// EnvName returns the name of the environment variable that holds the PIN, and
// "" for other sources.
func (s PINSource) EnvName() string {
	if s.scheme == "env" {
		return s.name
	}
	return ""
}

// File returns the path of the file that holds the PIN, and "" for other sources.
func (s PINSource) File() string {
	if s.scheme == "file" {
		return s.name
	}
	return ""
}

// String returns the source as ParsePINSource reads it, such as "env:NAME".
func (s PINSource) String() string {
	if s.scheme == "file" && strings.HasPrefix(s.name, "//") { // else it would read as the name of a host
		return s.scheme + "://" + s.name
	}
	return s.scheme + ":" + s.name
}

// Read reads the PIN. One line end at a file's end is cut off; all else is
// PIN. An empty PIN is an error, since trying it would cost one of the token's
// tries; so is a file that other users of the machine can read or change, by the
// rule of package trustedfile. Errors are of KindPINSource.
func (s PINSource) Read(getenv func(string) string) (PIN, error) {
	if s.scheme == "env" {
		value := getenv(s.name)
		if value == "" {
			return PIN{}, newError(KindPINSource, "the PIN source %s is empty or not set", s)
		}
		return NewPIN([]byte(value)), nil
	}
	secret, err := readSecretFile(s.name)
	if err != nil {
		var path *fs.PathError // whose text repeats the name
		if errors.As(err, &path) {
			err = path.Err
		}
		return PIN{}, newError(KindPINSource, "the PIN source %q can't be used: %v", s.String(), err)
	}
	return NewPIN(secret), nil
}

// readSecretFile reads a file as a PIN.
func readSecretFile(name string) ([]byte, error) {
	secret, err := trustedfile.Read(name, trustedfile.Secret, maxPIN)
	var refused *trustedfile.Error
	if errors.As(err, &refused) {
		return nil, fmt.Errorf("it %w", err)
	}
	if err != nil {
		return nil, err
	}
	if line, ok := bytes.CutSuffix(secret, []byte("\n")); ok {
		secret = bytes.TrimSuffix(line, []byte("\r"))
	}
	if len(secret) == 0 {
		return nil, errors.New("it is empty")
	}
	return secret, nil
}
