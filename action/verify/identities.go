// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"crypto/x509"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/notaryproject/notation-go/verifier/trustpolicy"
	"oras.land/oras-go/v2/registry"

	"github.com/notation-pkcs11/notation-pkcs11/action/report"
)

// identityPrefix is how all trusted identities begin that notation compares with a
// signer. It passes over those that begin otherwise.
const identityPrefix = "x509.subject:"

// everybody is the trusted identity that every signer has.
const everybody = "*"

// checkIdentities refuses trusted identities of which none can ever match. input says
// what to call them.
func checkIdentities(input string, identities []string) error {
	var faults []string
	for _, identity := range identities {
		if identity != everybody && !strings.HasPrefix(identity, identityPrefix) {
			faults = append(faults, report.Quote(identity))
		}
	}
	if len(faults) == 0 {
		return nil
	}
	return fmt.Errorf("%s: %s matches no signer: a trusted identity is * or begins with %s, written like that, such as %s C=US, ST=WA, O=Example", input, strings.Join(faults, " and "), identityPrefix, identityPrefix)
}

// CheckSigner returns an error if the statement for an artifact can never trust a
// signer, because no trusted identity can name the subject of the certificate. It is
// known before a signature is pushed.
func (t *Trust) CheckSigner(ref registry.Reference, leaf *x509.Certificate) error {
	s, err := t.statementFor(ref)
	if err != nil || s.skips() || !s.enforces(trustpolicy.TypeAuthenticity) || slices.Contains(s.policy.TrustedIdentities, everybody) {
		return nil
	}
	trial := *s.policy
	trial.TrustedIdentities = []string{identityPrefix + leaf.Subject.String()} // as notation reads it
	if err := document(trial).Validate(); err != nil {
		return fmt.Errorf("no trusted identity can name the signing certificate's subject %s, so the signature would never verify: trust it with the identity *, or have a certificate issued with C, ST and O, and none but C, ST, L, O, OU, CN, STREET, SERIALNUMBER and POSTALCODE beside them, each once: %w",
			report.Quote(leaf.Subject.String()), t.inOwnWords(s.policy, err))
	}
	return nil
}

// ownWords is an error of notation-go in the words that the user wrote.
type ownWords struct {
	text string
	err  error
}

func (e *ownWords) Error() string { return e.text }
func (e *ownWords) Unwrap() error { return e.err }

// comparedIdentities is how notation-go shows the trusted identities of a statement.
var comparedIdentities = regexp.MustCompile(`X\.509 trusted identities \[.*\] defined in the trust policy "`)

// inOwnWords replaces what notation-go made of a policy in an error by what the user
// wrote: the identities, and no name of a statement where there was none.
func (t *Trust) inOwnWords(policy *trustpolicy.TrustPolicy, err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	if at := comparedIdentities.FindStringIndex(text); at != nil {
		quoted := make([]string, len(policy.TrustedIdentities))
		for i, identity := range policy.TrustedIdentities {
			quoted[i] = report.Quote(identity)
		}
		text = text[:at[0]] + "X.509 trusted identities " + strings.Join(quoted, ", ") + ` defined in the trust policy "` + text[at[1]:]
	}
	if t.fromInputs {
		text = strings.NewReplacer(
			fmt.Sprintf("trust policy statement %q has ", inputStatement), "",
			fmt.Sprintf("trust policy statement %q uses ", inputStatement), "",
			fmt.Sprintf(" defined in the trust policy %q", inputStatement), "",
			fmt.Sprintf(" in the trust policy %q", inputStatement), "",
		).Replace(text)
	}
	if text == err.Error() {
		return err
	}
	return &ownWords{text, err}
}
