// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

// demo signs images with keys that stay in a token, with the real notation
// command, and shows what that adds to a registry of each kind. At the end, the action takes a
// build to its tag.
func demo(ctx context.Context, out *terminal, plugin, registryChoice string) (err error) {
	kinds, err := registryKinds(registryChoice)
	if err != nil {
		return err
	}
	closeAtEnd := func(part io.Closer) { err = errors.Join(err, part.Close()) }

	out.text("Making a token; the first time, building notation too.")
	w, err := newWorld(plugin)
	if err != nil {
		return err
	}
	defer closeAtEnd(w)
	session := &session{world: w, out: out}

	out.heading("Two keys on a token")
	out.text("SoftHSM has the empty token " + tokenLabel + ". Its PIN is in a file with mode 0600.")
	session.exported()
	if err := session.makeKeys(ctx); err != nil {
		return err
	}
	out.heading("Install the plugin, name the keys, trust the root")
	if err := session.configure(ctx); err != nil {
		return err
	}
	for i, kind := range kinds {
		registry, err := kind.start()
		if err != nil {
			return err
		}
		defer closeAtEnd(registry)
		if err := signAndVerify(ctx, session, registry, kind, i == 0); err != nil {
			return fmt.Errorf("%s: %w", kind.name, err)
		}
		if i == len(kinds)-1 {
			if err := buildToTag(ctx, session, registry); err != nil {
				return err
			}
		}
	}
	out.heading("Done")
	out.text("Both registries hold a COSE and a JWS signature, made by keys that never left the token.")
	out.text("To go on with such a token and such registries: make lab.")
	return sayInstalled(out)
}

// signAndVerify signs an image of a registry in both envelope formats, verifies
// it, and shows the registry before and after. The first time it explains.
func signAndVerify(ctx context.Context, s *session, registry *testenv.Registry, kind registryKind, first bool) error {
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
	if first {
		s.out.text("--force-referrers-tag=false has notation ask the registry for the Referrers API, and")
		s.out.text("write a referrers index under a tag only where there is none. By default it writes one everywhere.")
	}
	reference := fmt.Sprintf("%s/%s@%s", registry.Host, imageRepository, image.Digest)
	commands := [][]string{
		{"sign", "--signature-format", "cose", "--key", onTokenKey, "--force-referrers-tag=false", reference},
		{"sign", "--signature-format", "jws", "--key", inFileKey, "--force-referrers-tag=false", reference},
		{"list", reference},
	}
	if first {
		commands = append(commands, []string{"inspect", reference})
	}
	for _, args := range append(commands, []string{"verify", reference}) {
		if err := s.run(ctx, "notation", args...); err != nil {
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
