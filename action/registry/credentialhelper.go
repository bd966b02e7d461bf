// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"

	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/notation-pkcs11/notation-pkcs11/internal/program"
)

// maxHelperOutput bounds what a credential helper answers, and Docker's config.
const maxHelperOutput = 1 << 20

// maxHelperMessage bounds what a credential helper says went wrong.
const maxHelperMessage = 1 << 10

// helperOf returns the credential helper that Docker's config names for a server
// address, such as "ecr-login"; empty: none.
func helperOf(configPath, address string) (string, error) {
	file, err := os.Open(configPath)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer file.Close()
	var config struct {
		CredHelpers map[string]string `json:"credHelpers"`
		CredsStore  string            `json:"credsStore"`
	}
	if err := json.NewDecoder(io.LimitReader(file, maxHelperOutput)).Decode(&config); err != nil {
		return "", fmt.Errorf("%s: %w", configPath, err)
	}
	if helper := config.CredHelpers[address]; helper != "" {
		return helper, nil
	}
	return config.CredsStore, nil
}

// askHelper gets the credential of a server address from a credential helper. The
// protocol is Docker's ("docker login", "Credential helper protocol"). oras-go would do
// the same, and wait for what the helper has started.
func askHelper(ctx context.Context, helper, address string) (auth.Credential, error) {
	out, _, err := program.Output(ctx, maxHelperOutput, []byte(address), "docker-credential-"+helper, "get")
	said := string(bytes.TrimSpace(out[:min(len(out), maxHelperMessage)]))
	switch {
	case errors.As(err, new(*exec.ExitError)) && said == "credentials not found in native keychain":
		return auth.EmptyCredential, nil
	case errors.As(err, new(*exec.ExitError)) && said != "":
		return auth.EmptyCredential, errors.New(said)
	case err != nil:
		return auth.EmptyCredential, err
	}
	var answer struct{ Username, Secret string }
	if err := json.Unmarshal(out, &answer); err != nil {
		return auth.EmptyCredential, fmt.Errorf("docker-credential-%s: %w", helper, err)
	}
	if answer.Username == "<token>" {
		return auth.Credential{RefreshToken: answer.Secret}, nil
	}
	return auth.Credential{Username: answer.Username, Password: answer.Secret}, nil
}
