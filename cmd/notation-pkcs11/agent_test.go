// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

// What the agent is for: a script that signs forty images by notation, in four
// loops at once, with one login, a line in the log for each, and nothing left behind.
func TestReleaseScriptSignsWithOneLogin(t *testing.T) {
	w := newAgentWorld(t)
	registry := testenv.Start(t, testenv.NewRegistry)
	var images [4][]string
	for i := range images {
		for n := range 10 {
			image, err := registry.PushImage(t.Context(), fmt.Sprintf("app%d", i), fmt.Sprintf("v%d", n))
			if err != nil {
				t.Fatal(err)
			}
			images[i] = append(images[i], fmt.Sprintf("%s/app%d@%s", registry.Host, i, image.Digest))
		}
	}
	notation := testenv.Start(t, testenv.NewNotation)
	if err := notation.InstallPlugin("pkcs11", w.executable); err != nil {
		t.Fatal(err)
	}
	var script strings.Builder
	script.WriteString("set -e\n")
	for _, list := range images {
		fmt.Fprintf(&script, "{ for image in %s; do %s sign --force-referrers-tag=false --plugin pkcs11 --id '%s' $image; done; } &\nloops=\"$loops $!\"\n",
			strings.Join(list, " "), notation.Command, signingKey)
	}
	script.WriteString("for loop in $loops; do wait $loop; done\n[ -z \"${NOTATION_PKCS11_PIN+set}\" ]\n")
	release := filepath.Join(w.dir, "release.sh")
	if err := os.WriteFile(release, []byte("#!/bin/sh\n"+script.String()), 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := w.command("agent", signingKey, "--audit-log", w.log, "--", release)
	cmd.Env = append(append(notation.Env(), w.env...), "NOTATION_PKCS11_PIN="+w.token.PIN)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	output, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	if n := strings.Count(string(output), "Successfully signed"); n != 40 {
		t.Errorf("%d images were signed: %s", n, output)
	}
	if n := w.module.Calls("C_Login"); n != 1 {
		t.Errorf("%d logins", n)
	}
	if lines := w.lines(t); lines["signature"] != 40 || lines["refusal"] != 0 {
		t.Errorf("the log has %v", lines)
	}
	for _, pid := range w.hosts(t) {
		ends(t, pid)
	}
}

// Ten loops of ten signatures, with one login and one process for the module.
func TestParallelLoopsHaveOneLogin(t *testing.T) {
	w := newAgentWorld(t)
	a := w.startAgent(t)
	var loops sync.WaitGroup
	for range 10 {
		loops.Go(func() {
			for range 10 {
				if err := a.sign(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	loops.Wait()
	if logins, starts := w.module.Calls("C_Login"), w.module.Calls("C_Initialize"); logins != 1 || starts != 1 {
		t.Errorf("%d logins, the module was started %d times", logins, starts)
	}
	if lines := w.lines(t); lines["signature"] != 100 {
		t.Errorf("the log has %v", lines)
	}
}

// The PIN of one key is in no environment that the module of another sees.
func TestVariablesOfAllPINsAreSecret(t *testing.T) {
	var o agentOrder
	cmd := newAgentCommand(func(i *invocation, _ context.Context, f *agentFlags, uris []string) (err error) {
		o, err = i.order(f, uris, nil)
		return err
	})
	cmd.SetArgs([]string{"pkcs11:token=a?pin-source=env:OF_A", "pkcs11:token=b?pin-source=env:OF_B"})
	if err := cmd.Execute(); err != nil {
		t.Fatal(err)
	}
	for _, s := range o.settings {
		for _, name := range []string{"OF_A", "OF_B"} {
			if !slices.Contains(s.SecretEnv, name) {
				t.Errorf("the module of %s sees %s", s.URI, name)
			}
		}
	}
}
