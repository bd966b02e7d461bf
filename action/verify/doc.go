// SPDX-License-Identifier: Apache-2.0

// Package verify evaluates a trust policy on all signatures of an artifact, and
// explains each check.
//
// Start with [Verifier]. [LoadTrust] reads the policy and the trust stores
// (trust.go, truststore.go) before the first request; statement.go finds the
// statement that applies and why. The verdict on each signature is notation-go's
// (verify.go), in the words of package report: checks.go turns its results into
// checks, explain.go says what was found and what to do. [Inspect] reads signatures
// without a policy. Nothing that a registry or a certificate says can widen whom the
// policy trusts.
package verify
