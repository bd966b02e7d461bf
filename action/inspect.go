// SPDX-License-Identifier: Apache-2.0

package action

import (
	"context"
	"errors"
	"fmt"

	"github.com/notaryproject/notation-core-go/signature"
	"github.com/notaryproject/notation-go/verifier/trustpolicy"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// inspect reads the signatures of an artifact, up to a number, with no policy:
// who made them counts for nothing. Their checks are integrity and descriptor,
// and one that passes both is called valid; there is no verdict on the artifact.
// The error of the verification is that of listing the signatures.
func inspect(ctx context.Context, source signatureSource, t target, most int) verification {
	var v verification
	manifests, err := source.signatures(ctx, t, most)
	v.err = v.noteMore(err)
	for _, manifest := range manifests {
		v.signatures = append(v.signatures, inspectSignature(ctx, source, t, manifest))
	}
	return v
}

func inspectSignature(ctx context.Context, source signatureSource, t target, manifest ocispec.Descriptor) (s signatureVerification) {
	s.manifest = manifest
	defer func() {
		if p := recover(); p != nil { // as in evaluate
			s.valid, s.err = false, fmt.Errorf("inspect: %v", p)
		}
	}()
	err := source.envelope(ctx, t, manifest, func(blob []byte, mediaType string) { s.read(t, blob, mediaType) })
	if err != nil {
		s.unread, s.err = true, err
	}
	return s
}

// read makes the checks that need no policy.
func (s *signatureVerification) read(t target, blob []byte, mediaType string) {
	content, err := readIntact(mediaType, blob)
	s.claims, s.err = readClaims(mediaType, blob, content), clipError(err)
	e := evaluation{artifact: t.desc, claims: &s.claims, content: content}
	integrity := check{kind: checkIntegrity, action: trustpolicy.ActionEnforce, result: checkPassed}
	if err == nil {
		integrity.reason = e.foundIntegrity()
	} else {
		integrity.result, integrity.reason, integrity.remedy = checkFailed, s.err.Error(), e.remedyIntegrity()
	}
	descriptor := e.descriptorCheck()
	if s.err == nil && descriptor.fatal() {
		s.err = errors.New(descriptor.reason)
	}
	s.valid = s.err == nil
	s.checks = []check{integrity, descriptor}
}

// readIntact returns what is in an envelope whose signature is that of the
// certificate in it.
func readIntact(mediaType string, blob []byte) (*signature.EnvelopeContent, error) {
	envelope, err := signature.ParseEnvelope(mediaType, blob)
	if err != nil {
		return nil, err
	}
	return envelope.Verify()
}
