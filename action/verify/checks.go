// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"context"
	"crypto/x509"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/notaryproject/notation-core-go/revocation/result"
	"github.com/notaryproject/notation-core-go/signature"
	"github.com/notaryproject/notation-go"
	"github.com/notaryproject/notation-go/verifier/trustpolicy"
	"github.com/notaryproject/notation-go/verifier/truststore"
	"github.com/notaryproject/tspclient-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"

	"github.com/notation-pkcs11/notation-pkcs11/action/envelope"
	"github.com/notation-pkcs11/notation-pkcs11/action/report"
	"github.com/notation-pkcs11/notation-pkcs11/action/revocation"
)

// The names of checks. The first five are those of trust policies, see the
// Notary Project's specification "Trust Store and Trust Policy", section
// "Signature Verification". The policy has no say in the last three: they are
// enforced.
const (
	checkIntegrity    = string(trustpolicy.TypeIntegrity)
	checkAuthenticity = string(trustpolicy.TypeAuthenticity)
	checkTimestamp    = string(trustpolicy.TypeAuthenticTimestamp)
	checkExpiry       = string(trustpolicy.TypeExpiry)
	checkRevocation   = string(trustpolicy.TypeRevocation)
	checkDescriptor   = "descriptor" // the signature is of this artifact
	checkUserMetadata = "userMetadata"
	checkPlugin       = "verificationPlugin" // only where the signature asks for one
)

// What a policy does about a check that failed, as reports say it.
const (
	enforced = string(trustpolicy.ActionEnforce)
	skipped  = string(trustpolicy.ActionSkip)
)

// fatal says whether a check alone makes a signature no good.
func fatal(c report.Check) bool { return c.Result == report.CheckFailed && c.Action == enforced }

// evaluation is what there is to explain a signature with.
type evaluation struct {
	trust     *Trust
	statement *statement
	artifact  ocispec.Descriptor
	wanted    map[string]string // user metadata
	claims    *report.Claims
	content   *signature.EnvelopeContent           // nil: the envelope has no integrity
	results   map[trustpolicy.ValidationType]error // of the checks that notation-go made
	err       error                                // notation-go's verdict

	anchor     *x509.Certificate // nil: the chain leads to no trusted certificate
	store      string            // that has the anchor
	revocation []*result.CertRevocationResult
	tsaChain   []*x509.Certificate // nil: no trusted timestamp
	tsaResults []*result.CertRevocationResult
}

// add takes over the results of checks that are not known yet.
func (e *evaluation) add(outcome *notation.VerificationOutcome) {
	for _, r := range outcome.VerificationResults {
		if _, known := e.results[r.Type]; !known {
			e.results[r.Type] = e.trust.inOwnWords(e.statement.policy, r.Error)
		}
	}
}

// lookUp finds what notation-go found out on its way and did not return. It
// makes no request.
func (e *evaluation) lookUp(signers, stamps *revocation.Memory) {
	if e.content == nil {
		return
	}
	info := e.content.SignerInfo
	for _, name := range e.trust.stores.of(e.storeKind(), e.statement.policy) {
		if e.anchor = revocation.AnchorOf(info.CertificateChain, e.trust.stores[name].certs); e.anchor != nil {
			e.store = name
			break
		}
	}
	var signingTime time.Time // as notation-go asks
	if e.storeKind() == truststore.TypeSigningAuthority {
		signingTime = info.SignedAttributes.SigningTime
	}
	e.revocation = signers.Known(info.CertificateChain, signingTime)
	if e.tsaChain = e.trustedStamp(); e.tsaChain != nil {
		e.tsaResults = stamps.Known(e.tsaChain, time.Time{})
	}
}

// trustedStamp returns the certificate chain of the signature's timestamp, if
// the statement trusts it.
func (e *evaluation) trustedStamp() []*x509.Certificate {
	info := e.content.SignerInfo
	stamp := e.claims.Timestamp
	anchors, err := e.trust.anchors(e.statement, truststore.TypeTSA)
	if err != nil || len(anchors) == 0 || stamp == nil || stamp.Time == nil {
		return nil
	}
	token, err := tspclient.ParseSignedToken(info.UnsignedAttributes.TimestampSignature)
	if err != nil {
		return nil
	}
	roots := x509.NewCertPool()
	for _, anchor := range anchors {
		roots.AddCert(anchor)
	}
	chain, err := token.Verify(context.Background(), x509.VerifyOptions{CurrentTime: *stamp.Time, Roots: roots})
	if err != nil {
		return nil
	}
	return chain
}

// checks returns the checks of the signature, all kinds in their order.
func (e *evaluation) checks() []report.Check {
	var checks []report.Check
	for _, x := range explanations {
		checks = append(checks, e.policyCheck(x))
	}
	checks = append(checks, e.descriptorCheck(), e.metadataCheck())
	if e.claims.Plugin != "" {
		checks = append(checks, e.pluginCheck(checks))
	}
	return checks
}

