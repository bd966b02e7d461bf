// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"sync/atomic"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote"
)

// Uploader stores small blobs in a repository, with one request each where the registry
// takes that (OCI distribution-spec, "Single POST"). A registry that does not begins an
// upload with the same request, which is ended as always. Its methods may be called
// concurrently; the zero value is ready.
type Uploader struct {
	refused atomic.Bool // the registry has answered such a request with an error
}

// Push stores a blob. After an error it may be stored nevertheless.
func (u *Uploader) Push(ctx context.Context, repo *remote.Repository, desc ocispec.Descriptor, blob []byte) error {
	client := repo.Client
	if !u.refused.Load() {
		client = singlePost{client, u, desc.Digest, blob}
	}
	through := &remote.Repository{Client: client, Reference: repo.Reference, PlainHTTP: repo.PlainHTTP}
	err := through.Blobs().Push(ctx, desc, bytes.NewReader(blob))
	if errors.Is(err, errStored) {
		return nil
	}
	return err
}

// errStored ends oras-go's upload where the first request was enough.
var errStored = errors.New("the registry has the blob")

// singlePost gives the request that begins an upload the whole blob.
type singlePost struct {
	remote.Client
	uploader *Uploader
	digest   digest.Digest
	blob     []byte
}

// Do implements [remote.Client].
func (c singlePost) Do(req *http.Request) (*http.Response, error) {
	if req.Method != http.MethodPost {
		return c.Client.Do(req)
	}
	whole := req.Clone(WithoutRetry(req.Context())) // what follows an error has its retries
	query := whole.URL.Query()
	query.Set("digest", c.digest.String())
	whole.URL.RawQuery = query.Encode()
	whole.Header.Set("Content-Type", "application/octet-stream")
	whole.ContentLength = int64(len(c.blob))
	whole.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(c.blob)), nil }
	whole.Body, _ = whole.GetBody() // never fails
	resp, err := c.Client.Do(whole)
	switch {
	case err != nil:
		return c.Client.Do(req)
	case resp.StatusCode == http.StatusCreated:
		resp.Body.Close()
		return nil, errStored
	case resp.StatusCode == http.StatusAccepted:
		return resp, nil
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusTooManyRequests && resp.StatusCode < 500 || resp.StatusCode == http.StatusNotImplemented {
		c.uploader.refused.Store(true)
	}
	return c.Client.Do(req)
}
