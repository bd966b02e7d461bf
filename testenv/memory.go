// SPDX-License-Identifier: Apache-2.0

package testenv

import "runtime"

// AllocatedMiB returns how many MiB a function allocates, what is freed in the
// meantime included. Nothing else may run beside it.
func AllocatedMiB(do func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	do()
	runtime.ReadMemStats(&after)
	return (after.TotalAlloc - before.TotalAlloc) >> 20
}
