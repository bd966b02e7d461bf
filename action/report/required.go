// SPDX-License-Identifier: Apache-2.0

package report

// Required is an artifact type of which an artifact, or each of its platforms, must
// have a referrer that is signed and valid.
type Required struct {
	ArtifactType string             `json:"artifactType"`
	Satisfied    bool               `json:"satisfied"`
	Referrers    []RequiredReferrer `json:"referrers,omitempty"` // all of the type
}

// RequiredReferrer is a referrer of a required type.
type RequiredReferrer struct {
	Digest       string       `json:"digest"` // of its manifest
	Of           string       `json:"of"`     // digest of what it refers to
	Verification Verification `json:"verification"`
}

// required adds the required types, and what was found of each.
func (w *itemWriter) required(list []Required) {
	for _, r := range list {
		w.add(0, "%s required referrer of the type %s", w.style.mark(r.Satisfied), Terminal(r.ArtifactType))
		for i := range r.Referrers {
			found := &r.Referrers[i]
			w.add(1, "%s of %s: %s", Terminal(found.Digest), Terminal(found.Of), Terminal(string(found.Verification.Verdict)))
			if found.Verification.Error != "" {
				w.add(2, "%s", Terminal(found.Verification.Error))
			}
			for j := range found.Verification.Signatures {
				signature := &found.Verification.Signatures[j]
				w.add(2, "%s signature %s", w.style.mark(signature.Valid), Terminal(signature.Digest))
				for k := range signature.Checks {
					check := &signature.Checks[k]
					w.add(3, "%s %s: %s", check.symbol().text, Terminal(check.Name), Terminal(check.Reason))
				}
			}
		}
	}
}
