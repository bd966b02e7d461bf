// SPDX-License-Identifier: Apache-2.0

package action

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
)

// check is one thing that was looked at in a signature.
type check struct {
	kind   checkKind
	result checkResult
	// action is what the policy does about a failure. The policy has no say in
	// the last three kinds of checks: they are enforced.
	action trustpolicy.ValidationAction
	// reason is a sentence: what was found, why it failed, or why it was not
	// looked at. Of a failure it is notation's own.
	reason string
	// remedy says what to do about a failure.
	remedy string
}

// fatal says whether the check alone makes a signature no good.
func (c check) fatal() bool {
	return c.result == checkFailed && c.action == trustpolicy.ActionEnforce
}

// checkKind is what a check is about. The first five are those of trust
// policies, see the Notary Project's specification "Trust Store and Trust
// Policy", section "Signature Verification".
type checkKind string

const (
	checkIntegrity    = checkKind(trustpolicy.TypeIntegrity)
	checkAuthenticity = checkKind(trustpolicy.TypeAuthenticity)
	checkTimestamp    = checkKind(trustpolicy.TypeAuthenticTimestamp)
	checkExpiry       = checkKind(trustpolicy.TypeExpiry)
	checkRevocation   = checkKind(trustpolicy.TypeRevocation)
	checkDescriptor   = checkKind("descriptor") // the signature is of this artifact
	checkUserMetadata = checkKind("userMetadata")
	checkPlugin       = checkKind("verificationPlugin") // only where the signature asks for one
)

// checkResult is how a check went.
type checkResult string

const (
	checkPassed  checkResult = "passed"
	checkFailed  checkResult = "failed"
	checkSkipped checkResult = "skipped" // nobody wants it
	// checkNotEvaluated is where an earlier failure leaves nothing to look at.
	checkNotEvaluated checkResult = "not evaluated"
)

// certificateRevocation is what is known about the revocation of a certificate.
type certificateRevocation struct {
	subject string
	result  result.Result
	method  result.RevocationMethod
	servers []revocationServer
}

// revocationServer is a server that was asked, or the place of a CRL.
type revocationServer struct {
	url    string
	method result.RevocationMethod
	err    error // why it has no good answer
}

// evaluation is what there is to explain a signature with.
type evaluation struct {
	trust     *trust
	statement *statement
	artifact  ocispec.Descriptor
	wanted    map[string]string // user metadata
	claims    *claims
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
			e.results[r.Type] = r.Error
		}
	}
}

// lookUp finds what notation-go found out on its way and did not return. It
// makes no request.
func (e *evaluation) lookUp(signers, stamps *revocationMemory) {
	if e.content == nil {
		return
	}
	info := e.content.SignerInfo
	for _, name := range e.trust.stores.of(e.storeKind(), e.statement.policy) {
		if e.anchor = anchorOf(info.CertificateChain, e.trust.stores[name].certs); e.anchor != nil {
			e.store = name
			break
		}
	}
	var signingTime time.Time // as notation-go asks
	if e.storeKind() == truststore.TypeSigningAuthority {
		signingTime = info.SignedAttributes.SigningTime
	}
	e.revocation = signers.known(info.CertificateChain, signingTime)
	if e.tsaChain = e.trustedStamp(); e.tsaChain != nil {
		e.tsaResults = stamps.known(e.tsaChain, time.Time{})
	}
}

