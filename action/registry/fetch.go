// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"fmt"
	"io"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"
)

// check reads what a descriptor describes, keeps nothing of it, and checks that it
// is that.
func check(ctx context.Context, from content.Fetcher, desc ocispec.Descriptor) (err error) {
	body, err := from.Fetch(ctx, desc)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, body.Close()) }()
	verified := content.NewVerifyReader(body, desc)
	if _, err := io.Copy(io.Discard, verified); err != nil {
		return fmt.Errorf("read %s: %w", desc.Digest, err)
	}
	if err := verified.Verify(); err != nil {
		return fmt.Errorf("%s: the registry sent something else: %w", desc.Digest, err)
	}
	return nil
}

// fetch reads what a descriptor describes and checks that it is that. It takes no
// more memory than what really comes.
func fetch(ctx context.Context, from content.Fetcher, desc ocispec.Descriptor, limit int64) (_ []byte, err error) {
	if desc.Size < 0 || desc.Size > limit {
		return nil, fmt.Errorf("%s has %d bytes, which is more than the limit of %d", desc.Digest, desc.Size, limit)
	}
	if err := desc.Digest.Validate(); err != nil {
		return nil, fmt.Errorf("digest %q: %w", desc.Digest, err)
	}
	body, err := from.Fetch(ctx, desc)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, body.Close()) }()
	got, err := io.ReadAll(io.LimitReader(body, desc.Size+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", desc.Digest, err)
	}
	if int64(len(got)) != desc.Size || desc.Digest.Algorithm().FromBytes(got) != desc.Digest {
		return nil, fmt.Errorf("%s: the registry sent something else", desc.Digest)
	}
	return got, nil
}

// FetchManifest reads a manifest of at most 4 MiB, and checks that it is what the
// descriptor says.
func FetchManifest(ctx context.Context, from content.Fetcher, desc ocispec.Descriptor) ([]byte, error) {
	return fetch(ctx, from, desc, maxManifestBytes)
}
