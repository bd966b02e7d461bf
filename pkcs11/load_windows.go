// SPDX-License-Identifier: Apache-2.0

package pkcs11

import (
	"errors"
	"fmt"
	"syscall"
)

// probe loads the library as the binding will, but explains what is wrong with
// it. The library, of which the handle is returned, stays loaded until the
// function it returns is called.
func probe(path string) (handle uintptr, unload func(), err error) {
	library, err := syscall.LoadLibrary(path)
	if err != nil {
		return 0, nil, fmt.Errorf("can't be loaded: %w", err)
	}
	if _, err := syscall.GetProcAddress(library, "C_GetFunctionList"); err != nil {
		syscall.FreeLibrary(library)
		return 0, nil, errors.New("is not a PKCS#11 module: it has no function C_GetFunctionList")
	}
	return uintptr(library), func() { syscall.FreeLibrary(library) }, nil
}
