// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"
)

// The requests for manifests are made here, not by oras-go, where their headers
// matter: the subject that was processed, the version that is written over. And
// oras-go would write the referrers index itself.

// ManifestAnswer is what a registry says of a manifest.
type ManifestAnswer struct {
	Body      []byte // of a GET
	MediaType string // of a GET
	ETag      string // of a GET; empty where there is none to compare strongly
	Subject   string // of a PUT: OCI-Subject
}

// BusyError is an answer after which the same request may succeed later.
type BusyError struct {
	After time.Duration // what the registry asks to wait
	Err   error
}

// Error implements error.
func (e *BusyError) Error() string { return e.Err.Error() }

// Unwrap returns the answer.
func (e *BusyError) Unwrap() error { return e.Err }

// ErrUnconfirmed404 says that a 404 did not come with a reason, as registries give one:
// it may be the word of a gateway, which knows nothing of manifests.
var ErrUnconfirmed404 = errors.New("and the 404 is not in a registry's form, so it may come from a proxy")

// ErrChanged says that the registry has a newer index than the one that was to be
// written over.
var ErrChanged = errors.New("another writer changed the referrers index in the meantime")

// AnyManifest is asked for, so that something else under the tag is seen: a
// registry answers 404 where it has no manifest of an accepted type.
var AnyManifest = strings.Join([]string{
	ocispec.MediaTypeImageIndex, ocispec.MediaTypeImageManifest, mediaTypeDockerList, mediaTypeDockerManifest, MediaTypeArtifactManifest,
}, ", ")

// ReferrersTag is the tag of a subject's referrers index on a registry that has no
// Referrers API (OCI distribution-spec, "Referrers Tag Schema").
func ReferrersTag(subject digest.Digest) string {
	return fmt.Sprintf("%.32s-%.64s", subject.Algorithm(), subject.Encoded())
}

// ReferrersTags are all tags under which the referrers index of a subject is looked
// for, that of the specification first. It cuts the digest at 64 characters; oras-go,
// and with it notation, does not. Both mean the same for SHA-256. For SHA-512 there is
// the cut one alone: uncut, it is too long for a tag.
func ReferrersTags(subject digest.Digest) []string {
	tags := []string{ReferrersTag(subject)}
	if uncut := fmt.Sprintf("%s-%s", subject.Algorithm(), subject.Encoded()); uncut != tags[0] && len(uncut) <= maxTag {
		tags = append(tags, uncut)
	}
	return tags
}

// maxTag is how long a tag can be (OCI distribution-spec, "Pulling manifests").
const maxTag = 128

// ErrUnlistable says that verifiers can't find signatures of an artifact.
var ErrUnlistable = errors.New("the registry has no Referrers API, and a SHA-512 digest is too long for a referrers tag; name the artifact by its SHA-256 digest, or use a registry with the Referrers API")

// GetManifest fetches a manifest by tag or digest. Without one, the error is an
// errdef.ErrNotFound.
func GetManifest(ctx context.Context, repo *remote.Repository, reference, accept string) (ManifestAnswer, error) {
	req, err := NewManifestRequest(ctx, http.MethodGet, repo, reference, nil)
	if err != nil {
		return ManifestAnswer{}, err
	}
	req.Header.Set("Accept", accept)
	req.Header.Set("Cache-Control", "no-cache") // what a proxy remembers is of no use
	resp, err := repo.Client.Do(req)
	if err != nil {
		return ManifestAnswer{}, err
	}
	defer resp.Body.Close() // read to its end or given up
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound:
		var said errcode.Errors
		if !errors.As(refusal(resp), &said) {
			return ManifestAnswer{}, fmt.Errorf("GET %s: %w (%w)", req.URL, errdef.ErrNotFound, ErrUnconfirmed404)
		}
		return ManifestAnswer{}, fmt.Errorf("GET %s: %w", req.URL, errdef.ErrNotFound)
	default:
		return ManifestAnswer{}, refusal(resp)
	}
	mediaType, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil {
		return ManifestAnswer{}, fmt.Errorf("GET %s: Content-Type: %w", req.URL, err)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxManifestBytes+1))
	if errors.Is(err, ErrTooLong) {
		return ManifestAnswer{}, fmt.Errorf("GET %s: %w", req.URL, err)
	}
	if err != nil {
		return ManifestAnswer{}, &BusyError{Err: fmt.Errorf("GET %s: %w", req.URL, err)}
	}
	if len(body) > maxManifestBytes {
		return ManifestAnswer{}, fmt.Errorf("GET %s: the manifest has more than %d bytes", req.URL, maxManifestBytes)
	}
	if said := digest.Digest(resp.Header.Get("Docker-Content-Digest")); said.Validate() == nil && said.Algorithm().FromBytes(body) != said {
		return ManifestAnswer{}, &BusyError{Err: fmt.Errorf("GET %s: the registry sent something else than %s, which it says that it is", req.URL, said)}
	}
	answer := ManifestAnswer{Body: body, MediaType: mediaType}
	if etag := resp.Header.Get("ETag"); len(etag) > 2 && etag[0] == '"' {
		answer.ETag = etag
	}
	return answer, nil
}

