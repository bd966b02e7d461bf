// SPDX-License-Identifier: Apache-2.0

package action

import (
	"errors"
	"time"

	"github.com/notation-pkcs11/notation-pkcs11/action/report"
)

// reportArtifact turns what a run found of an artifact into what is reported.
func reportArtifact(a *artifact) report.Artifact {
	r := report.Artifact{
		Reference:     a.text,
		Succeeded:     a.err == nil,
		Error:         message(a.err),
		Warnings:      a.warnings,
		AlreadySigned: a.alreadySigned.String(),
	}
	if a.resolved {
		r.Resolved = a.target.String()
		r.Digest = a.target.desc.Digest.String()
		r.MediaType = a.target.desc.MediaType
		r.Size = a.target.desc.Size
	}
	if a.target.parent != nil {
		r.Index = a.target.parent.desc.Digest.String()
	}
	if a.signed != nil {
		r.Signed = reportSigned(a.signed)
	}
	if a.verification != nil {
		r.Verification = reportVerification(a.verification)
	}
	if v := a.inspection; v != nil {
		r.Inspection = &report.Inspection{Signatures: reportSignatures(v.signatures), More: v.more}
	}
	return r
}

func reportSigned(s *signed) *report.Signed {
	return &report.Signed{
		Digest:       s.pushed.manifest.Digest.String(),
		Size:         s.pushed.manifest.Size,
		Format:       s.claims.format,
		Envelope:     s.pushed.envelope.Digest.String(),
		EnvelopeSize: s.pushed.envelope.Size,
		IndexTag:     s.pushed.index,
		Annotations:  s.annotations,
		Certificates: reportChain(s.claims.chain),
		Timestamp:    reportTimestamp(s.claims.timestamp),
	}
}

func reportVerification(v *verification) *report.Verification {
	r := &report.Verification{
		Verdict:    report.Verdict(v.verdict),
		Error:      message(v.err),
		Signatures: reportSignatures(v.signatures),
		More:       v.more,
	}
	if v.statement != nil {
		r.Statement = reportStatement(v.statement)
	}
	var uncovered *uncoveredError
	if errors.As(v.err, &uncovered) {
		for _, s := range uncovered.scopes {
			r.Unmatched = append(r.Unmatched, report.Unmatched{Statement: s.statement, Scope: s.scope, Reason: s.reason})
		}
	}
	return r
}

func reportStatement(s *statement) *report.Statement {
	r := &report.Statement{
		Name:       s.policy.Name,
		Scope:      s.scope,
		Reason:     s.reason,
		Level:      s.policy.SignatureVerification.VerificationLevel,
		Actions:    map[string]string{},
		Stores:     s.policy.TrustStores,
		Identities: s.policy.TrustedIdentities,
	}
	for kind, action := range s.level.Enforcement {
		r.Actions[string(kind)] = string(action)
	}
	return r
}

func reportSignatures(list []signatureVerification) []report.Signature {
	signatures := make([]report.Signature, 0, len(list))
	for i := range list {
		signatures = append(signatures, reportSignature(&list[i]))
	}
	return signatures
}

func reportSignature(s *signatureVerification) report.Signature {
	r := report.Signature{
		Digest:       s.manifest.Digest.String(),
		Valid:        s.valid,
		Error:        message(s.err),
		Format:       s.claims.format,
		Algorithm:    s.claims.algorithm,
		Scheme:       s.claims.scheme,
		Agent:        s.claims.agent,
		Plugin:       s.claims.plugin,
		SigningTime:  timeOrNil(s.claims.signingTime),
		Expiry:       timeOrNil(s.claims.expiry),
		Timestamp:    reportTimestamp(s.claims.timestamp),
		UserMetadata: s.claims.userMetadata,
		Certificates: reportChain(s.claims.chain),
	}
	if s.store != "" {
		r.TrustedBy = &report.Anchor{Store: s.store, Certificate: reportCertificate(s.anchor)}
	}
	for _, c := range s.checks {
		r.Checks = append(r.Checks, report.Check{
			Name:   string(c.kind),
			Result: report.Result(c.result),
			Action: string(c.action),
			Reason: c.reason,
			Remedy: c.remedy,
		})
	}
	for _, c := range s.revocation {
		r.Revocation = append(r.Revocation, reportRevocation(c))
	}
	return r
}

func reportRevocation(c certificateRevocation) report.Revocation {
	r := report.Revocation{Subject: c.subject, Result: c.result.String(), Method: c.method.String()}
	for _, server := range c.servers {
		r.Servers = append(r.Servers, report.RevocationServer{URL: server.url, Method: server.method.String(), Error: message(server.err)})
	}
	return r
}

func reportTimestamp(t *timestamp) *report.Timestamp {
	if t == nil {
		return nil
	}
	if t.err != nil {
		return &report.Timestamp{Error: message(t.err)}
	}
	return &report.Timestamp{Time: timeOrNil(t.time), Accuracy: t.accuracy.String(), Authority: t.authority}
}

func reportChain(chain []certificate) []report.Certificate {
	list := make([]report.Certificate, 0, len(chain))
	for _, c := range chain {
		list = append(list, reportCertificate(c))
	}
	return list
}

func reportCertificate(c certificate) report.Certificate {
	return report.Certificate{
		Subject:    c.subject,
		Issuer:     c.issuer,
		Serial:     c.serial,
		Thumbprint: c.thumbprint,
		NotBefore:  reportTime(c.notBefore),
		NotAfter:   reportTime(c.notAfter),
	}
}

// maxMessage bounds an error's text: a registry can answer with megabytes.
const maxMessage = 8 << 10

func message(err error) string {
	if err == nil {
		return ""
	}
	return bounded(err.Error(), maxMessage)
}

func timeOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = reportTime(t)
	return &t
}

// Times that JSON can be written with. An envelope or certificate can have a
// later one: the end of the year 9999 in the zone of twelve hours ago.
var (
	firstTime = time.Time{}
	lastTime  = time.Date(9999, time.December, 31, 23, 59, 59, 0, time.UTC)
)

func reportTime(t time.Time) time.Time {
	switch {
	case t.Before(firstTime):
		return firstTime
	case t.After(lastTime):
		return lastTime
	}
	return t.UTC()
}
