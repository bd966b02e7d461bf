// SPDX-License-Identifier: Apache-2.0

package pkcs11

// #include <stdlib.h>
import "C"

import "unsafe"

// cString copies s to where C code can read it, until free is called. The
// empty string is NULL.
func cString(s string) (p unsafe.Pointer, free func()) {
	if s == "" {
		return nil, func() {}
	}
	p = unsafe.Pointer(C.CString(s))
	return p, func() { C.free(p) }
}
