// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// installedFile has the packages that testenv/setup.sh installed in this checkout's
// lifetime, in lines.
const installedFile = ".cache/installed-packages"

// sayInstalled says which packages were installed for the tests and the demo.
func sayInstalled(out *terminal) error {
	text, err := os.ReadFile(installedFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // nothing was missing
	}
	if err != nil {
		return fmt.Errorf("read what was installed: %w", err)
	}
	out.text("\nmake setup has installed these packages, which stay: " + strings.Join(strings.Fields(string(text)), " "))
	return nil
}
