// SPDX-License-Identifier: Apache-2.0

// Package registry reads and writes what is in repositories of OCI registries, for one run
// of the action. It knows references, manifests, referrers and signature manifests; what an
// envelope says, and what is to be written when, it does not know.
//
// Start with [Client], which has one transport, the credentials and the tokens of a
// run; [Client.Resolve] finds the [Target] that a reference means, and
// [Target.Children] what an image index has in it. It is a [SignatureSource]. A
// target is in a [Store]: a repository (repository.go), or a [Layout] that the package
// action/layout opened. A [Source] is an artifact of either that is to be copied.
// Requests for manifests are made here (manifest.go), not by oras-go, where their
// headers matter. Each request passes transport.go, which retries, and
// redirectguard.go, which keeps it from going where it must not; tokenserver.go keeps
// passwords from going where only the registry sends them. Errors of registries go
// through [Client.Explain], which adds advice (advice.go). Before anything of a registry
// is shown, [Client.Redact] takes secrets out (redact.go).
package registry
