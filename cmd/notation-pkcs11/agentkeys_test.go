// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"

	contract "github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

// Several keys of a token have one login, and each is found by what the token showed.
func TestKeysOfOneTokenHaveOneLogin(t *testing.T) {
	w := newAgentWorld(t)
	if _, err := w.token.Generate(testenv.EC256, "other"); err != nil {
		t.Fatal(err)
	}
	a := w.startAgent(t, "pkcs11:token=testenv;object=other")
	output, err := w.command("tokens", "--output", "json").Output()
	serial := regexp.MustCompile(`"serial": "([0-9a-f]+)"`).FindSubmatch(output)
	if err != nil || serial == nil {
		t.Fatalf("%v: %s", err, output)
	}
	for uri, want := range map[string]string{
		signingKey: "RSA-2048",
		"pkcs11:serial=" + string(serial[1]) + ";object=other;type=private?module-path=/nowhere.so&pin-source=file:/nowhere": "EC-256",
		"pkcs11:model=SoftHSM%20v2;object=signing":             "RSA-2048",
		"pkcs11:token=testenv":                                 "several keys that match",
		"pkcs11:token=testenv;object=absent":                   "does not hold the key",
		"pkcs11:token=testenv;object=other;library-version=99": "does not hold the key",
	} {
		output, _ := a.client("describe-key", contract.DescribeKeyRequest{ContractVersion: contract.ContractVersion, KeyID: uri}).CombinedOutput()
		if !strings.Contains(string(output), want) {
			t.Errorf("%s: %s, want %s", uri, output, want)
		}
	}
	if n := w.module.Calls("C_Login"); n != 1 {
		t.Errorf("%d logins", n)
	}
	w.killHosts(t)
	if err := a.sign(t.Context()); err != nil {
		t.Error(err)
	}
	if n := w.module.Calls("C_Login"); n != 2 {
		t.Errorf("%d logins after the host was killed", n)
	}
}

// Keys that want the PIN for each signature sign, one after the other.
func TestKeysThatAreAlwaysAuthenticated(t *testing.T) {
	w := newAgentWorld(t)
	w.rules(t, "always-authenticate "+w.token.PIN)
	a := w.startAgent(t)
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			for range 2 {
				if err := a.sign(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	clients.Wait()
}

// A token of one session signs all the same.
func TestTokenOfOneSession(t *testing.T) {
	w := newAgentWorld(t, "max-sessions 1")
	if _, err := w.token.Generate(testenv.EC256, "other"); err != nil {
		t.Fatal(err)
	}
	a := w.startAgent(t, "pkcs11:token=testenv;object=other")
	var clients sync.WaitGroup
	for range 6 {
		clients.Go(func() {
			if err := a.sign(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	clients.Wait()
}

// Every kind of token that the tests have works behind an agent, as notation's.
func TestAgentWithEveryKindOfToken(t *testing.T) {
	testenv.Long(t, "signs with each type of key on each kind of token")
	executable := buildPlugin(t)
	for _, kind := range testenv.TokenKinds {
		t.Run(kind.Name, func(t *testing.T) {
			token := testenv.Start(t, kind.New)
			notation := notationFor(t, executable, token.Token)
			registry := testenv.Start(t, testenv.NewRegistry)
			image, err := registry.PushImage(t.Context(), "app", "v1")
			if err != nil {
				t.Fatal(err)
			}
			var script strings.Builder
			args := []string{"agent", "--module", token.Store.Module}
			for _, key := range token.Keys {
				args = append(args, key.URI())
				fmt.Fprintf(&script, "%s sign --force-referrers-tag=false --key %s %s/app@%s || exit 1\n", notation.Command, key.Label, registry.Host, image.Digest)
			}
			cmd := exec.Command(executable, append(args, "--", "sh", "-c", script.String())...)
			cmd.Env = append(append(notation.Env(), token.Env()...), "NOTATION_PKCS11_PIN="+token.PIN, "PATH="+os.Getenv("PATH"))
			if output, err := cmd.CombinedOutput(); err != nil || strings.Count(string(output), "Successfully signed") != len(token.Keys) {
				t.Errorf("%v: %s", err, output)
			}
		})
	}
}

// A signature that only shows which public half is a key's has a line of its own.
func TestProbeOfAKeyIsLogged(t *testing.T) {
	w := newAgentWorld(t, "hide public", "hide-attribute private 0x120", "hide-attribute private 0x122")
	w.startAgent(t)
	if lines := w.lines(t); lines["probe"] != w.module.Calls("C_SignInit") || lines["probe"] == 0 {
		t.Errorf("the log has %v", lines)
	}
}
