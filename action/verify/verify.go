// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"sync"

	"github.com/notation-pkcs11/notation-pkcs11/action/envelope"

	"github.com/notation-pkcs11/notation-pkcs11/action/registry"
	"github.com/notation-pkcs11/notation-pkcs11/action/revocation"

	corerevocation "github.com/notaryproject/notation-core-go/revocation"
	"github.com/notaryproject/notation-go"
	pluginmanager "github.com/notaryproject/notation-go/plugin"
	notationverifier "github.com/notaryproject/notation-go/verifier"
	"github.com/notaryproject/notation-go/verifier/trustpolicy"
	"github.com/notaryproject/notation-go/verifier/truststore"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/notation-pkcs11/notation-pkcs11/action/report"
)

// Options are the inputs that say how to verify.
type Options struct {
	MaxSignatures int               // of an artifact, positive
	Concurrency   int               // signatures that are evaluated at once, besides one of each artifact
	UserMetadata  map[string]string // that a signature must have
	PluginConfig  map[string]string // for verification plugins
	// Plugins are the verification plugins of this runner. Without them a
	// signature that asks for one fails, as it does where it is not installed.
	Plugins pluginmanager.Manager
	// Transport is for OCSP and CRLs. It should not retry: what they may take is
	// short. Nil is http.DefaultTransport.
	Transport http.RoundTripper
	// Lists are CRLs that are at hand.
	Lists revocation.Lists
}

// Verifier evaluates a trust policy. It is safe for concurrent use.
//
// The verdict on each signature is notation-go's, of the call that notation
// makes. notation-go stops at the first check that fails; to explain a failure,
// the signature is verified once more, under the same statement with everything
// logged and nothing enforced.
type Verifier struct {
	trust      *Trust
	source     registry.SignatureSource
	options    Options
	statements map[string]statementVerifier // by the statement's name
	revocation *revocation.Memory           // of signing certificates
	stamps     *revocation.Memory           // of timestamping certificates
	slots      chan struct{}                // one is held by each goroutine that evaluates
}

// statementVerifier verifies under one statement of the policy.
type statementVerifier struct {
	enforcing notation.Verifier // as the statement says
	logging   notation.Verifier // the same, nothing enforced
	stamps    notation.Verifier // of timestamps alone
}

// New prepares to verify under each statement of the policy.
func New(t *Trust, source registry.SignatureSource, o Options) (*Verifier, error) {
	v := &Verifier{
		trust: t, source: source, options: o,
		statements: map[string]statementVerifier{},
		slots:      make(chan struct{}, o.Concurrency),
	}
	if o.Transport == nil {
		o.Transport = http.DefaultTransport
	}
	var err error
	if v.revocation, v.stamps, err = revocation.New(o.Transport, o.Lists); err != nil {
		return nil, err
	}
	for _, policy := range t.policy.TrustPolicies {
		if v.statements[policy.Name], err = v.newStatementVerifier(policy); err != nil {
			return nil, fmt.Errorf("trust policy statement %q: %w", policy.Name, err)
		}
	}
	return v, nil
}

func (v *Verifier) newStatementVerifier(policy trustpolicy.TrustPolicy) (statementVerifier, error) {
	level, err := policy.SignatureVerification.GetVerificationLevel()
	if err != nil {
		return statementVerifier{}, err
	}
	if level == trustpolicy.LevelSkip {
		return statementVerifier{}, nil
	}
	options := notationverifier.VerifierOptions{
		RevocationCodeSigningValidator:  v.signerRevocation(policy, level),
		RevocationTimestampingValidator: v.stamps,
	}
	enforcing, err := notationverifier.NewWithOptions(document(policy), v.trust.stores, plugins{v.options.Plugins}, options)
	if err != nil {
		return statementVerifier{}, err
	}
	logging, err := notationverifier.NewWithOptions(document(unenforced(policy, level)), v.trust.stores, silentPlugins{plugins{v.options.Plugins}}, options)
	if err != nil {
		return statementVerifier{}, err
	}
	stamps, err := newStampVerifier(policy, v.trust.stores, v.stamps)
	if err != nil {
		return statementVerifier{}, err
	}
	return statementVerifier{enforcing, logging, stamps}, nil
}

