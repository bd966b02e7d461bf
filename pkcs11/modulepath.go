// SPDX-License-Identifier: Apache-2.0

package pkcs11

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// CheckModule says, without loading it, whether Load would refuse the file at a
// path. The error is of KindUnsafe where somebody else could have put it there,
// and else of KindModule.
func CheckModule(path string) error {
	err := checkModulePath(path)
	if err == nil {
		return nil
	}
	kind := KindModule
	if errors.As(err, new(unsafePathError)) {
		kind = KindUnsafe
	}
	return newError(kind, "the PKCS#11 module %q %v", path, err)
}

// unsafePathError says who could have put the module there.
type unsafePathError string

func (e unsafePathError) Error() string { return string(e) }

// checkModulePath refuses what must not be loaded: its code would run with the
// caller's rights, and see the PIN.
func checkModulePath(path string) error {
	if !filepath.IsAbs(path) {
		return errors.New("is not an absolute path")
	}
	info, err := os.Stat(path)
	if err != nil {
		return asReason(err)
	}
	if !info.Mode().IsRegular() {
		return errors.New("is not a regular file")
	}
	return asReason(checkWriters("/", path))
}

// asReason says why without the path, which the sentence has already.
func asReason(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return errors.New("doesn't exist: no such file")
	}
	var path *fs.PathError
	if errors.As(err, &path) {
		return fmt.Errorf("can't be reached: %w", path.Err)
	}
	return err
}
