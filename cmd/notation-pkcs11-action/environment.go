// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"os"
	"strings"

	"github.com/notation-pkcs11/notation-pkcs11/pkcs11/host"
)

// environment is that which the run was started with. Inputs and tokens are here
// alone, and no longer in the process's: credential helpers and other people's
// plugins get what is left there.
type environment map[string]string

// withhold takes the secrets out of the process's environment.
func withhold() (environment, error) {
	e := environment{}
	var errs []error
	for _, variable := range os.Environ() {
		if name, value, _ := strings.Cut(variable, "="); host.IsSecret(name) {
			e[name] = value
			errs = append(errs, os.Unsetenv(name))
		}
	}
	return e, errors.Join(errs...)
}

func (e environment) getenv(name string) string {
	if value, held := e[name]; held {
		return value
	}
	return os.Getenv(name)
}

func (e environment) unsetenv(name string) error {
	delete(e, name)
	return os.Unsetenv(name)
}
