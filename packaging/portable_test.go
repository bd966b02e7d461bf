// SPDX-License-Identifier: Apache-2.0

//go:build snapshot

package packaging

import (
	"debug/elf"
	"debug/pe"
	"encoding/json"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// oldestGlibc is what docs/install.md promises the executables to start on, by the
// versions of the symbols that they use.
const oldestGlibc = "2.17"

// sysroot has the C library that the executables were linked against; they run
// on it here, too.
const sysroot = "../.cache/sysroot"

// Only these may be needed: parts of glibc, and of Windows itself.
var (
	linuxLibraries   = []string{"libc.so.6", "libdl.so.2", "libpthread.so.0", "libresolv.so.2", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"}
	windowsLibraries = []string{"kernel32.dll", "msvcrt.dll"}
)

// executables returns the plugin and the action of a platform.
func executables(t *testing.T, platform string) []string {
	t.Helper()
	if platform == "windows_amd64" {
		files := unpack(t, asset(t, "notation-pkcs11", platform+".zip"))
		plugin := write(t, "notation-pkcs11.exe", files["notation-pkcs11.exe"].content)
		return []string{plugin, asset(t, "notation-pkcs11-action", platform+".exe")}
	}
	return []string{pluginOf(t, platform), asset(t, "notation-pkcs11-action", platform)}
}

func TestLinuxExecutablesNeedAnOldGlibc(t *testing.T) {
	for _, platform := range []string{"linux_amd64", "linux_arm64"} {
		for _, path := range executables(t, platform) {
			file, err := elf.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			symbols, err := file.ImportedSymbols()
			if err != nil || len(symbols) == 0 {
				t.Fatalf("%s %s: %d symbols, %v", platform, path, len(symbols), err)
			}
			for _, symbol := range symbols {
				if number, ok := strings.CutPrefix(symbol.Version, "GLIBC_"); ok && newer(t, number, oldestGlibc) {
					t.Errorf("%s %s needs glibc %s for %s", platform, path, number, symbol.Name)
				}
			}
			libraries, err := file.ImportedLibraries()
			if err != nil {
				t.Fatal(err)
			}
			for _, library := range libraries {
				if !slices.Contains(linuxLibraries, library) {
					t.Errorf("%s %s needs %s", platform, path, library)
				}
			}
		}
	}
}

// newer reports whether version a, such as 2.31, is later than b.
func newer(t *testing.T, a, b string) bool {
	t.Helper()
	numbers := func(version string) (all []int) {
		for _, part := range strings.Split(version, ".") {
			number, err := strconv.Atoi(part)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, number)
		}
		return all
	}
	return slices.Compare(numbers(a), numbers(b)) > 0
}

func TestWindowsExecutablesNeedWindowsAlone(t *testing.T) {
	for _, path := range executables(t, "windows_amd64") {
		file, err := pe.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		symbols, err := file.ImportedSymbols() // name:library
		if err != nil || len(symbols) == 0 {
			t.Fatalf("%s: %d symbols, %v", path, len(symbols), err)
		}
		for _, symbol := range symbols {
			_, library, _ := strings.Cut(symbol, ":")
			if !slices.Contains(windowsLibraries, strings.ToLower(library)) {
				t.Errorf("%s needs %s", path, symbol)
			}
		}
	}
}

// On glibc 2.31 itself; for arm64, in an emulator. The vendor's module takes a second
// process, which the emulator alone doesn't start: TestARM64ExecutablesSign has one.
func TestPluginStartsOnGlibc231(t *testing.T) {
	root, err := filepath.Abs(sysroot)
	if err != nil {
		t.Fatal(err)
	}
	amd64 := filepath.Join(root, "amd64/lib/x86_64-linux-gnu")
	for platform, loader := range map[string][]string{
		"linux_amd64": {filepath.Join(amd64, "ld-2.31.so"), "--library-path", amd64},
		"linux_arm64": {"qemu-aarch64", "-L", filepath.Join(root, "arm64")},
	} {
		t.Run(platform, func(t *testing.T) {
			args := append(loader[1:], pluginOf(t, platform), "get-plugin-metadata")
			var metadata struct{ Name, Version string }
			if err := json.Unmarshal([]byte(output(t, loader[0], args...)), &metadata); err != nil {
				t.Fatal(err)
			}
			if metadata.Name != "pkcs11" || metadata.Version != version(t) {
				t.Errorf("%+v, want version %s", metadata, version(t))
			}
		})
	}
}
