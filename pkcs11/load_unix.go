// SPDX-License-Identifier: Apache-2.0

//go:build unix

package pkcs11

/*
#cgo linux LDFLAGS: -ldl
#include <dlfcn.h>
#include <stddef.h>

// load opens a library and asks it for its function list, all in one C
// function because dlerror speaks of the calling thread's last failure.
static void *load(const char *path, void **list, const char **why, unsigned long *rv)
{
	void *library = dlopen(path, RTLD_LAZY | RTLD_LOCAL);
	if (library == NULL) {
		*why = dlerror();
		return NULL;
	}
	unsigned long (*get)(void **) = (unsigned long (*)(void **))dlsym(library, "C_GetFunctionList");
	if (get == NULL) {
		*why = "symbol";
	} else {
		*list = NULL;
		*rv = get(list);
		if (*rv == 0 && *list != NULL)
			return library;
		*why = "list";
	}
	dlclose(library);
	return NULL;
}
*/
import "C"

import (
	"debug/elf"
	"fmt"
	"runtime"
	"strings"
	"syscall"
	"unsafe"
)

// load loads the library and asks it for its function list. What is wrong with it, the
// error explains.
func load(path string) (library, functions unsafe.Pointer, err error) {
	name, free := cString(path)
	defer free()
	var why *C.char
	var rv C.ulong
	if library = C.load((*C.char)(name), &functions, &why, &rv); library != nil {
		return library, functions, nil
	}
	switch reason := C.GoString(why); reason {
	case "symbol":
		return nil, nil, errNoPKCS11
	case "list":
		return nil, nil, noFunctions(uint(rv))
	default:
		return nil, nil, explain(path, reason)
	}
}

// machines are the ELF machines of Go's architectures that modules are made for.
var machines = map[string]elf.Machine{
	"386": elf.EM_386, "amd64": elf.EM_X86_64, "arm": elf.EM_ARM, "arm64": elf.EM_AARCH64,
	"ppc64le": elf.EM_PPC64, "riscv64": elf.EM_RISCV, "s390x": elf.EM_S390,
}

// explain says what dlopen's reason means. On a library of another
// architecture glibc says "no such file".
func explain(path, reason string) error {
	if f, err := elf.Open(path); err == nil {
		defer f.Close()
		if want, known := machines[runtime.GOARCH]; known && f.Machine != want {
			return fmt.Errorf("is for another architecture (%v) than this program (%s)", f.Machine, runtime.GOARCH)
		}
	}
	reason = strings.TrimPrefix(reason, path+": ")
	if library, _, missing := strings.Cut(reason, ": cannot open shared object file"); missing {
		return advised{fmt.Errorf("needs the library %q, which is not found", library), "Install that library, or name its directory in LD_LIBRARY_PATH"}
	}
	if strings.Contains(reason, "invalid ELF header") || strings.Contains(reason, "file too short") {
		return fmt.Errorf("is not a shared library: %s", reason)
	}
	if strings.Contains(reason, "Cannot allocate memory") || strings.Contains(reason, "failed to map segment") {
		return fmt.Errorf("can't be loaded: %s: %w", reason, syscall.ENOMEM)
	}
	return fmt.Errorf("can't be loaded: %s", reason)
}
