// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

// The two keys. One has its certificates on the token, the other in a file.
const (
	onTokenKey = "release-rsa"
	inFileKey  = "release-ec"
)

// policy is the strict trust policy that the demo verifies under.
const policy = `{
  "version": "1.0",
  "trustPolicies": [
    {
      "name": "demo",
      "registryScopes": [ "*" ],
      "signatureVerification": { "level": "strict" },
      "trustStores": [ "ca:demo" ],
      "trustedIdentities": [ "*" ]
    }
  ]
}
`

// world is what the demo needs besides registries.
type world struct {
	hsm      *testenv.SoftHSM
	token    *testenv.Token
	notation *testenv.Notation

	dir   string
	parts []io.Closer
}

func newWorld() (_ *world, err error) {
	w := &world{}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.Close())
		}
	}()
	if w.dir, err = os.MkdirTemp("", "demo-"); err != nil {
		return nil, fmt.Errorf("make directory: %w", err)
	}
	if w.notation, err = testenv.NewNotation(); err != nil {
		return nil, err
	}
	w.parts = append(w.parts, w.notation)
	if w.hsm, err = testenv.NewSoftHSM(); err != nil {
		return nil, err
	}
	w.parts = append(w.parts, w.hsm)
	if err := w.fillToken(); err != nil {
		return nil, err
	}
	return w, nil
}

// fillToken generates the keys and writes the files that a user would have.
func (w *world) fillToken() error {
	pki, err := testenv.NewPKI()
	if err != nil {
		return err
	}
	if w.token, err = w.hsm.AddToken("demo"); err != nil {
		return err
	}
	onToken, err := w.token.Generate(testenv.RSA3072, onTokenKey)
	if err != nil {
		return err
	}
	onTokenChain, err := pki.Chain(onToken.Public)
	if err != nil {
		return err
	}
	if err := onToken.ImportChain(onTokenChain); err != nil {
		return err
	}
	inFile, err := w.token.Generate(testenv.EC256, inFileKey)
	if err != nil {
		return err
	}
	inFileChain, err := pki.Chain(inFile.Public)
	if err != nil {
		return err
	}
	for name, content := range map[string][]byte{
		"pin":         []byte(w.token.PIN),
		"chain.pem":   testenv.EncodePEM(inFileChain...),
		"root.pem":    testenv.EncodePEM(pki.Root),
		"policy.json": []byte(policy),
	} {
		if err := os.WriteFile(w.path(name), content, 0o600); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
	}
	return nil
}

// path is that of one of the demo's files.
func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

func (w *world) describe(out *terminal) {
	out.text("SoftHSM has generated two keys that can't leave its token:")
	out.row(onTokenKey, "RSA-3072, its certificate chain on the token too")
	out.row(inFileKey, "P-256, its certificate chain in "+w.path("chain.pem"))
	out.text("The PIN is in a file with mode 0600: " + w.path("pin"))
}

// Close deletes the token, the keys and all files.
func (w *world) Close() error {
	err := os.RemoveAll(w.dir)
	for _, part := range w.parts {
		err = errors.Join(err, part.Close())
	}
	return err
}
