// SPDX-License-Identifier: Apache-2.0

package auditlog

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"strings"
)

// noHash is the hash before the first line.
const noHash = "0000000000000000000000000000000000000000000000000000000000000000"

// hashOf is a SHA-256 in lower-case hexadecimal: of a line with its end, what
// `tail -n 1 FILE | sha256sum` prints.
func hashOf(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// Thumbprint is what Entry.Certificate holds of a certificate.
func Thumbprint(certificate *x509.Certificate) string { return hashOf(certificate.Raw) }

// IsHash reports whether a text is a SHA-256 in lower-case hexadecimal.
func IsHash(s string) bool {
	return len(s) == len(noHash) && strings.Trim(s, "0123456789abcdef") == ""
}
