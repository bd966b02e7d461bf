// SPDX-License-Identifier: Apache-2.0

package pkcs11

// checkWriters does nothing: mode bits say nothing on Windows, where libraries
// are installed by administrators, into directories that others can't change.
func checkWriters(_, _ string) error { return nil }
