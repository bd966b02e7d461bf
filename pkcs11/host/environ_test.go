// SPDX-License-Identifier: Apache-2.0

package host

import (
	"slices"
	"strings"
	"testing"
)

// The names, one a line: first of what a module must not see, then of what some
// vendor's module doesn't work without.
const (
	withheld = `
		NOTATION_PKCS11_PIN NOTATION_PKCS11_AGENT NOTATION_USERNAME NOTATION_PASSWORD DOCKER_AUTH_CONFIG
		INPUT_PIN INPUT_REGISTRY_PASSWORD INPUT_KEY_ID
		GITHUB_TOKEN GH_TOKEN ACTIONS_RUNTIME_TOKEN ACTIONS_ID_TOKEN_REQUEST_TOKEN ACTIONS_ID_TOKEN_REQUEST_URL ACTIONS_CACHE_URL
		CI_JOB_TOKEN CI_JOB_JWT CI_JOB_JWT_V1 CI_JOB_JWT_V2 CI_BUILD_TOKEN GITLAB_TOKEN CI_REGISTRY_PASSWORD
		SYSTEM_ACCESSTOKEN AZURE_DEVOPS_EXT_PAT SIGSTORE_ID_TOKEN VAULT_ID_TOKEN
		MY_PIN GOTRACEBACK`
	handedOn = `
		PATH HOME LANG TMPDIR LD_LIBRARY_PATH NOTATION_PKCS11_MODULE
		SOFTHSM2_CONF CKNFAST_LOADSHARING NFAST_HOME ChrystokiConfigurationPath YKHSMAUTH_CONNECTOR YUBIHSM_PKCS11_CONF
		TPM2_PKCS11_STORE TPM2_PKCS11_TCTI TSS2_FAPICONF P11_KIT_SERVER_ADDRESS P11_KIT_STRICT OPENSC_CONF PKCS11_PROXY_SOCKET
		KMS_PKCS11_CONFIG GOOGLE_APPLICATION_CREDENTIALS AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AZURE_CLIENT_SECRET
		HTTPS_PROXY SSL_CERT_FILE`
)

func TestModuleGetsTheEnvironmentWithoutSecrets(t *testing.T) {
	set := func(names string) []string {
		variables := strings.Fields(names)
		for i, name := range variables {
			variables[i] = name + "=value"
		}
		return variables
	}
	got := environment(append(set(withheld), set(handedOn)...), []string{"MY_PIN"})
	if want := set(handedOn); !slices.Equal(got, want) {
		t.Errorf("environment %v, want %v", got, want)
	}
}
