// SPDX-License-Identifier: Apache-2.0

package action

import (
	"fmt"
	"io"
)

// secret is a value that is not to be shown: however it is printed, it reads
// REDACTED. As a member of what is printed whole it reads as an address, because
// package fmt calls no methods there.
type secret struct{ value *string }

func newSecret(value string) secret { return secret{&value} }

func (s secret) empty() bool { return s.reveal() == "" }

// reveal returns the value, for where it is used.
func (s secret) reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// Format implements fmt.Formatter for all verbs.
func (s secret) Format(f fmt.State, _ rune) { io.WriteString(f, "REDACTED") }

// MarshalText keeps the value out of JSON too.
func (s secret) MarshalText() ([]byte, error) { return []byte("REDACTED"), nil }
