// SPDX-License-Identifier: Apache-2.0

package sign

import (
	"context"
	"crypto/x509"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/notaryproject/notation-core-go/signature"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/notation-pkcs11/notation-pkcs11/action/envelope"
	"github.com/notation-pkcs11/notation-pkcs11/action/registry"
	"github.com/notation-pkcs11/notation-pkcs11/action/report"
)

// maxHinted is how many signatures of an artifact are listed to find this key's among
// them. The list says by annotations whose they are, so few of them are read.
const maxHinted = 10_000

// Before is what was found of signatures by a key that are there already.
type Before struct {
	Found    bool
	Manifest ocispec.Descriptor // of the signature; if found
	Unread   int                // how many signatures were not looked at; if not found
	report.Validity
	// MustRenew is a sentence where the signature ends soon and one that would be
	// made ends no later, because of a certificate.
	MustRenew string
}

// SignedBefore looks for a signature of an artifact that is as good as one that this
// signer would make now: intact, by the key's own certificate chain, of this artifact,
// with the same user metadata, format and lifetime, not expired, and with a timestamp
// where one is wanted. At most limit signatures are read, first those that are
// annotated as this key's. Where all of them end within RenewWithin, and a new one would
// last longer, none is found.
func (s *Signer) SignedBefore(ctx context.Context, from registry.SignatureSource, t registry.Target, limit int) (Before, error) {
	manifests, err := from.Signatures(ctx, t, max(limit, maxHinted))
	var tooMany *registry.TooManySignaturesError
	if err != nil && !errors.As(err, &tooMany) {
		return Before{}, err
	}
	if len(manifests) == 0 {
		return Before{}, nil
	}
	chain, err := s.certificates(ctx, t.Desc)
	if err != nil {
		return Before{}, err
	}
	if err := likelyFirst(manifests, chain); err != nil {
		return Before{}, err
	}
	read := manifests[:min(limit, len(manifests))]
	var last *Before // that lasts longest
	for _, manifest := range read {
		_ = from.Envelope(ctx, t, manifest, func(blob []byte, mediaType string) {
			info := s.wouldMake(ctx, chain, t.Desc, mediaType, blob)
			if info == nil {
				return
			}
			found := &Before{Found: true, Manifest: manifest}
			if s.Validity != nil {
				found.Validity = s.Validity(ctx, t, info, blob, mediaType)
			}
			if last == nil || found.Outlasts(last.Validity) {
				last = found
			}
		}) // one that can't be read is no reason not to sign
		if last != nil && !endsWithin(last.Validity, s.RenewWithin, time.Now()) {
			return *last, nil
		}
	}
	switch {
	case last == nil:
		return Before{Unread: len(manifests) - len(read)}, nil
	case s.renew(last, chain, time.Now()):
		return Before{}, nil
	default:
		return *last, nil
	}
}

// likelyFirst sorts signatures: those that are annotated with the thumbprints of a
// chain, those that are not annotated, others. An annotation is a hint, which anybody
// may have written; the envelope decides.
func likelyFirst(manifests []ocispec.Descriptor, chain []*x509.Certificate) error {
	ours, err := thumbprints(chain)
	if err != nil {
		return err
	}
	unlikely := func(manifest ocispec.Descriptor) int {
		switch manifest.Annotations[annotationThumbprints] {
		case ours:
			return 0
		case "":
			return 1
		}
		return 2
	}
	slices.SortStableFunc(manifests, func(a, b ocispec.Descriptor) int { return unlikely(a) - unlikely(b) })
	return nil
}

// wouldMake returns who signed an envelope that is as good as one that the signer would
// make, else nil.
// The chain in an envelope is signed by nobody, so all of it must be the key's own:
// who writes to the registry could put in another certificate of an authority, by
// which no verifier would accept the signature.
func (s *Signer) wouldMake(ctx context.Context, chain []*x509.Certificate, artifact ocispec.Descriptor, mediaType string, blob []byte) *signature.SignerInfo {
	content, err := envelope.Open(mediaType, blob)
	if err != nil || mediaType != s.EnvelopeType {
		return nil
	}
	signed, err := envelope.SignedArtifact(content)
	if err != nil {
		return nil
	}
	if slices.EqualFunc(content.SignerInfo.CertificateChain, chain, (*x509.Certificate).Equal) &&
		time.Now().Before(chain[0].NotAfter) &&
		signed.Digest == artifact.Digest && signed.Size == artifact.Size && signed.MediaType == artifact.MediaType &&
		maps.Equal(signed.Annotations, s.UserMetadata) &&
		s.lastsAsLong(content.SignerInfo.SignedAttributes) &&
		(s.Timestamping == nil || s.Timestamping.stamped(ctx, content.SignerInfo)) {
		return &content.SignerInfo
	}
	return nil
}

// lastsAsLong reports whether a signature has the lifetime that a new one would have,
// and has not expired.
func (s *Signer) lastsAsLong(attributes signature.SignedAttributes) bool {
	if s.Expiry == 0 || attributes.Expiry.IsZero() {
		return s.Expiry == 0 && attributes.Expiry.IsZero()
	}
	return attributes.Expiry.Sub(attributes.SigningTime) == s.Expiry && time.Now().Before(attributes.Expiry)
}
