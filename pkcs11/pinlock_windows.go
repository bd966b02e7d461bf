// SPDX-License-Identifier: Apache-2.0

package pkcs11

import (
	"unsafe"

	"golang.org/x/sys/windows"
)

// Lock keeps the PIN's bytes in memory, so that they are never written to the page
// file, for as long as the process is there. Copies of the bytes are not locked.
func (p PIN) Lock() error {
	secret := p.Reveal()
	if len(secret) == 0 {
		return nil
	}
	return windows.VirtualLock(uintptr(unsafe.Pointer(&secret[0])), uintptr(len(secret)))
}
