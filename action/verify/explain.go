// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/notaryproject/notation-core-go/revocation/result"
	"github.com/notaryproject/notation-core-go/signature"
	"github.com/notaryproject/notation-go/verifier/trustpolicy"
	"github.com/notaryproject/notation-go/verifier/truststore"

	"github.com/notation-pkcs11/notation-pkcs11/action/envelope"
	"github.com/notation-pkcs11/notation-pkcs11/action/report"
	"github.com/notation-pkcs11/notation-pkcs11/action/revocation"
)

// explanation is how a check of trust policies is put into words.
type explanation struct {
	kind   trustpolicy.ValidationType
	found  func(*evaluation) string // of a check that passed
	remedy func(*evaluation) string // of one that failed
}

// explanations has all checks of trust policies, in the order in which
// notation makes them.
var explanations = []explanation{
	{trustpolicy.TypeIntegrity, (*evaluation).foundIntegrity, (*evaluation).remedyIntegrity},
	{trustpolicy.TypeAuthenticity, (*evaluation).foundAuthenticity, (*evaluation).remedyAuthenticity},
	{trustpolicy.TypeExpiry, (*evaluation).foundExpiry, (*evaluation).remedyExpiry},
	{trustpolicy.TypeAuthenticTimestamp, (*evaluation).foundTimestamp, (*evaluation).remedyTimestamp},
	{trustpolicy.TypeRevocation, (*evaluation).foundRevocation, (*evaluation).remedyRevocation},
}

// leaf is the certificate of the signer.
func (e *evaluation) leaf() *x509.Certificate { return e.content.SignerInfo.CertificateChain[0] }

// top is the last certificate of the signer's chain.
func (e *evaluation) top() *x509.Certificate {
	chain := e.content.SignerInfo.CertificateChain
	return chain[len(chain)-1]
}

func (e *evaluation) foundIntegrity() string {
	return fmt.Sprintf("the %s signature was made with the key of %q", e.claims.Algorithm, e.subjectOf(e.leaf()))
}

func (e *evaluation) remedyIntegrity() string {
	return "the signature envelope is damaged, was changed, or was never valid; sign the artifact again"
}

func (e *evaluation) foundAuthenticity() string {
	found := fmt.Sprintf("%q is in trust store %s", e.subjectOf(e.anchor), e.store)
	switch {
	case slices.Contains(e.statement.policy.TrustedIdentities, "*"):
		return found + `, and the trusted identity "*" is every signer`
	case e.claims.Plugin != "":
		return fmt.Sprintf("%s; the verification plugin %q may restrict the trusted signers", found, e.claims.Plugin)
	default:
		return fmt.Sprintf("%s, and %q is a trusted identity", found, e.subjectOf(e.leaf()))
	}
}

func (e *evaluation) remedyAuthenticity() string {
	stores := e.trust.stores.of(e.storeKind(), e.statement.policy)
	for _, store := range stores {
		if e.trust.stores[store].err != nil {
			return fmt.Sprintf("fix trust store %s", store)
		}
	}
	switch {
	case len(stores) == 0:
		return fmt.Sprintf("statement %q names no trust store of type %s, which this signature needs", e.statement.policy.Name, e.storeKind())
	case e.anchor == nil:
		return fmt.Sprintf("if you trust this signer, add the certificate of %q, SHA-256 %s, to %s",
			e.subjectOf(e.top()), e.describe(e.top()).Thumbprint, strings.Join(stores, " or "))
	default:
		whose := fmt.Sprintf("the trusted identities of statement %q", e.statement.policy.Name)
		if e.trust.fromInputs {
			whose = "trusted_identities"
		}
		return fmt.Sprintf("if you trust this signer, add %q to %s", "x509.subject: "+e.subjectOf(e.leaf()), whose)
	}
}

// storeKind is the type of trust store that the signature's scheme needs.
func (e *evaluation) storeKind() truststore.Type {
	if e.content.SignerInfo.SignedAttributes.SigningScheme == signature.SigningSchemeX509SigningAuthority {
		return truststore.TypeSigningAuthority
	}
	return truststore.TypeCA
}

func (e *evaluation) foundExpiry() string {
	expiry := e.content.SignerInfo.SignedAttributes.Expiry
	if expiry.IsZero() {
		return "the signature does not expire"
	}
	return "the signature expires on " + expiry.UTC().Format(time.RFC1123)
}

func (e *evaluation) remedyExpiry() string { return "sign the artifact again" }

func (e *evaluation) foundTimestamp() string {
	if e.storeKind() == truststore.TypeSigningAuthority {
		return "the certificates were valid when the signing authority signed, " + e.content.SignerInfo.SignedAttributes.SigningTime.UTC().Format(time.RFC1123)
	}
	if why := e.noTimestamp(); why != "" {
		return fmt.Sprintf("the certificates are valid now, until %s; %s", e.end().UTC().Format(time.RFC1123), why)
	}
	return fmt.Sprintf("timestamped by %q on %s, when the certificates were valid",
		e.claims.Timestamp.Authority, e.claims.Timestamp.Time.UTC().Format(time.RFC1123))
}

