// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"fmt"

	"oras.land/oras-go/v2/registry"

	notaryregistry "github.com/notation-pkcs11/notation-pkcs11/action/registry"
)

// From returns a verifier that judges the same, by signatures from another source. The
// statement is still that of the artifact's reference.
func (v *Verifier) From(source notaryregistry.SignatureSource) *Verifier {
	other := *v
	other.source = source
	return &other
}

// CheckPromotion returns an error if the statement that applies to a repository wants
// nothing verified: then there is nothing to promote by. That no statement applies is
// found when an artifact is verified.
func (t *Trust) CheckPromotion(ref registry.Reference) error {
	s, err := t.statementFor(ref)
	if err != nil || !s.skips() {
		return nil
	}
	return fmt.Errorf("trust policy statement %q, which applies to %s, has the level skip: nothing would be verified before it is promoted", s.policy.Name, repositoryOf(ref))
}
