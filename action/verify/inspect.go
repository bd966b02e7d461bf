// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"context"
	"fmt"

	"github.com/notation-pkcs11/notation-pkcs11/action/envelope"
	"github.com/notation-pkcs11/notation-pkcs11/action/registry"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/notation-pkcs11/notation-pkcs11/action/report"
)

// Inspect reads the signatures of an artifact, up to a number, with no policy:
// who made them counts for nothing. Their checks are integrity and descriptor,
// and one that passes both is called valid; there is no verdict on the artifact.
// The error is that of listing the signatures.
func Inspect(ctx context.Context, source registry.SignatureSource, t registry.Target, limit int) (report.Inspection, error) {
	manifests, err := source.Signatures(ctx, t, limit)
	more, err := noteMore(err)
	i := report.Inspection{Signatures: make([]report.Signature, 0, len(manifests)), More: more}
	for _, manifest := range manifests {
		i.Signatures = append(i.Signatures, inspectSignature(ctx, source, t, manifest))
	}
	return i, err
}

func inspectSignature(ctx context.Context, source registry.SignatureSource, t registry.Target, manifest ocispec.Descriptor) (s report.Signature) {
	s.Digest = manifest.Digest.String()
	defer func() {
		if p := recover(); p != nil { // as in evaluate
			s.Valid, s.Error = false, report.Message(fmt.Errorf("inspect: %v", p))
		}
	}()
	err := source.Envelope(ctx, t, manifest, func(blob []byte, mediaType string) { checkWithoutPolicy(&s, t, blob, mediaType) })
	if err != nil {
		s.Error = report.Message(err)
	}
	return s
}

// checkWithoutPolicy makes the checks that need no policy.
func checkWithoutPolicy(s *report.Signature, t registry.Target, blob []byte, mediaType string) {
	content, err := envelope.Open(mediaType, blob)
	s.Claims, s.Error = envelope.ReadClaims(mediaType, blob, content), report.Message(envelope.ClipError(err))
	e := evaluation{artifact: t.Desc, claims: &s.Claims, content: content}
	integrity := report.Check{Name: checkIntegrity, Action: enforced, Result: report.CheckPassed}
	if err == nil {
		integrity.Reason = e.foundIntegrity()
	} else {
		integrity.Result, integrity.Reason, integrity.Remedy = report.CheckFailed, s.Error, e.remedyIntegrity()
	}
	descriptor := e.descriptorCheck()
	if s.Error == "" && fatal(descriptor) {
		s.Error = descriptor.Reason
	}
	s.Valid = s.Error == ""
	s.Checks = []report.Check{integrity, descriptor}
}
