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
	kind := KindModule
	var refused *trustedfile.Error
	if errors.As(err, &refused) && refused.Unsafe {
		kind = KindUnsafe
	}
	return newError(kind, "the PKCS#11 module %q %v", path, err)
}

func checkModulePath(path string) error {
	if !filepath.IsAbs(path) {
		return errors.New("is not an absolute path")
	}
	if runtime.GOOS != "windows" && strings.Contains(path, "$") { // $LIB, $ORIGIN, $PLATFORM: ld.so(8)
		return errors.New(`has a "$" in it, which the dynamic linker may replace; use a path without`)
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
