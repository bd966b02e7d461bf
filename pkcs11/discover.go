// SPDX-License-Identifier: Apache-2.0

package pkcs11

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// FindModule finds a module's path by name, as module-name of RFC 7512 wants:
// "softhsm2" finds libsofthsm2.so in the directories where this operating
// system keeps modules. The empty name finds p11-kit's proxy, which shows the
// tokens of all modules that are registered with p11-kit. Where several
// different files fit, the error (KindModule) lists them; none is guessed.
func FindModule(name string) (path string, err error) {
	proxy := name == ""
	if proxy {
		name = "p11-kit-proxy"
	}
	found := modulesNamed(name, moduleDirectories())
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return "", newError(KindModule, "several PKCS#11 modules are named %q: %s", name, strings.Join(found, ", ")).withTodo("Set module-path to one of these in the key URI")
	case proxy:
		return "", newError(KindModule, "no PKCS#11 module is set, and p11-kit's proxy is not installed")
	}
	return "", newError(KindModule, "no PKCS#11 module is named %q in %s", name, strings.Join(moduleDirectories(), ", "))
}

// modulesNamed lists the different files that bear the name in the directories.
func modulesNamed(name string, directories []string) []string {
	var found []string
	for _, directory := range directories {
		for _, prefix := range []string{"", "lib"} {
			for _, suffix := range []string{"", moduleSuffix()} {
				path := filepath.Join(directory, prefix+name+suffix)
				if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
					continue
				}
				if file, err := filepath.EvalSymlinks(path); err == nil && !slices.Contains(found, file) {
					found = append(found, file)
				}
			}
		}
	}
	return found
}

func moduleSuffix() string {
	switch runtime.GOOS {
	case "windows":
		return ".dll"
	case "darwin":
		return ".dylib"
	}
	return ".so"
}

// multiarch are the directory names of Debian's architectures.
var multiarch = map[string]string{
	"386": "i386-linux-gnu", "amd64": "x86_64-linux-gnu", "arm": "arm-linux-gnueabihf", "arm64": "aarch64-linux-gnu",
	"ppc64le": "powerpc64le-linux-gnu", "riscv64": "riscv64-linux-gnu", "s390x": "s390x-linux-gnu",
}

// moduleDirectories are where packages put modules: p11-kit's own directory
// first, then those of packages that have one, then the libraries'.
func moduleDirectories() []string {
	switch runtime.GOOS {
	case "windows":
		return []string{filepath.Join(os.Getenv("SystemRoot"), "System32")}
	case "darwin":
		return below([]string{"/opt/homebrew/lib", "/usr/local/lib", "/Library/OpenSC/lib"})
	}
	roots := []string{"/usr/local/lib", "/usr/lib64", "/usr/lib"}
	if name, known := multiarch[runtime.GOARCH]; known {
		roots = append([]string{"/usr/lib/" + name}, roots...)
	}
	return below(roots)
}

func below(roots []string) []string {
	var directories []string
	for _, sub := range []string{"pkcs11", "softhsm", ""} {
		for _, root := range roots {
			directories = append(directories, filepath.Join(root, sub))
		}
	}
	return directories
}
