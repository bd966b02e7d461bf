// SPDX-License-Identifier: Apache-2.0

// Package action signs and verifies artifacts in registries, many in one run,
// and says what it did. It is what the GitHub Action and the executable
// notation-pkcs11-action consist of.
//
// Start with [Action], whose Main is one run. inputTable in inputs.go is the one
// source of its inputs: flags, environment, action.yml and the reference in docs/
// follow from it. A run (run.go) resolves all artifacts, signs them (signer.go),
// pushes the signatures (push.go, index.go), verifies what is then in the
// registry (trust.go, verify.go, explain.go), and hands what it found to package
// report (reporting.go), which renders it.
//
// The package knows no PKCS#11. It signs through the SignPlugin of the plugin
// framework, and the plugin that the executable brings along is one like others.
// Envelopes and verdicts are notation-go's. Whatever a registry or a certificate
// says stays out of decisions about whom to trust.
package action
