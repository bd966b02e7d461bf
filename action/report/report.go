// SPDX-License-Identifier: Apache-2.0

// Package report has what a run of the action found, and shows it: as JSON, as a
// job summary in Markdown, as annotations, as lines for a log or a terminal.
//
// Start with [Report]: the run fills it, its methods render it, and a [Console]
// tells it to a runner or a person. The package reads no registry and judges
// nothing. Its texts come from registries and certificates, written by anybody;
// each place that they are shown in has one escaper, in escape.go.
package report

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"time"
)

// FormatVersion is the version of the JSON format. Its first number changes
// when a reader of the former format would misread the new one; new members
// alone change the second.
const FormatVersion = "1.1"

// Report is what a run did. Its JSON form is described in docs/report.md.
type Report struct {
	FormatVersion string     `json:"formatVersion"`
	Tool          Tool       `json:"tool"`
	Mode          string     `json:"mode"`
	Started       time.Time  `json:"started"`
	Finished      time.Time  `json:"finished"`
	Succeeded     bool       `json:"succeeded"`
	Errors        []string   `json:"errors,omitempty"`   // of the run as a whole
	Warnings      []string   `json:"warnings,omitempty"` // likewise
	Artifacts     []Artifact `json:"artifacts"`          // in the order of the input
}

// Tool is the program that made the report.
type Tool struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// Artifact is what became of one artifact.
type Artifact struct {
	Reference string   `json:"reference"`           // as the user wrote it
	Resolved  string   `json:"resolved,omitempty"`  // registry/repository@digest, or oci-layout:PATH@digest; empty: it could not be resolved
	Scope     string   `json:"scope,omitempty"`     // that the trust policy statement was chosen by, of an artifact in a layout
	Digest    string   `json:"digest,omitempty"`    // of its manifest
	MediaType string   `json:"mediaType,omitempty"` // of its manifest
	Size      int64    `json:"size,omitempty"`      // of its manifest, in bytes
	Index     string   `json:"index,omitempty"`     // digest of the index that it was found in
	Succeeded bool     `json:"succeeded"`
	Error     string   `json:"error,omitempty"` // why it did not succeed
	Warnings  []string `json:"warnings,omitempty"`

	Source        string        `json:"source,omitempty"` // where it was copied from
	Copied        *Copied       `json:"copied,omitempty"`
	AtSource      *Verification `json:"sourceVerification,omitempty"` // how the policy judged it there
	Attached      *Attached     `json:"attached,omitempty"`           // what it is, if it is a file that was attached to the artifact before it
	Tags          []Tag         `json:"tags,omitempty"`               // that it was to get
	Signed        *Signed       `json:"signed,omitempty"`             // the signature that was added
	AlreadySigned string        `json:"alreadySigned,omitempty"`      // digest of the signature manifest because of which none was added
	Verification  *Verification `json:"verification,omitempty"`
	Required      []Required    `json:"requiredReferrers,omitempty"`
	Inspection    *Inspection   `json:"inspection,omitempty"`
}

// Signed is a signature that was added to a registry.
type Signed struct {
	Digest       string            `json:"digest"`              // of the signature manifest
	Size         int64             `json:"size"`                // of the signature manifest, in bytes
	Format       string            `json:"format"`              // of the envelope: cose or jws
	Envelope     string            `json:"envelope"`            // digest of the envelope
	EnvelopeSize int64             `json:"envelopeSize"`        // in bytes
	IndexTag     string            `json:"indexTag,omitempty"`  // of the referrers index that lists it; empty: the Referrers API or the layout does
	Annotations  map[string]string `json:"annotations"`         // of the signature manifest
	Certificates []Certificate     `json:"certificates"`        // the signing key's first, the root last
	Timestamp    *Timestamp        `json:"timestamp,omitempty"` // what the authority says
	Validity                       // for a strict policy; of the mode sign alone
}

