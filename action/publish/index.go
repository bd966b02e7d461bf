// SPDX-License-Identifier: Apache-2.0

package publish

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/notation-pkcs11/notation-pkcs11/action/registry"
)

// referrersIndex is the index that lists the referrers of a subject on a registry
// that has no Referrers API (OCI distribution-spec, "Referrers Tag Schema"). What
// others put into it stays as it is.
type referrersIndex struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	ArtifactType  string            `json:"artifactType,omitempty"`
	Manifests     []json.RawMessage `json:"manifests"`
	Subject       json.RawMessage   `json:"subject,omitempty"`
	Annotations   json.RawMessage   `json:"annotations,omitempty"`

	later map[string]json.RawMessage // members that are unknown here
}

// knownMembers has the type of an index without its methods.
type knownMembers referrersIndex

// UnmarshalJSON implements json.Unmarshaler.
func (x *referrersIndex) UnmarshalJSON(text []byte) error {
	var known knownMembers
	if err := json.Unmarshal(text, &known); err != nil {
		return err
	}
	if err := json.Unmarshal(text, &known.later); err != nil {
		return err
	}
	maps.DeleteFunc(known.later, func(name string, _ json.RawMessage) bool {
		return slices.ContainsFunc(indexMembers, func(member string) bool { return strings.EqualFold(name, member) })
	})
	*x = referrersIndex(known)
	return nil
}

// indexMembers are the members that referrersIndex has by name. Package json takes
// them in upper and lower case.
var indexMembers = []string{"schemaVersion", "mediaType", "artifactType", "manifests", "subject", "annotations"}

// MarshalJSON implements json.Marshaler.
func (x referrersIndex) MarshalJSON() ([]byte, error) {
	text, err := registry.Marshal(knownMembers(x))
	if err != nil || len(x.later) == 0 {
		return text, err
	}
	later, err := registry.Marshal(x.later)
	if err != nil {
		return nil, err
	}
	return slices.Concat(text[:len(text)-1], []byte{','}, later[1:]), nil
}

// lacks returns those of wanted that the index does not list.
func (x *referrersIndex) lacks(wanted []ocispec.Descriptor) []ocispec.Descriptor {
	listed := make(map[digest.Digest]bool, len(x.Manifests))
	for _, entry := range x.Manifests {
		var desc struct {
			Digest digest.Digest `json:"digest"`
		}
		if json.Unmarshal(entry, &desc) == nil { // what is no descriptor lists nothing
			listed[desc.Digest] = true
		}
	}
	var missing []ocispec.Descriptor
	for _, desc := range wanted {
		if !listed[desc.Digest] {
			missing = append(missing, desc)
		}
	}
	return missing
}

// with returns the index's JSON with more entries at its end.
func (x *referrersIndex) with(more []ocispec.Descriptor) ([]byte, error) {
	next := *x
	next.SchemaVersion = 2
	next.MediaType = ocispec.MediaTypeImageIndex
	next.Manifests = append(make([]json.RawMessage, 0, len(x.Manifests)+len(more)), x.Manifests...)
	for _, desc := range more {
		entry, err := registry.Marshal(desc)
		if err != nil {
			return nil, err
		}
		next.Manifests = append(next.Manifests, entry)
	}
	text, err := registry.Marshal(next)
	// Some registries that keep the list themselves keep it as such a manifest. With
	// the same digest, the one would become the other.
	return append(text, '\n'), err
}

// indexVersion is a referrers index as it was read at one moment.
type indexVersion struct {
	index  referrersIndex
	digest digest.Digest // empty: there is no index yet
	etag   string        // empty: the registry gave none
}

// indexTag is where a referrers index is read and written.
type indexTag interface {
	// read returns the index.
	read(context.Context) (indexVersion, error)

	// write replaces it. Where the registry supports conditional requests and
	// has another version than over, the error is errChanged.
	write(ctx context.Context, content []byte, over indexVersion) error
}

// registryTag is the referrers tag of a subject in a repository.
type registryTag struct {
	repo    *remote.Repository
	subject digest.Digest
	tag     string

	unconditional bool           // the registry can't do conditional requests properly
	refused       *digest.Digest // the version on which the last condition failed
	insists       bool           // the last write was asked for twice: for a token, or elsewhere
	written       bool           // the registry took an index
	isSubject     bool           // the last read found the subject under the tag
	conflicts     conflicts      // that the last writes met
}

// conflicts are refusals of writes over one version of an index.
type conflicts struct {
	over  digest.Digest
	times int
}

// manyConflicts is after how many refusals a tag counts as immutable, where nobody has
// written it in between. Fewer may be another writer's doing.
const manyConflicts = 3

