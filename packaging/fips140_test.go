// SPDX-License-Identifier: Apache-2.0

//go:build snapshot

package packaging

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

// fips140Plugin returns the path of the plugin's FIPS build, unpacked.
func fips140Plugin(t *testing.T, platform string) string {
	t.Helper()
	files := unpack(t, asset(t, "notation-pkcs11-fips140", platform+".tar.gz"))
	return write(t, "notation-pkcs11", files["notation-pkcs11"].content)
}

// What is named fips140 has the frozen Go Cryptographic Module and its mode on,
// and the other builds don't.
func TestFIPS140IsInTheBuildsOfThatName(t *testing.T) {
	const setting = "GOFIPS140=v1.0.0-"
	for _, platform := range []string{"linux_amd64", "linux_arm64"} {
		for _, path := range []string{fips140Plugin(t, platform), asset(t, "notation-pkcs11-action-fips140", platform)} {
			build := output(t, "go", "version", "-m", path)
			if !strings.Contains(build, setting) || !strings.Contains(build, "fips140=on") {
				t.Errorf("%s of %s is no FIPS build:\n%s", path, platform, build)
			}
		}
		for _, path := range executables(t, platform) {
			if build := output(t, "go", "version", "-m", path); strings.Contains(build, "fips140") {
				t.Errorf("%s of %s is a FIPS build:\n%s", path, platform, build)
			}
		}
	}
}

// A key of each type signs, even if all that is not approved is an error.
func TestFIPS140PluginSigns(t *testing.T) {
	plugin := fips140Plugin(t, "linux_amd64")
	hsm := testenv.Start(t, testenv.NewSoftHSM)
	token, err := hsm.AddStandardToken()
	if err != nil {
		t.Fatal(err)
	}
	pki, err := testenv.NewPKI()
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range token.Keys {
		chain, err := pki.Chain(key.Public)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "chain.pem")
		if err := os.WriteFile(file, testenv.EncodePEM(chain...), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, mode := range []string{"", "fips140=only"} {
			check := exec.CommandContext(t.Context(), plugin, "check", key.URI(), "--module", hsm.Module, "--cert-chain", file)
			check.Env = append(hsm.Env(), "NOTATION_PKCS11_PIN="+token.PIN, "GODEBUG="+mode)
			out, err := check.CombinedOutput()
			if err != nil || !strings.Contains(string(out), "FIPS 140-3 mode, with the Go Cryptographic Module v1.0.0") {
				t.Errorf("%s, GODEBUG=%s: %v\n%s", key.Type.Name, mode, err, out)
			}
		}
	}
}
