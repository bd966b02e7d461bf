// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"os"
	"runtime"
	"strings"
)

// environment is that which the run was started with. Some of it is here alone, and
// no longer in the process's: credential helpers and other people's plugins get what
// is left there.
type environment map[string]string

// isForRunAlone reports whether the name of a variable is that of an input, of the
// PIN, of an agent's socket, or of what the runner gives its own actions. Other tokens of the job are left
// to credential helpers and plugins, some of which log in with them; modules get none,
// see package host.
func isForRunAlone(name string) bool {
	if runtime.GOOS == "windows" { // where the case of names doesn't matter
		name = strings.ToUpper(name)
	}
	return name == "NOTATION_PKCS11_PIN" || name == "NOTATION_PKCS11_AGENT" || strings.HasPrefix(name, "INPUT_") || strings.HasPrefix(name, "ACTIONS_RUNTIME_")
}

// withhold takes what is for the run alone out of the process's environment.
func withhold() (environment, error) {
	e := environment{}
	var errs []error
	for _, variable := range os.Environ() {
		if name, value, _ := strings.Cut(variable, "="); isForRunAlone(name) {
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
