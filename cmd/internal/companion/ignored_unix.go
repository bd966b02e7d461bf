// SPDX-License-Identifier: Apache-2.0

//go:build linux || darwin

package companion

/*
#include <signal.h>
#include <stddef.h>

static unsigned ignored;

// It runs before the Go runtime does, which takes most signals.
__attribute__((constructor)) static void look(void)
{
	for (int number = 1; number < 32; number++) {
		struct sigaction action;

		if (sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_IGN)
			ignored |= 1u << number;
	}
}

static int was_ignored(int number) { return (ignored >> number) & 1; }
*/
import "C"

import (
	"os/signal"
	"syscall"
)

// ignoreAsBefore has the signals ignored that this process was started with as
// ignored: the command is to have them so.
func ignoreAsBefore() {
	for number := 1; number < 32; number++ {
		if C.was_ignored(C.int(number)) != 0 {
			signal.Ignore(syscall.Signal(number))
		}
	}
}
