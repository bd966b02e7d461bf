// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"fmt"
	"io"
)

// Secret is a value that is not to be shown: however it is printed, it reads
// REDACTED. As a member of what is printed whole it reads as an address, because
// package fmt calls no methods there.
type Secret struct{ value *string }

// NewSecret returns a value as a secret.
func NewSecret(value string) Secret { return Secret{&value} }

// Empty reports whether there is no value.
func (s Secret) Empty() bool { return s.Reveal() == "" }

// Reveal returns the value, for where it is used.
func (s Secret) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// Format implements fmt.Formatter for all verbs.
func (s Secret) Format(f fmt.State, _ rune) { io.WriteString(f, "REDACTED") }

// MarshalText keeps the value out of JSON too.
func (s Secret) MarshalText() ([]byte, error) { return []byte("REDACTED"), nil }
