// SPDX-License-Identifier: Apache-2.0

package host

/*
#include <stdlib.h>
#include "early_linux.h"
*/
import "C"

import "unsafe"

// EraseEnv overwrites the values of environment variables where other processes
// that may look at this one see them (/proc/PID/environ). The process itself keeps
// them: os.Getenv returns what it did before.
func EraseEnv(names ...string) {
	for _, name := range names {
		text := C.CString(name)
		C.early_erase(text)
		C.free(unsafe.Pointer(text))
	}
}

// The words for a child's walls.
const (
	wallNoNewPrivs = C.EARLY_NO_NEW_PRIVS
	wallSandbox    = C.EARLY_SANDBOX
	wallTraced     = C.EARLY_TRACED
)

// isSet reports whether a wall was set in this process before Go started.
func isSet(wall string) bool {
	text := C.CString(wall)
	defer C.free(unsafe.Pointer(text))
	return C.early_is_set(text) != 0
}

// exitNoWalls is the exit status of a child that could not set its walls, and has
// loaded nothing.
const exitNoWalls = C.EARLY_EXIT_NO_WALLS