// Validity is until when a signature verifies that does now. That a certificate
// will be revoked can't be foreseen.
type Validity struct {
	ValidUntil       *time.Time `json:"validUntil,omitempty"`       // nil: no date ends it
	ValidUntilReason string     `json:"validUntilReason,omitempty"` // what ends it, or why no date does
}

// Verdict is what verifying an artifact comes to.
type Verdict string

// Verdicts. All but failed are success for notation.
const (
	Verified Verdict = "verified"
	Skipped  Verdict = "skipped" // the policy wants nothing verified
	Failed   Verdict = "failed"
)

// Verification is how the trust policy judged an artifact.
type Verification struct {
	Verdict    Verdict     `json:"verdict"`
	Error      string      `json:"error,omitempty"`     // why it is not verified
	Statement  *Statement  `json:"statement,omitempty"` // the one that applied
	Unmatched  []Unmatched `json:"unmatchedScopes,omitempty"`
	Signatures []Signature `json:"signatures"`
	More       bool        `json:"moreSignatures,omitempty"` // there are others, which were not looked at
}

// Statement is the statement of a trust policy that applied.
type Statement struct {
	Name       string            `json:"name"`
	Scope      string            `json:"registryScope"` // the one that matched
	Reason     string            `json:"reason"`        // why it applied
	Level      string            `json:"level"`         // such as strict
	Actions    map[string]string `json:"actions"`       // what is done about a failed check: enforce, log or skip
	Stores     []string          `json:"trustStores,omitempty"`
	Identities []string          `json:"trustedIdentities,omitempty"`
}

// Unmatched is a registry scope of a policy of which no statement applied.
type Unmatched struct {
	Statement string `json:"statement"`
	Scope     string `json:"registryScope"`
	Reason    string `json:"reason"` // why it does not match
}

// Inspection is the signatures that are there. They are not judged by a policy.
type Inspection struct {
	Signatures []Signature `json:"signatures"`
	More       bool        `json:"moreSignatures,omitempty"` // there are others, which were not looked at
}

// Signature is a signature that was found. What it says of itself is worth as
// much as its checks say.
type Signature struct {
	Digest   string `json:"digest"` // of the signature manifest
	Valid    bool   `json:"valid"`
	Error    string `json:"error,omitempty"` // why it is not valid
	Validity        // under this policy; empty if it is not valid
	Claims
	TrustedBy  *Anchor      `json:"trustedBy,omitempty"`
	Checks     []Check      `json:"checks,omitempty"`
	Revocation []Revocation `json:"revocation,omitempty"` // of the certificates; empty: nobody was asked
}

// Claims are what a signature envelope says of itself. They are worth as much as
// the checks of the signature say: anybody can write an envelope. What can't be
// read is empty.
type Claims struct {
	Format       string            `json:"format,omitempty"`    // cose, jws, or the media type
	Algorithm    string            `json:"algorithm,omitempty"` // such as ECDSA-SHA-256
	Scheme       string            `json:"signingScheme,omitempty"`
	Agent        string            `json:"signingAgent,omitempty"` // the program that signed
	Plugin       string            `json:"verificationPlugin,omitempty"`
	SigningTime  *time.Time        `json:"signingTime,omitempty"` // the signer's word
	Expiry       *time.Time        `json:"expiry,omitempty"`
	Timestamp    *Timestamp        `json:"timestamp,omitempty"`
	UserMetadata map[string]string `json:"userMetadata,omitempty"`
	Certificates []Certificate     `json:"certificates,omitempty"` // the signing key's first, the root last
}

// Timestamp is an RFC 3161 countersignature.
type Timestamp struct {
	Time      *time.Time `json:"time,omitempty"`
	Accuracy  string     `json:"accuracy,omitempty"` // such as 1s, either way
	Authority string     `json:"authority,omitempty"`
	Error     string     `json:"error,omitempty"` // why it can't be read
}

