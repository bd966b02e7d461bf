// SPDX-License-Identifier: Apache-2.0

// Package hosted is what both executables put between package plugin and the
// module host. It has no command and prints no result.
//
// Start with [Opener], which opens keys in processes of their own; [Vault] does so
// for the agent. [PromptPIN] and [AskYes] ask the person at the terminal, and
// [Proxy] finds out which module is to blame where p11-kit's proxy fails.
package hosted
