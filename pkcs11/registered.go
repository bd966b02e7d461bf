// SPDX-License-Identifier: Apache-2.0

package pkcs11

import (
	"bufio"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// RegisteredModules returns the paths of the modules that p11-kit's proxy loads, as
// the files say which p11-kit reads: those of packages, of the administrator, and
// of a user who isn't root, of which a later one replaces an earlier one of the
// same name (pkcs11.conf(5)). What can't be read is left out.
func RegisteredModules() []string {
	directories := []string{"/usr/share/p11-kit/modules", "/etc/pkcs11/modules"}
	if home, err := os.UserHomeDir(); err == nil && os.Geteuid() != 0 {
		directories = append(directories, filepath.Join(home, ".config/pkcs11/modules"))
	}
	return registeredIn(directories)
}

func registeredIn(directories []string) []string {
	byName := map[string]string{}
	for _, directory := range directories {
		files, _ := filepath.Glob(filepath.Join(directory, "*.module"))
		for _, file := range files {
			name := filepath.Base(file)
			if path := registration(file); path != "" {
				byName[name] = path
			} else {
				delete(byName, name)
			}
		}
	}
	var paths []string
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		if !slices.Contains(paths, byName[name]) {
			paths = append(paths, byName[name])
		}
	}
	return paths
}

// registration returns the path of the module that a file registers for the
// proxy. Empty, it registers none.
func registration(file string) (path string) {
	f, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer f.Close()
	const proxy = "p11-kit-proxy"
	for lines := bufio.NewScanner(f); lines.Scan(); {
		key, value, _ := strings.Cut(lines.Text(), ":")
		programs := strings.FieldsFunc(value, func(r rune) bool { return r == ',' || r == ' ' })
		switch strings.TrimSpace(key) {
		case "module":
			path = strings.TrimSpace(value)
		case "disable-in":
			if slices.Contains(programs, proxy) {
				return ""
			}
		case "enable-in":
			if !slices.Contains(programs, proxy) {
				return ""
			}
		}
	}
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	for _, directory := range moduleDirectories() { // p11-kit's own come first
		if found := filepath.Join(directory, path); fileExists(found) {
			return found
		}
	}
	return path
}

func fileExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
