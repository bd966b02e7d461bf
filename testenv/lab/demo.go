// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

// session runs the commands of a user of notation, and shows them.
type session struct {
	out      *terminal
	notation *testenv.Notation
	env      []string // what the user has exported
}

// run runs a notation command that must succeed.
func (s *session) run(ctx context.Context, args ...string) error {
	s.out.command(append([]string{"notation"}, args...)...)
	result, err := s.notation.Run(ctx, s.env, args...)
	if err != nil {
		return err
	}
	s.out.output(result.Stdout)
	s.out.output(result.Stderr)
	if result.ExitCode != 0 {
		return fmt.Errorf("notation %s: exit status %d", strings.Join(args, " "), result.ExitCode)
	}
	return nil
}

// prepare does what a user does once.
func prepare(ctx context.Context, s *session, w *world, plugin string) error {
	for _, variable := range s.env {
		s.out.command("export", variable)
	}
	module, pin := "module="+w.hsm.Module, "pin_source=file:"+w.path("pin")
	for _, args := range [][]string{
		{"plugin", "install", "--file", plugin},
		{"key", "add", "--plugin", "pkcs11", "--id", w.token.Key(onTokenKey).URI(),
			"--plugin-config", module, "--plugin-config", pin, onTokenKey},
		{"key", "add", "--plugin", "pkcs11", "--id", w.token.Key(inFileKey).URI(),
			"--plugin-config", module, "--plugin-config", pin,
			"--plugin-config", "cert_chain=" + w.path("chain.pem"), inFileKey},
		{"certificate", "add", "--type", "ca", "--store", "demo", w.path("root.pem")},
	} {
		if err := s.run(ctx, args...); err != nil {
			return err
		}
	}
	s.out.command("cat", w.path("policy.json"))
	s.out.output(policy)
	return s.run(ctx, "policy", "import", w.path("policy.json"))
}

// signAndVerify signs an image of a registry in both envelope formats, verifies
// it, and shows the registry before and after.
func signAndVerify(ctx context.Context, s *session, registry *testenv.Registry, kind registryKind) error {
	s.out.heading(kind.name)
	image, err := registry.PushImage(ctx, imageRepository, imageTag)
	if err != nil {
		return err
	}
	view, err := newView(registry)
	if err != nil {
		return err
	}
	s.out.subheading("Before")
	before, err := view.show(ctx, s.out)
	if err != nil {
		return err
	}

	s.out.subheading("Sign and verify")
	reference := fmt.Sprintf("%s/%s@%s", registry.Host, imageRepository, image.Digest)
	for _, args := range [][]string{
		{"sign", "--signature-format", "cose", "--key", onTokenKey, "--force-referrers-tag=false", reference},
		{"sign", "--signature-format", "jws", "--key", inFileKey, "--force-referrers-tag=false", reference},
		{"list", reference},
		{"inspect", reference},
		{"verify", reference},
	} {
		if err := s.run(ctx, args...); err != nil {
			return err
		}
	}

	s.out.subheading("After")
	after, err := view.show(ctx, s.out)
	if err != nil {
		return err
	}
	if before.image != image.Digest || after.image != image.Digest {
		return fmt.Errorf("the image was pushed as %s, is %s before and %s after signing", image.Digest, before.image, after.image)
	}
	if before.signatures != 0 || after.signatures != 2 {
		return fmt.Errorf("the registry has %d signatures before and %d after signing, want 0 and 2", before.signatures, after.signatures)
	}
	s.out.good("The image has the same digest before and after, and two signatures.")
	return nil
}
