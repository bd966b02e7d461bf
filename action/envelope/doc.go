// SPDX-License-Identifier: Apache-2.0

// Package envelope reads what a signature envelope claims: who signed what, when,
// with which certificates. Claims are worth as much as the checks of the signature
// say; nothing here verifies more than the integrity of an envelope.
//
// Start with [ReadClaims]; [Open] returns the content of an envelope that is intact.
// All texts are cut to a bounded length, for anybody can write an envelope.
package envelope