// trustedStamp returns the certificate chain of the signature's timestamp, if
// the statement trusts it.
func (e *evaluation) trustedStamp() []*x509.Certificate {
	info := e.content.SignerInfo
	stamp := e.claims.timestamp
	anchors, err := e.trust.anchors(e.statement, truststore.TypeTSA)
	if err != nil || len(anchors) == 0 || stamp == nil || stamp.err != nil {
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
	chain, err := token.Verify(context.Background(), x509.VerifyOptions{CurrentTime: stamp.time, Roots: roots})
	if err != nil {
		return nil
	}
	return chain
}

// checks returns the checks of the signature, all kinds in their order.
func (e *evaluation) checks() []check {
	var checks []check
	for _, x := range explanations {
		checks = append(checks, e.policyCheck(x))
	}
	checks = append(checks, e.descriptorCheck(), e.metadataCheck())
	if e.claims.plugin != "" {
		checks = append(checks, e.pluginCheck(checks))
	}
	return checks
}

// policyCheck explains one of the checks of trust policies.
func (e *evaluation) policyCheck(x explanation) check {
	c := check{kind: checkKind(x.kind), action: e.statement.level.Enforcement[x.kind]}
	err, made := e.results[x.kind]
	switch {
	case c.action == trustpolicy.ActionSkip:
		c.result, c.reason = checkSkipped, "the policy wants this check skipped"
	case !made && e.content == nil:
		c.result, c.reason = checkNotEvaluated, "the envelope has no integrity, so what it says means nothing"
	case !made && e.claims.plugin != "":
		c.result, c.reason = checkNotEvaluated, fmt.Sprintf("this is up to the verification plugin %q, and the signature did not get that far", e.claims.plugin)
	case !made:
		c.result, c.reason = checkNotEvaluated, "the verification ended before"
	case x.kind == trustpolicy.TypeRevocation && err != nil && e.notAsked():
		c.result, c.reason = checkNotEvaluated, errNotAsked.Error()
	case err != nil:
		c.result, c.reason, c.remedy = checkFailed, clip(err.Error()), x.remedy(e)
	default:
		c.result, c.reason = checkPassed, x.found(e)
	}
	return c
}

// notAsked says whether no server was asked about the signer's certificates.
func (e *evaluation) notAsked() bool {
	return e.anchor == nil && !asksAboutUntrusted(e.statement.level)
}

// pluginCheck explains the verification plugin's part, given all other checks.
func (e *evaluation) pluginCheck(others []check) check {
	c := check{kind: checkPlugin, action: trustpolicy.ActionEnforce}
	switch {
	case e.err == nil:
		c.result, c.reason = checkPassed, fmt.Sprintf("plugin %q accepts the signature", e.claims.plugin)
	case e.content == nil || slices.ContainsFunc(others, check.fatal):
		c.result, c.reason = checkNotEvaluated, "the signature is not valid for another reason"
	default:
		c.result, c.reason = checkFailed, clip(e.err.Error())
		c.remedy = fmt.Sprintf("the signature asks for the verification plugin %q: install it on this runner, "+
			"and set plugin_config to what it needs", e.claims.plugin)
	}
	return c
}

// descriptorCheck compares what was signed with the artifact.
func (e *evaluation) descriptorCheck() check {
	c := check{kind: checkDescriptor, action: trustpolicy.ActionEnforce}
	if e.content == nil {
		c.result, c.reason = checkNotEvaluated, "the envelope has no integrity, so what it says means nothing"
		return c
	}
	signed, err := signedArtifact(e.content)
	switch {
	case err != nil:
		c.result, c.reason = checkFailed, err.Error()
	case content.Equal(signed, e.artifact):
		c.result, c.reason = checkPassed, "it is the signature of "+e.artifact.Digest.String()
		return c
	case signed.Digest != e.artifact.Digest:
		c.result, c.reason = checkFailed, "it is the signature of another artifact, "+clip(signed.Digest.String())
	default:
		c.result = checkFailed
		c.reason = fmt.Sprintf("it is the signature of %q with %d bytes, and the artifact is %q with %d bytes",
			clip(signed.MediaType), signed.Size, e.artifact.MediaType, e.artifact.Size)
	}
	c.remedy = "somebody attached a signature that does not belong here; sign the artifact itself"
	return c
}

// metadataCheck looks for the user metadata that a signature must have.
func (e *evaluation) metadataCheck() check {
	c := check{kind: checkUserMetadata, action: trustpolicy.ActionEnforce}
	if len(e.wanted) == 0 {
		c.result, c.action, c.reason = checkSkipped, trustpolicy.ActionSkip, "user_metadata wants none"
		return c
	}
	if e.content == nil {
		c.result, c.reason = checkNotEvaluated, "the envelope has no integrity, so what it says means nothing"
		return c
	}
	signed, _ := signedArtifact(e.content) // the descriptor's check says so
	var faults []string
	for _, key := range slices.Sorted(maps.Keys(e.wanted)) {
		switch value, present := signed.Annotations[key]; {
		case !present:
			faults = append(faults, fmt.Sprintf("%q is not in the signature", key))
		case value != e.wanted[key]:
			faults = append(faults, fmt.Sprintf("%q is %q in the signature, not %q", key, clip(value), e.wanted[key]))
		}
	}
	if faults == nil {
		c.result, c.reason = checkPassed, "the signature has all that user_metadata wants"
		return c
	}
	c.result, c.reason = checkFailed, strings.Join(faults, "; ")
	c.remedy = "sign the artifact with this user_metadata, or correct what is wanted"
	return c
}