// policyCheck explains one of the checks of trust policies.
func (e *evaluation) policyCheck(x explanation) report.Check {
	c := report.Check{Name: string(x.kind), Action: string(e.statement.level.Enforcement[x.kind])}
	err, made := e.results[x.kind]
	switch {
	case c.Action == skipped:
		c.Result, c.Reason = report.CheckSkipped, "the policy skips this check"
	case !made && e.content == nil:
		c.Result, c.Reason = report.CheckNotEvaluated, "the envelope's integrity check failed, so its content can't be trusted"
	case !made && e.claims.Plugin != "":
		c.Result, c.Reason = report.CheckNotEvaluated, fmt.Sprintf("the verification plugin %q makes this check, and an earlier check failed", e.claims.Plugin)
	case !made:
		c.Result, c.Reason = report.CheckNotEvaluated, "verification ended earlier"
	case x.kind == trustpolicy.TypeRevocation && err != nil && e.notAsked():
		c.Result, c.Reason = report.CheckNotEvaluated, revocation.ErrNotAsked.Error()
	case err != nil:
		c.Result, c.Reason, c.Remedy = report.CheckFailed, envelope.Clip(err.Error()), x.remedy(e)
	default:
		c.Result, c.Reason = report.CheckPassed, x.found(e)
	}
	return c
}

// notAsked says whether no server was asked about the signer's certificates.
func (e *evaluation) notAsked() bool {
	return e.anchor == nil && !asksAboutUntrusted(e.statement.level)
}

// pluginCheck explains the verification plugin's part, given all other checks.
func (e *evaluation) pluginCheck(others []report.Check) report.Check {
	c := report.Check{Name: checkPlugin, Action: enforced}
	switch {
	case e.err == nil:
		c.Result, c.Reason = report.CheckPassed, fmt.Sprintf("plugin %q accepts the signature", e.claims.Plugin)
	case e.content == nil || slices.ContainsFunc(others, fatal):
		c.Result, c.Reason = report.CheckNotEvaluated, "the signature is not valid for another reason"
	default:
		c.Result, c.Reason = report.CheckFailed, envelope.Clip(e.err.Error())
		c.Remedy = fmt.Sprintf("the signature requires the verification plugin %q: install it on this runner, "+
			"and set plugin_config if the plugin needs settings", e.claims.Plugin)
	}
	return c
}

// descriptorCheck compares what was signed with the artifact.
func (e *evaluation) descriptorCheck() report.Check {
	c := report.Check{Name: checkDescriptor, Action: enforced}
	if e.content == nil {
		c.Result, c.Reason = report.CheckNotEvaluated, "the envelope's integrity check failed, so its content can't be trusted"
		return c
	}
	signed, err := envelope.SignedArtifact(e.content)
	switch {
	case err != nil:
		c.Result, c.Reason = report.CheckFailed, err.Error()
	case content.Equal(signed, e.artifact):
		c.Result, c.Reason = report.CheckPassed, "it is the signature of "+e.artifact.Digest.String()
		return c
	case signed.Digest != e.artifact.Digest:
		c.Result, c.Reason = report.CheckFailed, "it is the signature of another artifact, "+envelope.Clip(signed.Digest.String())
	default:
		c.Result = report.CheckFailed
		c.Reason = fmt.Sprintf("it is the signature of %q with %d bytes, and the artifact is %q with %d bytes",
			envelope.Clip(signed.MediaType), signed.Size, e.artifact.MediaType, e.artifact.Size)
	}
	c.Remedy = "the attached signature belongs to another artifact; sign the artifact itself"
	return c
}

// metadataCheck looks for the user metadata that a signature must have.
func (e *evaluation) metadataCheck() report.Check {
	c := report.Check{Name: checkUserMetadata, Action: enforced}
	if len(e.wanted) == 0 {
		c.Result, c.Action, c.Reason = report.CheckSkipped, skipped, "user_metadata requires none"
		return c
	}
	if e.content == nil {
		c.Result, c.Reason = report.CheckNotEvaluated, "the envelope's integrity check failed, so its content can't be trusted"
		return c
	}
	signed, _ := envelope.SignedArtifact(e.content) // the descriptor's check says so
	var faults []string
	for _, key := range slices.Sorted(maps.Keys(e.wanted)) {
		switch value, present := signed.Annotations[key]; {
		case !present:
			faults = append(faults, fmt.Sprintf("%q is not in the signature", key))
		case value != e.wanted[key]:
			faults = append(faults, fmt.Sprintf("%q is %q in the signature, not %q", key, envelope.Clip(value), e.wanted[key]))
		}
	}
	if faults == nil {
		c.Result, c.Reason = report.CheckPassed, "the signature contains everything in user_metadata"
		return c
	}
	c.Result, c.Reason = report.CheckFailed, strings.Join(faults, "; ")
	c.Remedy = "sign the artifact with this user_metadata, or correct user_metadata"
	return c
}
