// SPDX-License-Identifier: Apache-2.0

package host

import (
	"os"
	"runtime"
	"slices"
	"strings"
)

// secretNames are environment variables that hold secrets of this project and
// of the programs around it. A module gets the rest of the environment, since
// vendors configure theirs there (CKNFAST_…, SOFTHSM2_CONF, TPM2_PKCS11_STORE),
// and cloud HSMs take credentials from it (AWS_…, AZURE_…).
var secretNames = []string{
	"NOTATION_PKCS11_PIN",
	"NOTATION_PKCS11_AGENT",                                        // no secret, but with it a module could have anything signed
	"NOTATION_USERNAME", "NOTATION_PASSWORD", "DOCKER_AUTH_CONFIG", // of registries
	"GITHUB_TOKEN", "GH_TOKEN", "GITHUB_ENTERPRISE_TOKEN", "GH_ENTERPRISE_TOKEN",
	"CI_JOB_TOKEN", "CI_JOB_JWT", "CI_JOB_JWT_V1", "CI_JOB_JWT_V2", "CI_BUILD_TOKEN", "GITLAB_TOKEN", // of GitLab
	"CI_REPOSITORY_URL", "CI_REGISTRY_PASSWORD", "CI_DEPLOY_PASSWORD", "CI_DEPENDENCY_PROXY_PASSWORD",
	"SYSTEM_ACCESSTOKEN", "AZURE_DEVOPS_EXT_PAT", // of Azure Pipelines
}

// secretPrefixes are those of a workflow's inputs and the runner's tokens.
var secretPrefixes = []string{"INPUT_", "ACTIONS_"}

// secretSuffix is that of the names which GitLab's documentation gives to ID tokens
// (id_tokens in .gitlab-ci.yml); jobs choose them.
const secretSuffix = "_ID_TOKEN"

// IsSecret reports whether the name of an environment variable is that of a
// secret which no module is given, such as NOTATION_PKCS11_PIN or GITHUB_TOKEN.
func IsSecret(name string) bool {
	if runtime.GOOS == "windows" { // where the case of names doesn't matter
		name = strings.ToUpper(name)
	}
	return slices.Contains(secretNames, name) || strings.HasSuffix(name, secretSuffix) ||
		slices.ContainsFunc(secretPrefixes, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}

// environment is what the child gets of an environment: all but secrets, and but
// what would have the Go runtime tell of a crash in another way than causeOfDeath
// reads it.
func environment(environ, secretEnv []string) []string {
	return slices.DeleteFunc(slices.Clone(environ), func(variable string) bool {
		name, _, _ := strings.Cut(variable, "=")
		return IsSecret(name) || slices.Contains(secretEnv, name) || name == "GOTRACEBACK"
	})
}

// eraseSecrets erases what no other process has a use for. It stays in this one's
// environment as Go has it, and for programs that it starts.
func eraseSecrets() {
	for _, variable := range os.Environ() {
		if name, _, _ := strings.Cut(variable, "="); IsSecret(name) {
			EraseEnv(name)
		}
	}
}
