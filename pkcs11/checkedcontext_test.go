// SPDX-License-Identifier: Apache-2.0

//go:build linux

package pkcs11_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
)

// Lengths with the answer are more than its buffer has; those with a question for the
// length are more than this process should take.
func TestLengthThatCanNotBeIsNotBelieved(t *testing.T) {
	for rule, signs := range map[string]bool{
		"C_GetSlotList#1 long 1000000000":       false,
		"C_GetSlotList#2 long 8":                false,
		"C_GetSlotList#1 unavailable":           false,
		"C_GetMechanismList#1 long 1000000000":  true, // what it says only orders the tries
		"C_GetMechanismList#1 long 8":           true,
		"C_FindObjects#1 long 100":              false,
		"C_FindObjects#1 unavailable":           false,
		"C_GetAttributeValue#1 long 1000000000": false,
		"C_Sign#1 long 1000000000000":           false,
		"C_Sign#1 long 8":                       false,
		"C_Sign#1 unavailable":                  false,
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

// What has become longer than its buffer is read with a longer one.
func TestAnswerThatGrowsIsAskedForAgain(t *testing.T) {
	for _, call := range []string{"C_GetSlotList#2", "C_GetMechanismList#1", "C_GetAttributeValue#1", "C_GetAttributeValue#2", "C_Sign#1"} {
		t.Run(call, func(t *testing.T) {
			q := newQuirky(t, call+" rv 0x150") // CKR_BUFFER_TOO_SMALL
			if err := q.signWith(t, "EC-256", pkcs11.KeyOptions{PIN: pin(t, q.token.PIN)}); err != nil {
				t.Error(err)
			}
		})
	}
}