// signerRevocation returns what checks the revocation of signing certificates.
// It asks about untrusted ones only where the verdict depends on that: where a
// statement enforces revocation and does not enforce authenticity.
func (v *Verifier) signerRevocation(policy trustpolicy.TrustPolicy, level *trustpolicy.VerificationLevel) corerevocation.Validator {
	if asksAboutUntrusted(level) {
		return v.revocation
	}
	var anchors []*x509.Certificate
	for _, kind := range []truststore.Type{truststore.TypeCA, truststore.TypeSigningAuthority} {
		for _, name := range v.trust.stores.of(kind, &policy) {
			anchors = append(anchors, v.trust.stores[name].certs...)
		}
	}
	return revocation.TrustedChains{Next: v.revocation, Anchors: anchors}
}

func asksAboutUntrusted(level *trustpolicy.VerificationLevel) bool {
	return level.Enforcement[trustpolicy.TypeRevocation] == trustpolicy.ActionEnforce &&
		level.Enforcement[trustpolicy.TypeAuthenticity] != trustpolicy.ActionEnforce
}

// document returns a policy of one statement.
func document(policy trustpolicy.TrustPolicy) *trustpolicy.Document {
	return &trustpolicy.Document{Version: "1.0", TrustPolicies: []trustpolicy.TrustPolicy{policy}}
}

// unenforced returns a statement that trusts the same and enforces nothing but
// the integrity of the envelope, without which there is nothing to check.
func unenforced(policy trustpolicy.TrustPolicy, level *trustpolicy.VerificationLevel) trustpolicy.TrustPolicy {
	policy.SignatureVerification.VerificationLevel = trustpolicy.LevelAudit.Name
	policy.SignatureVerification.Override = nil
	if level.Enforcement[trustpolicy.TypeRevocation] == trustpolicy.ActionSkip {
		policy.SignatureVerification.Override = map[trustpolicy.ValidationType]trustpolicy.ValidationAction{
			trustpolicy.TypeRevocation: trustpolicy.ActionSkip,
		}
	}
	return policy
}

// Verify evaluates the policy on all signatures of an artifact, up to
// maxSignatures, and on those of also, however many are listed before them. The error
// is why the verdict is failed: an *uncoveredError where no statement applies.
func (v *Verifier) Verify(ctx context.Context, t registry.Target, also ...digest.Digest) (report.Verification, error) {
	s, err := v.trust.statementFor(t.Store.Scope())
	if err != nil {
		r := report.Verification{Verdict: report.Failed, Error: report.Message(err), Signatures: []report.Signature{}}
		var uncovered *uncoveredError
		if errors.As(err, &uncovered) {
			r.Unmatched = uncovered.scopes
		}
		return r, err
	}
	r := report.Verification{Verdict: report.Skipped, Statement: s.report(), Signatures: []report.Signature{}}
	if s.skips() {
		return r, nil
	}
	manifests, err := v.source.Signatures(ctx, t, v.options.MaxSignatures, also...)
	r.More, err = noteMore(err)
	found := v.evaluateAll(ctx, t, s, manifests)
	for _, f := range found {
		r.Signatures = append(r.Signatures, f.Signature)
	}
	if err = fault(found, r.More, err); err != nil {
		r.Verdict, r.Error = report.Failed, report.Message(err)
		return r, err
	}
	r.Verdict = report.Verified
	return r, nil
}

// evaluated is a signature with what came of it. Valid is notation's verdict on
// it.
type evaluated struct {
	report.Signature
	err    error // why it is not valid
	unread bool  // it could not be fetched
}

// noteMore says whether there are more signatures than were listed, which is no
// error of listing them.
func noteMore(err error) (more bool, _ error) {
	var tooMany *registry.TooManySignaturesError
	if errors.As(err, &tooMany) {
		return true, nil
	}
	return false, err
}

// errUnsigned says that an artifact has no signature.
var errUnsigned = errors.New("the artifact has no signature; sign it, or, if it is signed, check the tag or digest, " +
	"and that the signature was pushed to this repository")

