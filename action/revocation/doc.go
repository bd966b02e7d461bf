// SPDX-License-Identifier: Apache-2.0

// Package revocation asks whether certificates were revoked, by OCSP and CRLs, once
// for each certificate chain of a run.
//
// Start with [New]. A [Memory] is a validator for notation-go, and can be asked what
// it knows by now; [TrustedChains] keeps a registry from having any URL requested.
// [Lists] are CRLs at hand, which are not asked for.
// The verdict on revocation is notation-core-go's.
package revocation
