// SPDX-License-Identifier: Apache-2.0

//go:build snapshot

package packaging

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

// The executables for arm64 sign in an emulator, with a SoftHSM for arm64. Where the
// kernel can't be made to start their second process, they only say what version they
// are; the Makefile says so.
func TestARM64ExecutablesSign(t *testing.T) {
	emulate, err := filepath.Abs("emulate.sh")
	if err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Abs("../.cache/arm64")
	if err != nil {
		t.Fatal(err)
	}
	paths := executables(t, "linux_arm64")
	err = exec.CommandContext(t.Context(), emulate, "true").Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 125 {
		for i, args := range [][]string{{"version"}, {"--version"}} {
			got := output(t, "qemu-aarch64", slices.Concat([]string{"-L", root, paths[i]}, args)...)
			if !strings.Contains(got, version(t)) {
				t.Errorf("%s says %q", paths[i], got)
			}
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}

	module := filepath.Join(root, "usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so")
	hsm := testenv.Start(t, testenv.NewSoftHSM)
	token, err := hsm.AddStandardToken()
	if err != nil {
		t.Fatal(err)
	}
	pki, err := testenv.NewPKI()
	if err != nil {
		t.Fatal(err)
	}
	notation := testenv.Start(t, testenv.NewNotation)
	if err := notation.Trust(pki.Root); err != nil {
		t.Fatal(err)
	}
	script := filepath.Join(t.TempDir(), "notation-pkcs11")
	if err := os.WriteFile(script, fmt.Appendf(nil, "#!/bin/sh\nexec '%s' '%s' \"$@\"\n", emulate, paths[0]), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := notation.InstallPlugin("pkcs11", script); err != nil {
		t.Fatal(err)
	}
	registry := testenv.Start(t, testenv.NewRegistry)
	rootFile := testenv.PutFile(t, filepath.Join(t.TempDir(), "root.pem"), string(testenv.EncodePEM(pki.Root)))
	env := append(hsm.Env(), "NOTATION_PKCS11_PIN="+token.PIN)

	for _, label := range []string{"RSA-3072", "EC-384"} {
		key := token.Key(label)
		if _, err := pki.Certify(key); err != nil {
			t.Fatal(err)
		}
		image, err := registry.PushImage(t.Context(), strings.ToLower(key.Type.Name), "v1")
		if err != nil {
			t.Fatal(err)
		}
		reference := registry.Host + "/" + strings.ToLower(key.Type.Name) + "@" + image.Digest.String()
		verify := func(t *testing.T) {
			t.Helper()
			if verified, err := notation.Run(t.Context(), nil, "verify", reference); err != nil || verified.ExitCode != 0 {
				t.Errorf("notation verify: %v\n%s", err, verified.Stderr)
			}
		}
		t.Run(key.Type.Name+" plugin", func(t *testing.T) {
			signed, err := notation.Run(t.Context(), env, "sign", "--plugin", "pkcs11", "--id", key.URI(), "--plugin-config", "module="+module,
				"--force-referrers-tag=false", reference)
			if err != nil || signed.ExitCode != 0 {
				t.Fatalf("exit status %d, %v\n%s", signed.ExitCode, err, signed.Stderr)
			}
			verify(t)
		})
		t.Run(key.Type.Name+" action", func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), emulate, paths[1], "--target-artifact-reference", reference, "--key-id", key.URI(), "--module", module,
				"--trusted-certificates", rootFile, "--trusted-identities", "*")
			cmd.Env = append(env, "PATH="+os.Getenv("PATH"), "HOME="+t.TempDir())
			out, err := cmd.CombinedOutput()
			if err != nil || !strings.Contains(string(out), "1 artifact, 1 signed, 1 verified") {
				t.Fatalf("%v\n%s", err, out)
			}
			verify(t)
		})
	}
}
