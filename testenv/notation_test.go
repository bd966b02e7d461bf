// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// notation runs a command that must succeed and returns its standard output.
func notation(t *testing.T, n *Notation, args ...string) string {
	t.Helper()
	result, err := n.Run(t.Context(), nil, args...)
	if err != nil {
		t.Fatal(err)
	}
	if result.ExitCode != 0 {
		t.Fatalf("notation %s: exit status %d\n%s%s", strings.Join(args, " "), result.ExitCode, result.Stdout, result.Stderr)
	}
	return result.Stdout
}

func TestNotationVersion(t *testing.T) {
	n := Start(t, NewNotation)
	if out := notation(t, n, "version"); !strings.Contains(out, "v1.3.2") {
		t.Errorf("not version 1.3.2:\n%s", out)
	}
}

// notation signs with a key file here, so that what fails is the world and not a
// plugin.
func TestNotationSignsAndVerifies(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	pki := newPKI(t)
	chain, err := pki.Chain(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range RegistryKinds {
		t.Run(kind.Name, func(t *testing.T) {
			t.Parallel()
			n := Start(t, NewNotation)
			registry := Start(t, kind.New)
			image, err := registry.PushImage(t.Context(), "app", "v1")
			if err != nil {
				t.Fatal(err)
			}
			reference := registry.Host + "/app@" + image.Digest.String()
			if err := n.AddKeyFile("local", key, chain); err != nil {
				t.Fatal(err)
			}
			notation(t, n, "sign", "--key", "local", "--force-referrers-tag=false", reference)

			if err := n.Trust(newPKI(t).Root); err != nil {
				t.Fatal(err)
			}
			stranger, err := n.Run(t.Context(), nil, "verify", reference)
			if err != nil {
				t.Fatal(err)
			}
			if stranger.ExitCode == 0 {
				t.Error("the policy trusts a root that was not given")
			}

			if err := n.Trust(pki.Root); err != nil {
				t.Fatal(err)
			}
			notation(t, n, "verify", reference)
		})
	}
}

func TestNotationFindsInstalledPlugin(t *testing.T) {
	n := Start(t, NewNotation)
	script := filepath.Join(t.TempDir(), "any-name")
	metadata := `{"name":"fake","description":"d","version":"1.2.3","url":"u","supportedContractVersions":["1.0"],"capabilities":["SIGNATURE_GENERATOR.RAW"]}`
	if err := os.WriteFile(script, []byte("#!/bin/sh\necho '"+metadata+"'\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := n.InstallPlugin("fake", script); err != nil {
		t.Fatal(err)
	}
	if out := notation(t, n, "plugin", "ls"); !strings.Contains(out, "fake") || !strings.Contains(out, "1.2.3") {
		t.Errorf("the plugin is not listed:\n%s", out)
	}
}

func TestNotationEnvironmentIsItsOwn(t *testing.T) {
	n := Start(t, NewNotation)
	t.Setenv("NOTATION_USERNAME", "somebody")
	for _, variable := range n.Env() {
		if strings.HasPrefix(variable, "NOTATION_") {
			t.Errorf("%s of the caller reaches notation", variable)
		}
	}
}

func TestNotationHomeIsGoneAfterClose(t *testing.T) {
	n, err := NewNotation()
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(n.home); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is still there: %v", n.home, err)
	}
}
