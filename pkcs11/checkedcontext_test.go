// SPDX-License-Identifier: Apache-2.0

//go:build linux

package pkcs11_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
)

// Lengths with the answer are more than its buffer has; those with the question
// before it are more than this process should take.
func TestLengthThatCanNotBeIsNotBelieved(t *testing.T) {
	for rule, signs := range map[string]bool{
		"C_GetSlotList#1 long 1000000000":       false,
		"C_GetSlotList#2 long 8":                false,
		"C_GetSlotList#1 unavailable":           false,
		"C_GetMechanismList#1 long 1000000000":  true, // what it says only orders the tries
		"C_GetMechanismList#2 long 8":           true,
		"C_FindObjects#1 long 100":              false,
		"C_FindObjects#1 unavailable":           false,
		"C_GetAttributeValue#1 long 1000000000": false,
		"C_GetAttributeValue#2 long 8":          false,
		"C_Sign#1 long 1000000000000":           false,
		"C_Sign#2 long 8":                       false,
		"C_Sign#1 unavailable":                  false,
		"C_Sign#2 unavailable":                  false,
	} {
		t.Run(rule, func(t *testing.T) {
			q := newQuirky(t, rule)
			err := q.signWith(t, "EC-256", pkcs11.KeyOptions{PIN: pin(t, q.token.PIN)})
			if signs {
				if err != nil {
					t.Error(err)
				}
				return
			}
			function, _, _ := strings.Cut(rule, "#")
			var e *pkcs11.Error
			if !errors.As(err, &e) || e.Kind != pkcs11.KindAnswer || e.Call != function {
				t.Errorf("error %v", err)
			}
		})
	}
}

// What a list or value has more since its length was asked for is read, too.
func TestAnswerThatGrowsIsAskedForAgain(t *testing.T) {
	for _, function := range []string{"C_GetSlotList", "C_GetMechanismList", "C_GetAttributeValue", "C_Sign"} {
		t.Run(function, func(t *testing.T) {
			q := newQuirky(t, function+"#2 rv 0x150") // CKR_BUFFER_TOO_SMALL
			if err := q.signWith(t, "EC-256", pkcs11.KeyOptions{PIN: pin(t, q.token.PIN)}); err != nil {
				t.Error(err)
			}
		})
	}
}