// fault decides on the artifact as notation does: it takes the signatures in
// order up to the first valid one, and gives up at one that can't be fetched.
func fault(found []evaluated, more bool, listErr error) error {
	for _, s := range found {
		if s.Valid {
			return nil
		}
		if s.unread {
			return fmt.Errorf("a signature that can't be read comes before any valid one: %w", s.err)
		}
	}
	switch {
	case listErr != nil:
		return listErr
	case len(found) == 0:
		return errUnsigned
	case more:
		return fmt.Errorf("none of the first %d signatures is valid, and max_signatures leaves out the others; the first is not because %w",
			len(found), found[0].err)
	case len(found) == 1:
		return fmt.Errorf("its signature is not valid: %w", found[0].err)
	default:
		return fmt.Errorf("none of its %d signatures is valid; the first is not because %w", len(found), found[0].err)
	}
}

// evaluateAll evaluates signatures at once, as many as there are free slots, and
// one more, right here: so it never waits for a slot, which signatures of another
// artifact may hold for long.
func (v *Verifier) evaluateAll(ctx context.Context, t registry.Target, s *statement, manifests []ocispec.Descriptor) []evaluated {
	results := make([]evaluated, len(manifests))
	var all sync.WaitGroup
	for i, manifest := range manifests {
		select {
		case v.slots <- struct{}{}:
			all.Go(func() {
				defer func() { <-v.slots }()
				results[i] = v.evaluate(ctx, t, s, manifest)
			})
		default:
			results[i] = v.evaluate(ctx, t, s, manifest)
		}
	}
	all.Wait()
	return results
}

// evaluate fetches and verifies one signature.
func (v *Verifier) evaluate(ctx context.Context, t registry.Target, s *statement, manifest ocispec.Descriptor) (result evaluated) {
	result.Digest = manifest.Digest.String()
	defer func() { result.Error = report.Message(result.err) }()
	defer func() {
		// What a registry sends goes through many parsers. One that panics must
		// not take the other artifacts' verdicts with it.
		if p := recover(); p != nil {
			result.Valid, result.err = false, fmt.Errorf("verify: %v", p)
		}
	}()
	err := v.source.Envelope(ctx, t, manifest, func(blob []byte, mediaType string) {
		v.judge(ctx, t, s, blob, mediaType, &result)
	})
	if err != nil {
		var oversized *registry.OversizedError
		result.unread, result.err = !errors.As(err, &oversized), err
	}
	return result
}

// judge has notation-go verify an envelope, a second time where that explains
// more.
func (v *Verifier) judge(ctx context.Context, t registry.Target, s *statement, blob []byte, mediaType string, result *evaluated) {
	options := notation.VerifierVerifyOptions{
		ArtifactReference:  artifactReference(t),
		SignatureMediaType: mediaType,
		PluginConfig:       v.options.PluginConfig,
		UserMetadata:       v.options.UserMetadata,
	}
	by := v.statements[s.policy.Name]
	outcome, err := by.enforcing.Verify(ctx, t.Desc, blob, options)
	err = v.trust.inOwnWords(s.policy, err)
	result.Valid, result.err = err == nil, envelope.ClipError(err)
	if outcome == nil {
		return
	}
	result.Claims = envelope.ReadClaims(mediaType, blob, outcome.EnvelopeContent)
	e := evaluation{
		trust: v.trust, statement: s, artifact: t.Desc, wanted: v.options.UserMetadata,
		claims: &result.Claims, content: outcome.EnvelopeContent, err: err,
		results: map[trustpolicy.ValidationType]error{},
	}
	e.add(outcome)
	if err != nil && outcome.EnvelopeContent != nil {
		// Its verdict means nothing, so its error neither.
		if more, _ := by.logging.Verify(ctx, t.Desc, blob, options); more != nil {
			e.add(more)
		}
	}
	e.lookUp(v.revocation, v.stamps)
	result.Checks, result.Revocation = e.checks(), e.revocations()
	if result.Valid {
		result.Validity = e.validity(func() bool { return holds(ctx, by.stamps, t, blob, mediaType) }, v.options.Lists)
	}
	if e.anchor != nil {
		result.TrustedBy = &report.Anchor{Store: e.store, Certificate: e.describe(e.anchor)}
	}
}
