// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"context"
	"crypto/x509"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/notaryproject/notation-core-go/revocation/result"
	"github.com/notaryproject/notation-core-go/signature"
	"github.com/notaryproject/notation-go"
	notationverifier "github.com/notaryproject/notation-go/verifier"
	"github.com/notaryproject/notation-go/verifier/trustpolicy"
	"github.com/notaryproject/notation-go/verifier/truststore"

	"github.com/notation-pkcs11/notation-pkcs11/action/envelope"
	"github.com/notation-pkcs11/notation-pkcs11/action/registry"
	"github.com/notation-pkcs11/notation-pkcs11/action/report"
	"github.com/notation-pkcs11/notation-pkcs11/action/revocation"
)

// dates are which dates of a signature a policy looks at.
type dates struct {
	expiry       bool // the signature's own
	certificates bool // those of its certificates
	// stamped says whether its timestamp counts in place of the certificates' ends.
	// It is asked only where that matters, for it may ask servers about the
	// authority's certificates.
	stamped func() bool
	// subjectOf is what to call a certificate.
	subjectOf func(*x509.Certificate) string
	// lists is when a CRL that is at hand is due for its next update; zero: none counts.
	lists time.Time
}

// validity says until when a signature that verifies now goes on to. Revocation
// can't be foreseen. A timestamp sets no end, for the authority's certificates are
// judged at the time of the stamp.
func (d dates) validity(info *signature.SignerInfo) report.Validity {
	var until time.Time // zero: nothing ends it so far
	var end string
	var lasting []string
	switch expiry := info.SignedAttributes.Expiry; {
	case !d.expiry:
		lasting = append(lasting, "the policy does not enforce its expiry")
	case expiry.IsZero():
		lasting = append(lasting, "it has no expiry")
	default:
		until, end = expiry, "the signature expires"
	}
	switch first := firstToEnd(info.CertificateChain); {
	case !d.certificates:
		lasting = append(lasting, "the policy does not enforce that its certificates are valid")
	case info.SignedAttributes.SigningScheme == signature.SigningSchemeX509SigningAuthority:
		lasting = append(lasting, "its certificates count at the time of the signing authority")
	case !until.IsZero() && !first.NotAfter.Before(until):
	case d.stamped():
		lasting = append(lasting, "its certificates count at the time of its timestamp")
	default:
		until, end = first.NotAfter, fmt.Sprintf("the certificate of %q expires", d.subjectOf(first))
	}
	if !d.lists.IsZero() && (until.IsZero() || d.lists.Before(until)) {
		until, end = d.lists, "a CRL of crl_files is due for its next update"
	}
	if until.IsZero() {
		return report.Validity{ValidUntilReason: "no date ends it: " + strings.Join(lasting, ", and ")}
	}
	until = report.Time(until)
	return report.Validity{ValidUntil: &until, ValidUntilReason: end}
}

// firstToEnd is the certificate of a chain that expires first.
func firstToEnd(chain []*x509.Certificate) *x509.Certificate {
	return slices.MinFunc(chain, func(a, b *x509.Certificate) int { return a.NotAfter.Compare(b.NotAfter) })
}

// validity says until when a valid signature verifies under the statement.
func (e *evaluation) validity(stamped func() bool, lists revocation.Lists) report.Validity {
	return dates{
		expiry:       e.statement.enforces(trustpolicy.TypeExpiry),
		certificates: e.statement.enforces(trustpolicy.TypeAuthenticTimestamp),
		stamped: func() bool {
			switch {
			case e.claims.Timestamp == nil || len(e.trust.stores.of(truststore.TypeTSA, e.statement.policy)) == 0:
				return false
			case e.noTimestamp() == "":
				return true // notation has looked at it, and the signature is valid
			default:
				return stamped()
			}
		},
		subjectOf: e.subjectOf,
		lists:     e.listsDue(lists),
	}.validity(&e.content.SignerInfo)
}

