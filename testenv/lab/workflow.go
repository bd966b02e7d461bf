// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

// lifetime is how long a workflow may take. Nothing is left on a machine of which
// the workflow was killed.
const lifetime = 30 * time.Minute

// workflow makes what .github/workflows/selftest.yml signs and verifies: a token
// with a key and its certificates, and registries with images. Neither the plugin
// nor notation takes part. It writes where all that is into a file, as variables for
// GITHUB_ENV, and keeps it until ctx or its lifetime ends.
func workflow(ctx context.Context, file string) (err error) {
	ctx, cancel := context.WithTimeout(ctx, lifetime)
	defer cancel()
	closeAtEnd := func(part io.Closer) { err = errors.Join(err, part.Close()) }

	hsm, err := testenv.NewSoftHSM()
	if err != nil {
		return err
	}
	defer closeAtEnd(hsm)
	root := file + ".root.pem"
	defer func() { err = errors.Join(err, os.RemoveAll(root)) }()
	variables, err := certifiedKey(hsm, root)
	if err != nil {
		return err
	}
	kinds, err := registryKinds("")
	if err != nil {
		return err
	}
	for i, name := range []string{"API", "TAG"} { // in the order of the kinds
		registry, err := kinds[i].start()
		if err != nil {
			return err
		}
		defer closeAtEnd(registry)
		for _, image := range []string{"signed", "unsigned"} {
			pushed, err := registry.PushImage(ctx, "selftest/"+image, imageTag)
			if err != nil {
				return err
			}
			variables = append(variables, fmt.Sprintf("SELFTEST_%s_%s=%s/selftest/%s@%s",
				name, strings.ToUpper(image), registry.Host, image, pushed.Digest))
		}
	}
	// Whole, or not there: the workflow waits for the file.
	part := file + ".part"
	if err := os.WriteFile(part, []byte(strings.Join(variables, "\n")+"\n"), 0o600); err != nil {
		return err
	}
	if err := os.Rename(part, file); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// certifiedKey adds a token with a key and its certificates, writes the root into a
// file, and returns the variables that lead there.
func certifiedKey(hsm *testenv.SoftHSM, root string) ([]string, error) {
	token, err := hsm.AddToken("selftest")
	if err != nil {
		return nil, err
	}
	key, err := token.Generate(testenv.EC256, "signing")
	if err != nil {
		return nil, err
	}
	pki, err := testenv.NewPKI()
	if err != nil {
		return nil, err
	}
	chain, err := pki.Chain(key.Public)
	if err != nil {
		return nil, err
	}
	if err := key.ImportChain(chain); err != nil {
		return nil, err
	}
	if err := os.WriteFile(root, testenv.EncodePEM(pki.Root), 0o600); err != nil {
		return nil, err
	}
	return append(hsm.Env(),
		"SELFTEST_KEY_ID="+key.URI(),
		"SELFTEST_MODULE="+hsm.Module,
		"SELFTEST_PIN="+token.PIN,
		"SELFTEST_ROOT="+root,
	), nil
}
