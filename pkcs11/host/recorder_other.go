// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package host

import "os"

// recorderFile makes a temporary file, to be removed once it is closed.
func recorderFile() (f *os.File, remove func(), err error) {
	f, err = os.CreateTemp("", "notation-pkcs11-calls-*")
	if err != nil {
		return nil, nil, err
	}
	return f, func() { os.Remove(f.Name()) }, nil
}
