// SPDX-License-Identifier: Apache-2.0

// Package agent keeps keys open between plugin processes: one login for many
// signatures.
//
// A [Server] holds [Token]s, each with its keys and one login, and answers requests
// on a UNIX socket that [Listen] makes or [Inherit] takes over. [Client] is the
// other end, a plugin.Opener: plugin processes that find the variable
// NOTATION_PKCS11_AGENT set use it and load nothing.
//
// The server signs Notary payloads (package payload) and nothing else. It gets the
// message and never a digest. A request holds the attributes of a key, a hash and a
// message: no text of a client names a path, a module, a PIN source or a setting.
// Either end talks to processes of its own user alone.
//
// The package loads no module: a [Vault] opens keys for it. On systems without UNIX
// sockets that tell who is at the other end, both ends say so.
package agent
