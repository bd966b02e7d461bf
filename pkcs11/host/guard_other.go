// SPDX-License-Identifier: Apache-2.0

//go:build unix && !linux

package host

// undumpable has nothing to add to the limit.
func undumpable() {}
