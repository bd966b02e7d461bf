// SPDX-License-Identifier: Apache-2.0

package pkcs11

/*
#include <stddef.h>
#include <stdint.h>

static void *pointer(uintptr_t address) { return (void *)address; }

static unsigned long getFunctionList(uintptr_t function, void **list)
{
	unsigned long (*get)(void **) = (unsigned long (*)(void **))function;

	*list = NULL;
	return get(list);
}
*/
import "C"

import (
	"fmt"
	"syscall"
	"unsafe"
)

// load loads the library and asks it for its function list. What is wrong with it, the
// error explains.
func load(path string) (library, functions unsafe.Pointer, err error) {
	handle, err := syscall.LoadLibrary(path)
	if err != nil {
		return nil, nil, fmt.Errorf("can't be loaded: %w", err)
	}
	get, err := syscall.GetProcAddress(handle, "C_GetFunctionList")
	if err != nil {
		syscall.FreeLibrary(handle)
		return nil, nil, errNoPKCS11
	}
	if rv := C.getFunctionList(C.uintptr_t(get), &functions); rv != 0 || functions == nil {
		syscall.FreeLibrary(handle)
		return nil, nil, noFunctions(uint(rv))
	}
	return C.pointer(C.uintptr_t(handle)), functions, nil
}
