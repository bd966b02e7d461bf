// SPDX-License-Identifier: Apache-2.0

// Package streams knows how the process was started: with which standard
// streams. The Go runtime opens the null device in the place of those that are
// missing, so that what is written there is lost without an error.
package streams

import "os"

// Stdout returns standard output. Where the process was started without one, each
// write to it fails.
func Stdout() *os.File {
	if !startedWithoutStdout() {
		return os.Stdout
	}
	unwritable, err := os.Open(os.DevNull)
	if err != nil {
		return nil // whose writes fail, too
	}
	return unwritable
}
