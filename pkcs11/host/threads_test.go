// SPDX-License-Identifier: Apache-2.0

//go:build linux

package host_test

import "testing"

// Where a container has no room for the threads of two processes, that is said
// before the Go runtime aborts one of them and the module seems to have crashed.
func TestLimitOfThreadsIsSaidToBeOne(t *testing.T) {
	const nobodyElse = 64538 // has no processes
	p := startParent(t, nobodyElse, "/absent.so", "limit")
	p.awaits(t, "resources: the process for the PKCS#11 module can't be started: there is no room for 16 more threads: resource temporarily unavailable")
}
