// SPDX-License-Identifier: Apache-2.0

package action

import (
	"context"
	"fmt"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/notation-pkcs11/notation-pkcs11/action/report"
)

// artifactTypes are one per line.
func artifactTypes(field func(*inputs) *[]string) func(*inputs, string) error {
	return eachLine(func(in *inputs, line string) error {
		if !isMediaType(line) {
			return fmt.Errorf("%s is not an artifact type such as application/spdx+json", report.Quote(line))
		}
		*field(in) = append(*field(in), line)
		return nil
	})
}

// requireReferrers looks for a referrer of each required type that is signed and valid
// under the policy: of the artifact, or of each of its platforms.
func (r *run) requireReferrers(ctx context.Context, a *artifact) error {
	if a.target.Parent != nil || a.Attached != nil {
		return nil
	}
	platforms, err := a.target.Platforms(ctx)
	if err != nil {
		return err
	}
	var missing []string
	for _, artifactType := range r.inputs.requiredReferrers {
		required := report.Required{ArtifactType: artifactType}
		required.Satisfied, err = r.hasReferrer(ctx, a, a.target.Desc, &required)
		if err == nil && !required.Satisfied {
			required.Satisfied = len(platforms.Images) > 0
			for _, image := range platforms.Images {
				has := false
				if has, err = r.hasReferrer(ctx, a, image, &required); err != nil {
					break
				}
				required.Satisfied = required.Satisfied && has
			}
		}
		a.Required = append(a.Required, required)
		if err != nil {
			return err
		}
		if !required.Satisfied {
			missing = append(missing, artifactType)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	if n := len(platforms.Attestations); n > 0 {
		a.warn("the index has attestations of buildx in it, such as %s, which are not signed on their own and don't count", platforms.Attestations[0].Digest)
	}
	return fmt.Errorf("no referrer of the type %s is signed and valid under the trust policy; attach one with attach, or sign what is there", strings.Join(missing, ", or of "))
}

// hasReferrer reports whether a manifest has a referrer that is signed and valid. What
// is not is named.
func (r *run) hasReferrer(ctx context.Context, a *artifact, of ocispec.Descriptor, required *report.Required) (bool, error) {
	found, err := a.target.ReferrersOf(ctx, of, required.ArtifactType, r.inputs.maxSignatures)
	if err != nil {
		return false, err
	}
	has := false
	for _, referrer := range found {
		v, err := r.verifier.Verify(ctx, a.target.Beside(referrer))
		required.Referrers = append(required.Referrers, report.RequiredReferrer{Digest: referrer.Digest.String(), Of: of.Digest.String(), Verification: v})
		if has = has || v.Verdict == report.Verified; err != nil {
			a.warn("the referrer %s of the type %s does not count: %s", referrer.Digest, required.ArtifactType, report.Message(err))
		}
	}
	return has, nil
}
