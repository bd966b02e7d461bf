// SPDX-License-Identifier: Apache-2.0

// Package hosted is what both executables put between package plugin and the
// module host: [Opener] opens keys in processes of their own, [Vault] does it
// for the agent, [PromptPIN] asks
// whoever sits at the terminal for a PIN.
package hosted
