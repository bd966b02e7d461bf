// SPDX-License-Identifier: Apache-2.0

package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

// listed is what the list for later steps has of an artifact. Its JSON form is described
// in docs/report.md.
type listed struct {
	Reference        string    `json:"reference"`          // as the user wrote it
	Resolved         string    `json:"resolved,omitempty"` // registry/repository@digest; empty: it could not be resolved
	Digest           string    `json:"digest,omitempty"`   // of its manifest
	Attached         *Attached `json:"attached,omitempty"` // what it is, if it is a file that was attached
	Tags             []string  `json:"tags"`               // of those that it was to get: registry/repository:tag of each that it has
	SignatureDigests []string  `json:"signatureDigests"`   // of the signature that was added or found, and of all that are valid
	Succeeded        bool      `json:"succeeded"`          // all that the mode asks for
	Verdict          Verdict   `json:"verdict,omitempty"`  // empty: it was not verified
	Validity
}

// list returns what the list for later steps has of the artifact.
func (a *Artifact) list() listed {
	l := listed{
		Reference: a.Reference, Resolved: a.Resolved, Digest: a.Digest, Attached: a.Attached,
		Tags: []string{}, SignatureDigests: []string{},
		Succeeded: a.Succeeded, Verdict: a.verdict(), Validity: a.validity(),
	}
	for _, t := range a.Tags {
		if t.Result != TagNotSet {
			l.Tags = append(l.Tags, t.Reference)
		}
	}
	add := func(digest string) {
		if digest != "" && !slices.Contains(l.SignatureDigests, digest) {
			l.SignatureDigests = append(l.SignatureDigests, digest)
		}
	}
	if a.Signed != nil {
		add(a.Signed.Digest)
	}
	add(a.AlreadySigned)
	if a.Verification != nil {
		for i := range a.Verification.Signatures {
			if s := &a.Verification.Signatures[i]; s.Valid {
				add(s.Digest)
			}
		}
	}
	return l
}

// WriteList writes the list of artifacts for later steps, as a JSON array in the order of
// the report.
func (r *Report) WriteList(w io.Writer) error {
	list := make([]listed, len(r.Artifacts))
	for i := range r.Artifacts {
		list[i] = r.Artifacts[i].list()
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(list)
}

// WriteListFile writes the list into a new file in a temporary directory, whose name
// begins with the program's, and returns its path. Without a directory there is none, and
// the path is empty.
func (r *Report) WriteListFile(temporary, program string) (path string, err error) {
	if temporary == "" {
		return "", nil
	}
	file, err := os.CreateTemp(temporary, program+"-artifacts-*.json")
	if err == nil {
		err = errors.Join(r.WriteList(file), file.Close())
	}
	if err != nil {
		return "", fmt.Errorf("the list of artifacts can't be written: %w", err)
	}
	return file.Name(), nil
}