// unwritable returns what a refused write comes to where the tag can't be written: one
// that has an index, and never gets the next. Registries have three ways to say that.
func (t *registryTag) unwritable(over digest.Digest, conditional bool, err error) error {
	var response *errcode.ErrorResponse
	if !errors.As(err, &response) {
		return err
	}
	switch status := response.StatusCode; {
	case t.isSubject && status < 500 && status != http.StatusConflict && status != http.StatusTooManyRequests:
		return fmt.Errorf("%w: %w", errSubjectInstead, err)
	case over == "":
		return err
	case status == http.StatusConflict, !conditional && (status == http.StatusBadRequest || status == http.StatusPreconditionFailed):
	default:
		return err
	}
	if t.conflicts.over != over {
		t.conflicts = conflicts{over: over}
	}
	if t.conflicts.times++; t.conflicts.times < manyConflicts {
		return &registry.BusyError{Err: err}
	}
	return &registry.AdvisedError{Advice: fmt.Sprintf("the tag %s of %s is immutable, and the referrers index under it has to grow; exempt tags sha256-* from that, or use a registry with the Referrers API", t.tag, t.repo.Reference), Err: final{err}}
}

// final is an error after which no other try is worth it.
type final struct{ err error }

func (e final) Error() string { return e.err.Error() }

// errSubjectInstead says that a registry keeps no referrers index.
var errSubjectInstead error = &registry.AdvisedError{Advice: "the registry answers with the artifact itself where a referrers index is asked for, so no signature is found there; use a registry that keeps such tags, or has the Referrers API"}

// errTwice says that a write did not get through as it was, and that the index may
// be old by the time that it could.
var errTwice = errors.New("the registry requires the referrers index to be sent a second time, with a new token or to another address")

func (t *registryTag) read(ctx context.Context) (indexVersion, error) {
	answer, err := registry.GetManifest(ctx, t.repo, t.tag, registry.AnyManifest)
	if errors.Is(err, registry.ErrUnconfirmed404) { // if it is not true, the index that is there would be written over
		answer, err = registry.GetManifest(ctx, t.repo, t.tag, registry.AnyManifest)
	}
	if errors.Is(err, errdef.ErrNotFound) {
		return indexVersion{}, nil
	}
	if err != nil {
		return indexVersion{}, err
	}
	t.isSubject = false
	version := indexVersion{digest: digest.FromBytes(answer.Body), etag: answer.ETag}
	if t.subject.Algorithm().FromBytes(answer.Body) == t.subject {
		t.isSubject = true
		if t.written {
			return indexVersion{}, fmt.Errorf("%s: %w", t.tag, errSubjectInstead)
		}
		return indexVersion{}, nil // some registries answer with the subject where a tag is missing
	}
	if answer.MediaType != ocispec.MediaTypeImageIndex {
		return indexVersion{}, fmt.Errorf("the tag %s of %s is needed for the referrers index, but names a %q; move that away", t.tag, t.repo.Reference, answer.MediaType)
	}
	if err := json.Unmarshal(answer.Body, &version.index); err != nil {
		return indexVersion{}, fmt.Errorf("the referrers index %s of %s can't be read; fix or delete it, or, if a proxy sent this, run again: %w", t.tag, t.repo.Reference, err)
	}
	if version.index.SchemaVersion != 2 { // whatever that is, it would be lost
		return indexVersion{}, fmt.Errorf("the tag %s of %s is needed for the referrers index, but what it names is none (schemaVersion %d); move that away, or, if a proxy sent this, run again", t.tag, t.repo.Reference, version.index.SchemaVersion)
	}
	return version, nil
}

func (t *registryTag) write(ctx context.Context, content []byte, over indexVersion) error {
	if t.refused != nil && *t.refused == over.digest {
		t.unconditional = true // it said "changed", and nothing had
	}
	condition := http.Header{}
	switch {
	case t.unconditional:
	case over.digest == "":
		condition.Set("If-None-Match", "*")
	case over.etag != "":
		condition.Set("If-Match", over.etag)
	}
	err := t.put(ctx, content, condition)
	var response *errcode.ErrorResponse
	switch {
	case errors.Is(err, registry.ErrChanged):
		t.refused = &over.digest
	case len(condition) > 0 && errors.As(err, &response) && (response.StatusCode == http.StatusBadRequest || response.StatusCode == http.StatusNotImplemented):
		t.unconditional = true // perhaps that was it
		return &registry.BusyError{Err: err}
	}
	return t.unwritable(over.digest, len(condition) > 0, err)
}

// put sends the index, once: the client would fetch a token after a 401, which can
// take seconds, and send the same again. The token is kept for the next write,
// which is of what is read then. A registry that asks for a second request even so
// asks each time, and gets it.
func (t *registryTag) put(ctx context.Context, content []byte, condition http.Header) error {
	req, err := registry.NewManifestRequest(registry.WithoutRetry(ctx), http.MethodPut, t.repo, t.tag, content)
	if err != nil {
		return err
	}
	body, insisted := req.GetBody, t.insists
	t.insists = false
	req.GetBody = func() (io.ReadCloser, error) {
		t.insists = true
		if !insisted {
			return nil, &registry.BusyError{Err: errTwice}
		}
		return body()
	}
	_, err = registry.SendManifest(t.repo, req, ocispec.MediaTypeImageIndex, condition)
	t.written = t.written || err == nil
	return err
}
