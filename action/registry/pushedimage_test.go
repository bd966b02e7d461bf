// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"testing"

	"github.com/notaryproject/notation-core-go/signature/cose"
	notationregistry "github.com/notaryproject/notation-go/registry"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// pushedImage pushes an image and resolves it with a client of the test's own.
func pushedImage(t *testing.T, host, tag string, push func(ctx context.Context, repository, tag string) (ocispec.Descriptor, error)) (*Client, Target) {
	t.Helper()
	if _, err := push(t.Context(), "app", tag); err != nil {
		t.Fatal(err)
	}
	r := New(Options{CredentialsFile: t.TempDir() + "/config.json"})
	found, err := r.Resolve(t.Context(), host+"/app:"+tag)
	if err != nil {
		t.Fatal(err)
	}
	return r, found
}

// pushSignature pushes a blob as the envelope of a signature, as notation does.
func pushSignature(t *testing.T, to Target, envelope []byte) (blob, manifest ocispec.Descriptor) {
	t.Helper()
	blob, manifest, err := notationregistry.NewRepository(to.Store.TagSchema()).PushSignature(t.Context(), cose.MediaTypeEnvelope, envelope, to.Desc, nil)
	if err != nil {
		t.Fatal(err)
	}
	return blob, manifest
}
