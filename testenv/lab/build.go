// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"

	"oras.land/oras-go/v2/content/oci"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

// builtTag is the tag that the build gets.
const builtTag = "v2"

// buildToTag takes the image of a build, which is in no registry yet, to a tag: pushed
// with its SBOM, both signed and verified, the tag last. Then notation verifies the tag.
func buildToTag(ctx context.Context, s *session, registry *testenv.Registry) error {
	s.out.heading("From a build to a trusted tag")
	s.out.text("A build has written its image to an OCI image layout, the directory build. Beside it is an SBOM.")
	s.out.text("One run of the action's executable pushes the image, attaches the SBOM, signs and verifies both,")
	s.out.text("and sets the tag last.")
	layout, err := oci.NewWithContext(ctx, s.path("build"))
	if err != nil {
		return err
	}
	image, err := testenv.PutImage(ctx, layout, "a new release", builtTag)
	if err != nil {
		return err
	}
	if err := s.write(map[string][]byte{"sbom.spdx.json": []byte(`{"spdxVersion":"SPDX-2.3"}`)}); err != nil {
		return err
	}
	reference := fmt.Sprintf("%s/%s:%s", registry.Host, imageRepository, builtTag)
	err = s.run(ctx, "notation-pkcs11-action",
		"--source", "oci-layout:build",
		"--target-artifact-reference", reference,
		"--attach", "sbom.spdx.json=application/spdx+json",
		"--required-referrers", "application/spdx+json",
		"--key-id", s.keyID(onTokenKey))
	if err != nil {
		return err
	}
	at, err := registry.Repository(imageRepository)
	if err != nil {
		return err
	}
	tagged, err := at.Resolve(ctx, builtTag)
	if err != nil {
		return err
	}
	if tagged.Digest != image.Digest {
		return fmt.Errorf("the build is %s, and the tag names %s", image.Digest, tagged.Digest)
	}
	if err := s.run(ctx, "notation", "verify", reference); err != nil {
		return err
	}
	s.out.good("The tag " + builtTag + " points to the build. The build and its SBOM are signed.")
	return nil
}
