// SPDX-License-Identifier: Apache-2.0

//go:build unix && !linux

package host

import "os/exec"

// awaitEnd waits for the child's end. Where it can't be left unreaped, its group
// is killed just after.
func awaitEnd(child *exec.Cmd) { child.Wait() }
