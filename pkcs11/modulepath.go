// SPDX-License-Identifier: Apache-2.0

package pkcs11

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/notation-pkcs11/notation-pkcs11/internal/trustedfile"
)

// CheckModule reports, without loading it, whether Load would refuse the file at a
// path: its code would run with the rights of this process, and see the PIN. The
// error is of KindUnsafe where other users could have put the file there, and else
// of KindModule.
func CheckModule(path string) error {
	err := checkModulePath(path)
	if err == nil {
		return nil
	}
	var refused *trustedfile.Error
	if errors.As(err, &refused) && refused.Unsafe {
		return newError(KindUnsafe, "the PKCS#11 module %q was not loaded, because another user could read the PIN with it: it %v", path, err)
	}
	return notLoaded(KindModule, path, err)
}

// advised is an error with what to do about it.
type advised struct {
	error
	todo string
}

// notLoaded says why a file is not a module that can be loaded, as what follows its
// name in a sentence.
func notLoaded(kind Kind, path string, why error) *Error {
	e := newError(kind, "the PKCS#11 module %q %v", path, why)
	var a advised
	if errors.As(why, &a) {
		e.Todo = a.todo
	}
	return e
}

func checkModulePath(path string) error {
	if !filepath.IsAbs(path) {
		return errors.New("is not an absolute path")
	}
	if runtime.GOOS != "windows" && strings.Contains(path, "$") { // $LIB, $ORIGIN, $PLATFORM: ld.so(8)
		return advised{errors.New(`has a "$" in its path, which the dynamic linker may replace`), "Set a path without $, such as that of a symbolic link"}
	}
	err := trustedfile.Check(path, trustedfile.Library)
	var failed *fs.PathError // whose text repeats the path
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errors.New("doesn't exist: no such file")
	case errors.As(err, &failed):
		return fmt.Errorf("can't be reached: %w", failed.Err)
	}
	return err
}
