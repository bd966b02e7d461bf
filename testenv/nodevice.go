// SPDX-License-Identifier: Apache-2.0

package testenv

import "fmt"

// DebianModule is a PKCS#11 module of a Debian package, for devices that are not
// here.
type DebianModule struct {
	Package string
	Path    string
	// Env are the variables, as NAME=value, with which it finds nothing on any
	// machine.
	Env []string
}

// debianModules are they, by package.
var debianModules = []struct {
	pkg     string
	pattern string
	env     []string
}{
	{"opencryptoki", "/usr/lib/*-linux-gnu/pkcs11/libopencryptoki.so", nil}, // whose service is masked by setup.sh
	{"opensc-pkcs11", "/usr/lib/*-linux-gnu/pkcs11/opensc-pkcs11.so", []string{"PCSCLITE_CSOCK_NAME=/nonexistent"}},
	{"opensc-pkcs11 (spy)", "/usr/lib/*-linux-gnu/pkcs11/pkcs11-spy.so", nil},
	{"ykcs11", "/usr/lib/*-linux-gnu/libykcs11.so", []string{"PCSCLITE_CSOCK_NAME=/nonexistent"}},
	{"libtpm2-pkcs11-1", "/usr/lib/*-linux-gnu/pkcs11/libtpm2_pkcs11.so", []string{"TPM2_PKCS11_TCTI=device:/nonexistent"}},
}

// ModulesWithoutDevice returns those modules. That one isn't installed is an
// error.
func ModulesWithoutDevice() ([]DebianModule, error) {
	var modules []DebianModule
	for _, m := range debianModules {
		path, err := installed([]string{m.pattern})
		if err != nil {
			return nil, fmt.Errorf("module of the package %s: %w", m.pkg, err)
		}
		modules = append(modules, DebianModule{m.pkg, path, m.env})
	}
	return modules, nil
}
