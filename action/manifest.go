// SPDX-License-Identifier: Apache-2.0

package action

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

// manifestAnswer is what a registry says of a manifest.
type manifestAnswer struct {
	body      []byte // of a GET
	mediaType string // of a GET
	etag      string // of a GET; empty where there is none to compare strongly
	subject   string // of a PUT: OCI-Subject
}

// busyError is an answer after which the same request may succeed later.
type busyError struct {
	after time.Duration // what the registry asks to wait
	err   error
}

func (e *busyError) Error() string { return e.err.Error() }
func (e *busyError) Unwrap() error { return e.err }

// errHearsay says that a 404 did not come with a reason, as registries give one:
// it may be the word of a gateway, which knows nothing of manifests.
var errHearsay = errors.New("and the 404 is not in a registry's form, so it may come from a proxy")

// errChanged says that the registry has a newer index than the one that was to be
// written over.
var errChanged = errors.New("another writer changed the referrers index in the meantime")

// anyManifest is asked for, so that something else under the tag is seen: a
// registry answers 404 where it has no manifest of an accepted type.
var anyManifest = strings.Join([]string{
	ocispec.MediaTypeImageIndex, ocispec.MediaTypeImageManifest, mediaTypeDockerList, mediaTypeDockerManifest, mediaTypeArtifactManifest,
}, ", ")

// referrersTag is the tag of a subject's referrers index on a registry that has no
// Referrers API (OCI distribution-spec, "Referrers Tag Schema").
func referrersTag(subject digest.Digest) string {
	return fmt.Sprintf("%.32s-%.64s", subject.Algorithm(), subject.Encoded())
}

// getManifest fetches a manifest by tag or digest. Without one, the error is an
// errdef.ErrNotFound.
func getManifest(ctx context.Context, repo *remote.Repository, reference, accept string) (manifestAnswer, error) {
	req, err := manifestRequest(ctx, http.MethodGet, repo, reference, nil)
	if err != nil {
		return manifestAnswer{}, err
	}
	req.Header.Set("Accept", accept)
	req.Header.Set("Cache-Control", "no-cache") // what a proxy remembers is of no use
	resp, err := repo.Client.Do(req)
	if err != nil {
		return manifestAnswer{}, err
	}
	defer resp.Body.Close() // read to its end or given up
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound:
		var said errcode.Errors
		if !errors.As(refusal(resp), &said) {
			return manifestAnswer{}, fmt.Errorf("GET %s: %w (%w)", req.URL, errdef.ErrNotFound, errHearsay)
		}
		return manifestAnswer{}, fmt.Errorf("GET %s: %w", req.URL, errdef.ErrNotFound)
	default:
		return manifestAnswer{}, refusal(resp)
	}
	mediaType, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil {
		return manifestAnswer{}, fmt.Errorf("GET %s: Content-Type: %w", req.URL, err)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxManifestBytes+1))
	if errors.Is(err, errTooLong) {
		return manifestAnswer{}, fmt.Errorf("GET %s: %w", req.URL, err)
	}
	if err != nil {
		return manifestAnswer{}, &busyError{err: fmt.Errorf("GET %s: %w", req.URL, err)}
	}
	if len(body) > maxManifestBytes {
		return manifestAnswer{}, fmt.Errorf("GET %s: the manifest has more than %d bytes", req.URL, maxManifestBytes)
	}
	if said := digest.Digest(resp.Header.Get("Docker-Content-Digest")); said.Validate() == nil && said.Algorithm().FromBytes(body) != said {
		return manifestAnswer{}, &busyError{err: fmt.Errorf("GET %s: the registry sent something else than %s, which it says that it is", req.URL, said)}
	}
	answer := manifestAnswer{body: body, mediaType: mediaType}
	if etag := resp.Header.Get("ETag"); len(etag) > 2 && etag[0] == '"' {
		answer.etag = etag
	}
	return answer, nil
}

// putManifest stores a manifest under a tag or its digest. Headers in condition
// are added. The answer to a failed condition is errChanged.
func putManifest(ctx context.Context, repo *remote.Repository, reference, mediaType string, content []byte, condition http.Header) (manifestAnswer, error) {
	req, err := manifestRequest(ctx, http.MethodPut, repo, reference, content)
	if err != nil {
		return manifestAnswer{}, err
	}
	return sendManifest(repo, req, mediaType, condition)
}

// sendManifest sends the request of putManifest.
func sendManifest(repo *remote.Repository, req *http.Request, mediaType string, condition http.Header) (manifestAnswer, error) {
	for name, values := range condition {
		req.Header[name] = values
	}
	req.Header.Set("Content-Type", mediaType)
	resp, err := repo.Client.Do(req)
	if err != nil {
		return manifestAnswer{}, err
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusCreated:
		return manifestAnswer{subject: resp.Header.Get("OCI-Subject")}, nil
	case resp.StatusCode == http.StatusPreconditionFailed && len(condition) > 0:
		return manifestAnswer{}, errChanged
	}
	return manifestAnswer{}, refusal(resp)
}

// manifestRequest asks for the right to pull, which all need; who writes asks for
// more, see [toPush].
func manifestRequest(ctx context.Context, method string, repo *remote.Repository, reference string, content []byte) (*http.Request, error) {
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
		return &busyError{retryAfter(resp), failed}
	}
	return failed
}

// signatureConfig is the config of each signature manifest: "{}".
var signatureConfig = ocispec.Descriptor{
	MediaType: artifactTypeNotation,
	Digest:    ocispec.DescriptorEmptyJSON.Digest,
	Size:      ocispec.DescriptorEmptyJSON.Size,
}

// signatureManifest returns a signature manifest as notation writes it, byte for
// byte.
func signatureManifest(subject, envelope ocispec.Descriptor, annotations map[string]string) (ocispec.Descriptor, []byte, error) {
	manifest := ocispec.Manifest{
		MediaType:   ocispec.MediaTypeImageManifest,
		Config:      signatureConfig,
		Layers:      []ocispec.Descriptor{envelope},
		Subject:     &subject,
		Annotations: annotations,
	}
	manifest.SchemaVersion = 2
	content, err := json.Marshal(manifest)
	if err != nil {
		return ocispec.Descriptor{}, nil, err
	}
	desc := descriptorOf(ocispec.MediaTypeImageManifest, content)
	if desc.Size > maxManifestBytes {
		return ocispec.Descriptor{}, nil, errors.New("its annotations are too large for a manifest")
	}
	return desc, content, nil
}

// descriptorOf describes a content, by its SHA-256.
func descriptorOf(mediaType string, content []byte) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(content), Size: int64(len(content))}
}
