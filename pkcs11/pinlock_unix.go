// SPDX-License-Identifier: Apache-2.0

//go:build unix

package pkcs11

import "golang.org/x/sys/unix"

// Lock keeps the PIN's bytes in memory, so that they are never written to swap, for
// as long as the process is there. It fails where a limit forbids it
// (RLIMIT_MEMLOCK). Copies of the bytes are not locked.
func (p PIN) Lock() error {
	secret := p.Reveal()
	if len(secret) == 0 {
		return nil
	}
	return unix.Mlock(secret)
}