// PutManifest stores a manifest under a tag or its digest. Headers in condition
// are added. The answer to a failed condition is errChanged.
func PutManifest(ctx context.Context, repo *remote.Repository, reference, mediaType string, content []byte, condition http.Header) (ManifestAnswer, error) {
	req, err := NewManifestRequest(ctx, http.MethodPut, repo, reference, content)
	if err != nil {
		return ManifestAnswer{}, err
	}
	return SendManifest(repo, req, mediaType, condition)
}

// SendManifest sends the request of putManifest.
func SendManifest(repo *remote.Repository, req *http.Request, mediaType string, condition http.Header) (ManifestAnswer, error) {
	for name, values := range condition {
		req.Header[name] = values
	}
	req.Header.Set("Content-Type", mediaType)
	resp, err := repo.Client.Do(req)
	if err != nil {
		return ManifestAnswer{}, err
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusCreated:
		return ManifestAnswer{Subject: resp.Header.Get("OCI-Subject")}, nil
	case resp.StatusCode == http.StatusPreconditionFailed && len(condition) > 0:
		return ManifestAnswer{}, ErrChanged
	}
	return ManifestAnswer{}, refusal(resp)
}

// NewManifestRequest returns a request for a manifest, by tag or digest. Its scope is
// to pull; what writes adds more to the context
// ([oras.land/oras-go/v2/registry/remote/auth.AppendRepositoryScope]).
func NewManifestRequest(ctx context.Context, method string, repo *remote.Repository, reference string, content []byte) (*http.Request, error) {
	scheme := "https"
	if repo.PlainHTTP {
		scheme = "http"
	}
	ctx = auth.AppendRepositoryScope(ctx, repo.Reference, auth.ActionPull)
	url := fmt.Sprintf("%s://%s/v2/%s/manifests/%s", scheme, repo.Reference.Host(), repo.Reference.Repository, reference)
	return http.NewRequestWithContext(ctx, method, url, bytes.NewReader(content))
}

// refusal is the error that a response with another status than expected stands
// for.
func refusal(resp *http.Response) error {
	failed := &errcode.ErrorResponse{Method: resp.Request.Method, URL: resp.Request.URL, StatusCode: resp.StatusCode}
	var body struct {
		Errors errcode.Errors `json:"errors"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 8<<10)).Decode(&body); err == nil {
		failed.Errors = body.Errors
	}
	switch {
	case resp.StatusCode == http.StatusRequestTimeout, resp.StatusCode == http.StatusConflict, resp.StatusCode == http.StatusTooManyRequests, resp.StatusCode >= 500:
		return &BusyError{RetryAfter(resp), failed}
	}
	return failed
}

// DescriptorOf describes a content, by its SHA-256.
func DescriptorOf(mediaType string, content []byte) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(content), Size: int64(len(content))}
}

// Marshal is json.Marshal that writes <, > and & as they are: what others wrote into a
// document stays as it is, but for the blanks between.
func Marshal(value any) ([]byte, error) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(value)
	return bytes.TrimSuffix(text.Bytes(), []byte("\n")), err
}
