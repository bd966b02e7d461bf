// SPDX-License-Identifier: Apache-2.0

// Package plugin is the Notary Project's plugin contract, spoken for keys in
// PKCS#11 tokens.
//
// Start with [Plugin]: it answers the contract's requests, as the framework's
// SignPlugin, so that a program can also use it without any process between.
// [Server] carries the requests of one command in by standard input and the
// answer out by standard output. [ParseSettings] turns a key id, plugin config
// and environment into [Settings], once; all that follows takes those.
//
// The package loads no module and knows no vendor: it asks an [Opener] for a
// [Key]. It chooses the certificate chain and checks it by the Notary Project's
// rules, writes ECDSA signatures as r||s, verifies every signature once more,
// and gives each error the contract's code and a sentence of what to do.
//
// With an audit log (audit.go) a signature has its line before it is given out. Where
// an agent is set, [Plugin.Agent] opens the key; package agent has both of its ends.
//
// Sections named in comments are those of the Notary Project's specifications
// plugin-extensibility.md ("the contract") and signature-specification.md ("the
// signature specification").
package plugin