// noTimestamp says why notation does not look at a timestamp; it is empty where
// notation does.
func (e *evaluation) noTimestamp() string {
	switch {
	case len(e.trust.stores.of(truststore.TypeTSA, e.statement.policy)) == 0:
		return "timestamps are not checked, because the statement names no trust store of type tsa"
	case e.statement.policy.SignatureVerification.VerifyTimestamp == trustpolicy.OptionAfterCertExpiry && time.Now().Before(e.end()):
		return "timestamps are checked only after they expire (verifyTimestamp: afterCertExpiry)"
	default:
		return ""
	}
}

// end is when the first certificate of the signer's chain expires.
func (e *evaluation) end() time.Time {
	return firstToEnd(e.content.SignerInfo.CertificateChain).NotAfter
}

func (e *evaluation) remedyTimestamp() string {
	stamped := e.claims.Timestamp != nil
	tsa := len(e.trust.stores.of(truststore.TypeTSA, e.statement.policy)) > 0
	switch {
	case e.storeKind() == truststore.TypeSigningAuthority:
		return "the signing authority signed with a certificate that was not valid; sign the artifact again"
	case tsa && !stamped && time.Now().Before(e.end()):
		return "sign the artifact again with timestamp_url, or set verifyTimestamp to afterCertExpiry in the policy"
	case tsa && !stamped:
		return "sign the artifact again with valid certificates and with timestamp_url"
	case tsa && e.tsaChain == nil:
		return "add the root certificate of the timestamping authority to a trust store of type tsa that the statement names"
	case tsa && revocation.HasUnknown(e.tsaResults):
		return "allow the runner to reach the servers of the timestamping authority: " + strings.Join(silentServers(e.tsaResults), "; ")
	case tsa:
		return "sign the artifact again with certificates that are valid at that time"
	case stamped:
		return "the signature has a timestamp: in the statement, name a trust store of type tsa with the root certificate of the timestamping authority"
	default:
		return "sign the artifact again with valid certificates; with timestamp_url, a signature outlives its certificates"
	}
}

func (e *evaluation) foundRevocation() string {
	counts := map[result.Result]int{}
	for _, r := range e.revocation {
		counts[r.Result]++
	}
	if counts[result.ResultOK] == 0 {
		return "no certificate of the chain names an OCSP responder or a CRL, so revocation can't be checked; the chain counts as not revoked"
	}
	return fmt.Sprintf("not revoked, by OCSP or CRL: %d of %d certificates; %d name neither",
		counts[result.ResultOK], len(e.revocation), counts[result.ResultNonRevokable])
}

func (e *evaluation) remedyRevocation() string {
	if revocation.HasUnknown(e.revocation) {
		return "allow the runner to reach these servers: " + strings.Join(silentServers(e.revocation), "; ")
	}
	return "a certificate of the chain was revoked: don't use the artifact until you know why, and sign it again with another key"
}

// silentServers returns what came of servers that gave no good answer.
func silentServers(results []*result.CertRevocationResult) []string {
	var silent []string
	for _, r := range results {
		if r.Result != result.ResultUnknown {
			continue
		}
		for _, server := range r.ServerResults {
			if server.Error != nil {
				silent = append(silent, fmt.Sprintf("%s %s: %v", server.RevocationMethod, envelope.Clip(server.Server), server.Error))
			}
		}
	}
	return silent
}

// revocations describes what was found out about the signer's certificates.
func (e *evaluation) revocations() []report.Revocation {
	var all []report.Revocation
	for i, r := range e.revocation {
		c := report.Revocation{
			Subject: e.subjectOf(e.content.SignerInfo.CertificateChain[i]), Result: r.Result.String(), Method: r.RevocationMethod.String(),
		}
		for _, server := range r.ServerResults {
			if server.Server != "" {
				c.Servers = append(c.Servers, report.RevocationServer{
					URL: envelope.Clip(server.Server), Method: server.RevocationMethod.String(), Error: report.Message(server.Error),
				})
			}
		}
		all = append(all, c)
	}
	return all
}

// describe describes a certificate, as the claims do if it is in the chain.
func (e *evaluation) describe(cert *x509.Certificate) report.Certificate {
	for i := range e.claims.Certificates {
		if e.content.SignerInfo.CertificateChain[i].Equal(cert) {
			return e.claims.Certificates[i]
		}
	}
	return envelope.DescribeCertificate(cert)
}

// subjectOf is what to call a certificate.
func (e *evaluation) subjectOf(cert *x509.Certificate) string { return nameOf(e.describe(cert)) }

func nameOf(cert report.Certificate) string {
	if strings.TrimSpace(cert.Subject) == "" {
		return "serial number " + cert.Serial
	}
	return cert.Subject
}
