// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// session runs the commands of a user, and shows them.
type session struct {
	*world
	out *terminal
}

// run runs a command that must succeed, in the directory of the world's files.
func (s *session) run(ctx context.Context, name string, args ...string) error {
	s.out.command(append([]string{name}, args...)...)
	cmd := exec.CommandContext(ctx, filepath.Join(s.bin(), name), args...)
	cmd.Dir = s.dir
	cmd.Env = append(s.notation.Env(), s.exports()...)
	cmd.WaitDelay = 10 * time.Second // a plugin's stray child may hold the streams
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	s.out.output(stdout.String())
	s.out.output(stderr.String())
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), errors.Join(ctx.Err(), err), bytes.TrimSpace(stderr.Bytes()))
	}
	return nil
}

// exported shows the variables that are set for all that follows.
func (s *session) exported() {
	s.out.command("cd", s.dir)
	for _, variable := range s.exports() {
		s.out.command("export", variable)
	}
}

// makeKeys makes the two keys and gets certificates for them.
func (s *session) makeKeys(ctx context.Context) error {
	for _, key := range []struct{ name, kind string }{{onTokenKey, "rsa:3072"}, {inFileKey, "ec:p256"}} {
		if err := s.run(ctx, "notation-pkcs11", "generate-key", s.keyID(key.name), "--type", key.kind); err != nil {
			return err
		}
		err := s.run(ctx, "notation-pkcs11", "csr", s.keyID(key.name),
			"--subject", "CN=Release signing,O=Example,ST=WA,C=US", "--output-file", key.name+".csr")
		if err != nil {
			return err
		}
		if err := s.issue(key.name); err != nil {
			return err
		}
		s.out.text("\nThe CA answers with " + key.name + ".pem: the signing certificate, the intermediate CA's, and the root.")
	}
	if err := s.run(ctx, "notation-pkcs11", "import-cert", s.keyID(onTokenKey), onTokenKey+".pem"); err != nil {
		return err
	}
	s.out.text("\nThe certificates of " + inFileKey + " stay in the file, as with tokens that store no certificates.")
	s.out.text("Test every step up to a real signature:")
	return s.run(ctx, "notation-pkcs11", "check", s.keyID(onTokenKey))
}

// configure tells notation of the plugin, of the keys, and whom to trust.
func (s *session) configure(ctx context.Context) error {
	for _, args := range [][]string{
		{"plugin", "install", "--file", filepath.Join(s.bin(), "notation-pkcs11")},
		{"key", "add", "--plugin", "pkcs11", "--id", s.keyID(onTokenKey), onTokenKey},
		{"key", "add", "--plugin", "pkcs11", "--id", s.keyID(inFileKey),
			"--plugin-config", "cert_chain=" + s.path(inFileKey+".pem"), inFileKey},
		{"certificate", "add", "--type", "ca", "--store", "lab", "root.pem"},
	} {
		if err := s.run(ctx, "notation", args...); err != nil {
			return err
		}
	}
	text, err := os.ReadFile(s.path("trustpolicy.json"))
	if err != nil {
		return err
	}
	s.out.command("cat", "trustpolicy.json")
	s.out.output(string(text))
	return s.run(ctx, "notation", "policy", "import", "trustpolicy.json")
}
