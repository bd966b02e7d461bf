// SPDX-License-Identifier: Apache-2.0

//go:build unix

package streams

/*
#include <fcntl.h>

static int missing;

// It runs before the Go runtime does.
__attribute__((constructor)) static void look(void) { missing = fcntl(1, F_GETFD) == -1; }

static int startedWithoutStdout(void) { return missing; }
*/
import "C"

func startedWithoutStdout() bool { return C.startedWithoutStdout() != 0 }
