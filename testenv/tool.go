// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
)

// buildTool returns the path of the executable of a package in the module
// tools/NAME. The first call in a checkout builds it.
func buildTool(name, pkg string) (string, error) {
	root, err := checkout()
	if err != nil {
		return "", err
	}
	module := filepath.Join(root, "testenv", "tools", name)
	sources, err := filepath.Glob(filepath.Join(module, "*.go"))
	if err != nil {
		return "", err
	}
	made := []byte(runtime.Version())
	for _, file := range slices.Concat([]string{filepath.Join(module, "go.mod"), filepath.Join(module, "go.sum")}, sources) {
		content, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		made = append(made, content...)
	}
	key := sha256.Sum256(made)
	dir, err := cached("tools/"+name+"-"+hex.EncodeToString(key[:4]), func(dir string) error {
		// The whole environment: Go's caches and proxy are configured there.
		env := append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
		_, err := run(env, "go", "-C", module, "build", "-trimpath", "-o", dir+"/", pkg)
		return err
	})
	if err != nil {
		return "", err
	}
	if pkg == "." {
		return filepath.Join(dir, name), nil
	}
	return filepath.Join(dir, path.Base(pkg)), nil
}
