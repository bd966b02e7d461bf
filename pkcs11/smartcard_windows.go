// SPDX-License-Identifier: Apache-2.0

package pkcs11

// smartCardServiceIsAway reports nothing: Windows starts its service for smart
// cards when it is asked for.
func smartCardServiceIsAway() bool { return false }