// Certificate is an X.509 certificate.
type Certificate struct {
	Subject    string    `json:"subject"`
	Issuer     string    `json:"issuer"`
	Serial     string    `json:"serialNumber"` // hexadecimal
	Thumbprint string    `json:"thumbprint"`   // SHA-256 of the DER, hexadecimal
	NotBefore  time.Time `json:"notBefore"`
	NotAfter   time.Time `json:"notAfter"`
}

// Anchor is the trusted certificate that a signature's chain leads to.
type Anchor struct {
	Store       string      `json:"trustStore"` // such as ca:acme
	Certificate Certificate `json:"certificate"`
}

// Check is one check of a signature.
type Check struct {
	Name   string `json:"name"` // one of CheckNames
	Result Result `json:"result"`
	Action string `json:"action"`           // what is done about a failure: enforce, log or skip
	Reason string `json:"reason,omitempty"` // what was found
	Remedy string `json:"remedy,omitempty"` // what to do about a failure
}

// CheckNames are all checks, in the order in which they are shown. The first
// five are those of trust policies.
var CheckNames = []string{
	"integrity", "authenticity", "authenticTimestamp", "expiry", "revocation",
	"descriptor", "userMetadata", "verificationPlugin",
}

// Result is how a check ended.
type Result string

// Results of a check.
const (
	CheckPassed       Result = "passed"
	CheckFailed       Result = "failed"
	CheckSkipped      Result = "skipped"       // nobody wants it
	CheckNotEvaluated Result = "not evaluated" // an earlier failure leaves nothing to look at
)

// Revocation is what is known of one certificate.
type Revocation struct {
	Subject string             `json:"subject"`
	Result  string             `json:"result"`
	Method  string             `json:"method,omitempty"` // OCSP or CRL
	Servers []RevocationServer `json:"servers,omitempty"`
}

// RevocationServer is a server that was asked.
type RevocationServer struct {
	URL    string `json:"url"`
	Method string `json:"method,omitempty"`
	Error  string `json:"error,omitempty"` // why it has no good answer
}

// WriteJSON writes the report as JSON, artifact by artifact: the whole text of a
// long run would take more memory than the run.
func (r *Report) WriteJSON(w io.Writer) error {
	rest := *r
	rest.Artifacts = []Artifact{}
	text, err := json.MarshalIndent(&rest, "", "  ")
	if err != nil {
		return err
	}
	head, found := bytes.CutSuffix(text, []byte("[]\n}")) // the last member is artifacts
	if !found || len(r.Artifacts) == 0 {
		_, err := fmt.Fprintf(w, "%s\n", text)
		return err
	}
	out := bufio.NewWriter(w)
	fmt.Fprintf(out, "%s[", head) // out remembers its first error
	for i := range r.Artifacts {
		text, err := json.MarshalIndent(&r.Artifacts[i], "    ", "  ")
		if err != nil {
			return err
		}
		if i > 0 {
			out.WriteByte(',')
		}
		fmt.Fprintf(out, "\n    %s", text)
	}
	out.WriteString("\n  ]\n}\n")
	return out.Flush()
}

// Count is how many artifacts there are, and what became of them.
type Count struct{ Artifacts, Failed, Copied, Signed, AlreadySigned, Verified, Skipped, Tagged int }

// Count counts artifacts.
func (r *Report) Count() Count {
	n := Count{Artifacts: len(r.Artifacts)}
	for i := range r.Artifacts {
		a := &r.Artifacts[i]
		n.Failed += one(!a.Succeeded)
		n.Copied += one(a.Copied != nil)
		n.Tagged += one(a.isTagged())
		n.Signed += one(a.Signed != nil)
		n.AlreadySigned += one(a.AlreadySigned != "")
		n.Verified += one(a.verdict() == Verified)
		n.Skipped += one(a.verdict() == Skipped)
	}
	return n
}

// verdict is empty where the artifact was not verified.
func (a *Artifact) verdict() Verdict {
	if a.Verification == nil {
		return ""
	}
	return a.Verification.Verdict
}

func one(yes bool) int {
	if yes {
		return 1
	}
	return 0
}