// listsDue says when a list is due that a certificate's check of revocation hangs on,
// if the statement enforces it.
func (e *evaluation) listsDue(lists revocation.Lists) time.Time {
	if len(lists) == 0 || !e.statement.enforces(trustpolicy.TypeRevocation) {
		return time.Time{}
	}
	return lists.NextUpdate(e.content.SignerInfo.CertificateChain, func(i int) bool {
		return i < len(e.revocation) && e.revocation[i].RevocationMethod != result.RevocationMethodOCSP
	})
}

// newStampVerifier returns what judges timestamps as notation does once the
// certificates have expired: under a statement that trusts the same, looks at the
// timestamp always, enforces nothing, and does not ask about the signer.
func newStampVerifier(policy trustpolicy.TrustPolicy, stores certificateStores, stamps *revocation.Memory) (notation.Verifier, error) {
	policy.SignatureVerification = trustpolicy.SignatureVerification{
		VerificationLevel: trustpolicy.LevelAudit.Name,
		Override:          map[trustpolicy.ValidationType]trustpolicy.ValidationAction{trustpolicy.TypeRevocation: trustpolicy.ActionSkip},
		VerifyTimestamp:   trustpolicy.OptionAlways,
	}
	return notationverifier.NewWithOptions(document(policy), stores, silentPlugins{}, notationverifier.VerifierOptions{
		RevocationCodeSigningValidator:  stamps, // not asked
		RevocationTimestampingValidator: stamps,
	})
}

// holds says whether the timestamp of a signature passes.
func holds(ctx context.Context, stamps notation.Verifier, t registry.Target, blob []byte, mediaType string) bool {
	outcome, _ := stamps.Verify(ctx, t.Desc, blob, notation.VerifierVerifyOptions{ArtifactReference: artifactReference(t), SignatureMediaType: mediaType})
	return outcome != nil && slices.ContainsFunc(outcome.VerificationResults, func(r *notation.ValidationResult) bool {
		return r.Type == trustpolicy.TypeAuthenticTimestamp && r.Error == nil
	})
}

// Strict says until when signatures verify under a statement of the level strict
// that has the roots of timestamping authorities, if there are any, in a trust
// store of type tsa. A run that signs looks at signatures so, for it need not know
// the policies of those who verify.
type Strict struct {
	stamps notation.Verifier // nil: timestamps don't count
	lists  revocation.Lists
}

// NewStrict makes no request.
func NewStrict(authorities []*x509.Certificate, transport http.RoundTripper, lists revocation.Lists) (*Strict, error) {
	if len(authorities) == 0 {
		return &Strict{lists: lists}, nil
	}
	_, stamps, err := revocation.New(transport, lists)
	if err != nil {
		return nil, err
	}
	stores := certificateStores{}
	policy := trustpolicy.TrustPolicy{
		Name:              trustpolicy.LevelStrict.Name,
		RegistryScopes:    []string{"*"},
		TrustStores:       []string{stores.add(truststore.TypeCA, "none", nil), stores.add(truststore.TypeTSA, inputTimestampStore, authorities)},
		TrustedIdentities: []string{"*"},
	}
	verifier, err := newStampVerifier(policy, stores, stamps)
	if err != nil {
		return nil, err
	}
	return &Strict{verifier, lists}, nil
}

// Validity says until when a signature of an artifact verifies, if it does now.
func (s *Strict) Validity(ctx context.Context, t registry.Target, info *signature.SignerInfo, blob []byte, mediaType string) report.Validity {
	return dates{
		expiry:       true,
		certificates: true,
		stamped: func() bool {
			return s.stamps != nil && len(info.UnsignedAttributes.TimestampSignature) > 0 && holds(ctx, s.stamps, t, blob, mediaType)
		},
		subjectOf: func(cert *x509.Certificate) string { return nameOf(envelope.DescribeCertificate(cert)) },
		lists: s.lists.NextUpdate(info.CertificateChain, func(i int) bool {
			return len(info.CertificateChain[i].OCSPServer) == 0 // which would be asked first
		}),
	}.validity(info)
}
