// SPDX-License-Identifier: Apache-2.0

package host

import (
	"runtime"
	"slices"
	"strings"
)

// secretNames are environment variables that hold secrets of this project and
// of the programs around it. A module gets the rest of the environment, since
// vendors configure theirs there (CKNFAST_…, SOFTHSM2_CONF, TPM2_PKCS11_STORE).
var secretNames = []string{
	"NOTATION_PKCS11_PIN",
	"NOTATION_USERNAME", "NOTATION_PASSWORD", // of the registry
	"GITHUB_TOKEN", "GH_TOKEN",
}

// secretPrefixes are those of a workflow's inputs and the runner's tokens.
var secretPrefixes = []string{"INPUT_", "ACTIONS_"}

// environment is what the child gets of an environment: all but secrets.
func environment(environ, secretEnv []string) []string {
	return slices.DeleteFunc(slices.Clone(environ), func(variable string) bool {
		name, _, _ := strings.Cut(variable, "=")
		if runtime.GOOS == "windows" { // where the case of names doesn't matter
			name = strings.ToUpper(name)
		}
		return slices.Contains(secretNames, name) || slices.Contains(secretEnv, name) ||
			slices.ContainsFunc(secretPrefixes, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
	})
}
