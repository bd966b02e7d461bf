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

	out.text("This demo signs an image in two registries, with keys that stay on a token, and shows what the")
	out.text("registries store. " + firstTime)
	w, err := newWorld(plugin)
	if err != nil {
		return err
	}
	defer closeAtEnd(w)
	session := &session{world: w, out: out}

	out.heading("Create two keys on a token")
	out.text("The token " + tokenLabel + " is new and empty. It is in SoftHSM, an HSM in software. Its PIN is in the file pin,")
	out.text("which only you can read.")
	session.exported()
	if err := session.makeKeys(ctx); err != nil {
		return err
	}
	out.heading("Install the plugin, add the keys, trust the root")
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
	out.text("Both registries have a COSE and a JWS signature, made with keys that never left the token.")
	out.text("The demo now deletes the token, the keys and the registries. To try things with new ones, run: make lab")
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
	if first {
		s.out.text("Verification looks for the referrers of an image: manifests with the image as their subject. A")
		s.out.text("registry lists them by the Referrers API. Without that API, clients list them in a referrers index,")
		s.out.text("under a tag that is made of the image's digest.")
	}
	s.out.subheading("Before")
	before, err := view.show(ctx, s.out)
	if err != nil {
		return err
	}

	s.out.subheading("Sign and verify")
	if first {
		s.out.text("With --force-referrers-tag=false, notation uses the Referrers API. It writes a referrers index only")
		s.out.text("if the registry has no such API. By default, notation always writes the index.")
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
