// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

// The two keys. One has its certificates on the token, the other in a file.
const (
	onTokenKey = "release-rsa"
	inFileKey  = "release-ec"
)

// tokenLabel is that of the token.
const tokenLabel = "Release"

// policy is the strict trust policy that images are verified under.
const policy = `{
  "version": "1.0",
  "trustPolicies": [
    {
      "name": "lab",
      "registryScopes": [ "*" ],
      "signatureVerification": { "level": "strict" },
      "trustStores": [ "ca:lab" ],
      "trustedIdentities": [ "x509.subject: C=US, ST=WA, O=Example" ]
    }
  ]
}
`

// world is what there is besides registries: an empty token, a certificate
// authority, the notation command, and a directory for files.
type world struct {
	hsm      *testenv.SoftHSM
	token    *testenv.Token
	pki      *testenv.PKI
	notation *testenv.Notation

	dir   string
	parts []io.Closer
}

// newWorld makes a world in which the executable at the path plugin can be called
// as notation-pkcs11, and that of the action, beside it, as notation-pkcs11-action.
func newWorld(plugin string) (_ *world, err error) {
	w := &world{}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.Close())
		}
	}()
	if w.dir, err = os.MkdirTemp("", "lab-"); err != nil {
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
	if w.token, err = w.hsm.AddToken(tokenLabel); err != nil {
		return nil, err
	}
	if w.pki, err = testenv.NewPKI(); err != nil {
		return nil, err
	}
	return w, w.makeFiles(plugin)
}

// makeFiles makes what a user has before the first key.
func (w *world) makeFiles(plugin string) error {
	plugin, err := filepath.Abs(plugin)
	if err != nil {
		return err
	}
	if err := os.Mkdir(w.bin(), 0o700); err != nil {
		return err
	}
	action := filepath.Join(filepath.Dir(plugin), "notation-pkcs11-action")
	for name, target := range map[string]string{"notation": w.notation.Command, "notation-pkcs11": plugin, "notation-pkcs11-action": action} {
		if err := os.Symlink(target, filepath.Join(w.bin(), name)); err != nil {
			return err
		}
	}
	return w.write(map[string][]byte{
		"pin":              []byte(w.token.PIN),
		"root.pem":         testenv.EncodePEM(w.pki.Root),
		"trustpolicy.json": []byte(policy),
	})
}

func (w *world) write(files map[string][]byte) error {
	for name, content := range files {
		if err := os.WriteFile(w.path(name), content, 0o600); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
	}
	return nil
}

// path is that of a file of the world.
func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

// bin is the directory of the commands.
func (w *world) bin() string { return w.path("bin") }

// keyID is the URI of a key on the token.
func (w *world) keyID(name string) string { return "pkcs11:token=" + tokenLabel + ";object=" + name }

// issue does what a certificate authority does: it makes NAME.pem of NAME.csr, the
// certificate first and the root last.
func (w *world) issue(name string) error {
	text, err := os.ReadFile(w.path(name + ".csr"))
	if err != nil {
		return err
	}
	block, _ := pem.Decode(bytes.TrimSpace(text))
	if block == nil {
		return fmt.Errorf("%s.csr is no PEM", name)
	}
	request, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return fmt.Errorf("%s.csr: %w", name, err)
	}
	chain, err := w.pki.Issue(request)
	if err != nil {
		return err
	}
	return w.write(map[string][]byte{name + ".pem": testenv.EncodePEM(chain...)})
}

// exports are the variables, as NAME=value, that a user of the token exports.
func (w *world) exports() []string {
	return append(w.hsm.Env(),
		"NOTATION_PKCS11_MODULE="+w.hsm.Module,
		"NOTATION_PKCS11_PIN_SOURCE=file:"+w.path("pin"),
	)
}

// configuration are the variables, as NAME=value, that lead to what notation was
// told. They leave the user's home as it is.
func (w *world) configuration() []string {
	var variables []string
	for _, variable := range w.notation.Env() {
		if strings.HasPrefix(variable, "XDG_") {
			variables = append(variables, variable)
		}
	}
	return variables
}

// Close deletes the token, the keys and all files.
func (w *world) Close() error {
	err := os.RemoveAll(w.dir)
	for _, part := range w.parts {
		err = errors.Join(err, part.Close())
	}
	return err
}
