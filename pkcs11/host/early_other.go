// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package host

// EraseEnv does nothing: it is for what Linux shows in /proc.
func EraseEnv(...string) {}

// The words for a child's walls, which it has on Linux alone.
const (
	wallNoNewPrivs = "no-new-privs"
	wallSandbox    = "sandbox"
	wallTraced     = "traced"
)

// isSet is true: no walls are missing, since a parent asks for none that keep a
// module in (Config.walls refuses a sandbox).
func isSet(string) bool { return true }

// exitNoWalls is the exit status of a child that could not set its walls. Here are
// none.
const exitNoWalls = -2
