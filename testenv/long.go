// SPDX-License-Identifier: Apache-2.0

package testenv

import "testing"

// Long marks a test that "make test-quick" leaves out, and says what takes it more
// than some seconds: "kills at each step", not "slow". "make test" leaves none out.
func Long(tb testing.TB, what string) {
	tb.Helper()
	if testing.Short() {
		tb.Skipf("left out with -short: it %s", what)
	}
}
