// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"crypto/x509"
	"slices"
	"time"

	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
)

// Assessment says whether notation can sign with a key, as far as can be told
// without a signature.
type Assessment struct {
	// Certificate is the key's own: of several the one that notation would get,
	// or else the one that comes closest. Nil: there is none.
	Certificate *x509.Certificate
	// Problem is why notation can't sign with the key. Empty: it can.
	Problem string
}

// Assess looks at a key and the certificates around it, with the clock at now.
func Assess(key pkcs11.KeyInfo, onToken, configured []*x509.Certificate, now time.Time) Assessment {
	if key.Public == nil {
		return Assessment{Problem: printable(problemOf(key))}
	}
	var a Assessment
	chain, err := findChain(key.Public, onToken, configured, now)
	if err == nil {
		a.Certificate = chain[0]
	} else if leaves := newPool(slices.Concat(onToken, configured)).leaves(key.Public); len(leaves) > 0 {
		a.Certificate = leaves[0]
	}
	spec, specErr := specOf(key.Public)
	switch {
	case specErr != nil:
		a.Problem = asContract(specErr).Message
	case key.Problem != nil:
		a.Problem = problemOf(key)
	case key.CheckMechanism(spec.options()) != nil:
		a.Problem = "its CKA_ALLOWED_MECHANISMS permit neither RSASSA-PSS nor ECDSA with the right hash"
	case err != nil && a.Certificate == nil:
		a.Problem = "no certificate"
	case err != nil && now.After(a.Certificate.NotAfter):
		a.Problem = "the certificate expired on " + a.Certificate.NotAfter.UTC().Format(time.DateOnly)
	case err != nil && now.Before(a.Certificate.NotBefore):
		a.Problem = "the certificate is not valid before " + a.Certificate.NotBefore.UTC().Format(time.DateOnly)
	case err != nil:
		a.Problem = asContract(err).Message
	}
	a.Problem = printable(a.Problem)
	return a
}

// problemOf says in a few words why a key can sign nothing: a list has little
// room.
func problemOf(key pkcs11.KeyInfo) string {
	switch key.Problem.Kind {
	case pkcs11.KindKey:
		return "the key is " + key.Type + ", which notation can't sign with; it signs with " + keySpecNames()
	case pkcs11.KindNotPermitted:
		return "its CKA_SIGN is false"
	case pkcs11.KindPublicKey:
		return "its public half is not known; " + remedyCertificate
	}
	return key.Problem.Message
}
