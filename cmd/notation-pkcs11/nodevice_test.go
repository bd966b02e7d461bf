// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

// Without its device each module fails in a way of its own. What is missing is
// said, by the product or in the module's own words.
func TestModulesWithoutTheirDeviceSayWhatIsMissing(t *testing.T) {
	modules, err := testenv.ModulesWithoutDevice()
	if err != nil {
		t.Fatal(err)
	}
	wants := map[string][]string{
		"opencryptoki":        {"can't be initialized", "C_Initialize: CKR_", "its service (such as pkcsslotd"},
		"opensc-pkcs11":       {"it reads smart cards through PC/SC, whose service (pcscd) doesn't answer", "Start the PC/SC service (pcscd)"},
		"opensc-pkcs11 (spy)": {"gives no function list", "Please set PKCS11SPY environment."},
		"ykcs11":              {"it reads smart cards through PC/SC, whose service (pcscd) doesn't answer", "C_GetSlotList: CKR_DEVICE_ERROR", "pcscd"},
		"libtpm2-pkcs11-1":    {"can't be initialized", "the last that it printed is", "Could not initialize tpm ctx", "tpm2-abrmd"},
	}
	executable := buildPlugin(t)
	for _, module := range modules {
		t.Run(module.Package, func(t *testing.T) {
			if wants[module.Package] == nil {
				t.Fatal("nobody says what is to be said")
			}
			for _, command := range []string{"tokens", "keys", "check pkcs11:token=T"} {
				args := append(strings.Fields(command), "--module", module.Path)
				cmd := exec.CommandContext(t.Context(), executable, args...)
				cmd.Env = append(append(os.Environ(), "TPM2_PKCS11_STORE="+t.TempDir()), module.Env...)
				var output bytes.Buffer
				cmd.Stdout, cmd.Stderr = &output, &output
				err := cmd.Run()
				if cmd.ProcessState.ExitCode() != exitFailed {
					t.Errorf("%s: %v", command, err)
				}
				for _, want := range wants[module.Package] {
					if !strings.Contains(output.String(), want) {
						t.Errorf("%s doesn't say %q:\n%s", command, want, output.String())
					}
				}
				if bytes.ContainsAny(output.Bytes(), "\x1b\x07") {
					t.Errorf("%s: control characters: %q", command, output.String())
				}
			}
		})
	}
}
