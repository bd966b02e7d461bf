// SPDX-License-Identifier: Apache-2.0

// Package action signs and verifies artifacts in registries, many in one run,
// and says what it did. It is what the GitHub Action and the executable
// notation-pkcs11-action consist of.
//
// Start with [Action], whose Main is one run. inputTable (inputtable.go) is the one
// source of its inputs: flags, environment, action.yml and the reference in docs/
// follow from it. What can be checked is checked before the first request
// (prepare.go); then a run (run.go) takes all artifacts through its stages. Each
// stage is a room of its own, and this package only wires them:
//
//   - registry: repositories, what is in them, and how they are spoken to
//   - pluginprogram: plugins that are programs
//   - sign: envelopes with one key, in a plugin or in files
//   - publish: writing that loses nothing, copies of artifacts, and tags
//   - verify: the trust policy, and what it comes to
//   - report: what the run found, and how it is shown
//
// With sources or tags, copying.go adds stages: sources are read, artifacts copied;
// tagging.go has them tagged when all have passed. destinations.go finds what goes
// where, layouts.go opens the layouts among them. Files get attached by attaching.go;
// required.go looks for the referrers that must be there.
//
// The package knows no PKCS#11. It signs through the SignPlugin of the plugin
// framework, and the plugin that the executable brings along is one like others.
// Envelopes and verdicts are notation-go's. Whatever a registry or a certificate
// says stays out of decisions about whom to trust.
package action
