// SPDX-License-Identifier: Apache-2.0

// Package pkcs11 signs with private keys that never leave a PKCS#11 token or
// HSM.
//
// Start with [Load], which loads a vendor's module. From there the way is
// [Module.Token] (exactly one token for a [URI]) and [Token.Key] (exactly one
// private key), which gives a [Key]: a crypto.Signer and crypto.MessageSigner
// that works with crypto/x509. [Token.PublicKey] is the short way for callers
// that want to know the key without logging in; [Key.Sibling] opens another key with
// the same login. [Token.Open] gives a [Session],
// with which people look at what a token holds, generate keys and import
// certificates.
//
// The package knows nothing of the Notary Project. It hides what modules do
// differently: locking, read-only sessions, logins, hidden public keys,
// mechanisms and encodings. It runs the module in the calling process; package
// host puts it into a process of its own.
//
// Section numbers in comments are those of the PKCS#11 v2.40 base
// specification and the RFCs named.
package pkcs11
