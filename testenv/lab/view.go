// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

// The image that is signed.
const (
	imageRepository = "app"
	imageTag        = "v1"
)

// view shows what a registry has in the image's repository.
type view struct {
	repository *remote.Repository
	host       string
}

// contents are the facts that must hold of what was shown.
type contents struct {
	image      digest.Digest // of the image's tag
	signatures int
}

func newView(registry *testenv.Registry) (*view, error) {
	repository, err := registry.Repository(imageRepository)
	if err != nil {
		return nil, err
	}
	return &view{repository, registry.Host}, nil
}

// show prints the tags, the signatures, what the Referrers API answers, and the
// referrers index where there is one.
func (v *view) show(ctx context.Context, out *terminal) (contents, error) {
	image, err := v.repository.Resolve(ctx, imageTag)
	if err != nil {
		return contents{}, fmt.Errorf("resolve tag %s: %w", imageTag, err)
	}
	out.text("Tags of " + v.repository.Reference.Registry + "/" + imageRepository)
	if err := v.showTags(ctx, out); err != nil {
		return contents{}, fmt.Errorf("list tags: %w", err)
	}
	var signatures []ocispec.Descriptor
	err = v.repository.Referrers(ctx, image, "", func(page []ocispec.Descriptor) error {
		signatures = append(signatures, page...)
		return nil
	})
	if err != nil {
		return contents{}, fmt.Errorf("list referrers of %s: %w", image.Digest, err)
	}
	if len(signatures) == 0 {
		out.text("No manifest has the image as its subject.")
	}
	for i, signature := range signatures {
		out.text(fmt.Sprintf("\nSignature %d of %d: manifest %s", i+1, len(signatures), signature.Digest))
		if err := v.showSignature(ctx, out, signature); err != nil {
			return contents{}, fmt.Errorf("show signature %s: %w", signature.Digest, err)
		}
	}
	if err := v.showReferrers(ctx, out, image); err != nil {
		return contents{}, fmt.Errorf("show the answer of the Referrers API: %w", err)
	}
	if err := v.showIndex(ctx, out, image); err != nil {
		return contents{}, fmt.Errorf("show referrers index: %w", err)
	}
	return contents{image.Digest, len(signatures)}, nil
}

func (v *view) showTags(ctx context.Context, out *terminal) error {
	return v.repository.Tags(ctx, "", func(tags []string) error {
		for _, tag := range tags {
			manifest, err := v.repository.Resolve(ctx, tag)
			if err != nil {
				return err
			}
			if len(tag) > len(imageTag) {
				out.text("  " + tag)
				tag = ""
			}
			out.row(tag, manifest.Digest.String())
		}
		return nil
	})
}

// showSignature prints a signature manifest, what its config is, and what its
// layer is.
func (v *view) showSignature(ctx context.Context, out *terminal, signature ocispec.Descriptor) error {
	document, err := content.FetchAll(ctx, v.repository, signature)
	if err != nil {
		return err
	}
	if err := out.json(document); err != nil {
		return err
	}
	var manifest ocispec.Manifest
	if err := json.Unmarshal(document, &manifest); err != nil {
		return err
	}
	config, err := content.FetchAll(ctx, v.repository.Blobs(), manifest.Config)
	if err != nil {
		return fmt.Errorf("config: %w", err)
	}
	if string(config) != "{}" {
		return fmt.Errorf("config is %q, want {}", config)
	}
	out.row("config", string(config))
	for _, layer := range manifest.Layers {
		envelope, err := content.FetchAll(ctx, v.repository.Blobs(), layer)
		if err != nil {
			return fmt.Errorf("envelope: %w", err)
		}
		out.row("envelope", fmt.Sprintf("%d bytes of %s", len(envelope), layer.MediaType))
	}
	return nil
}

// showReferrers prints what the registry answers by the Referrers API (OCI
// distribution specification, "Listing Referrers").
func (v *view) showReferrers(ctx context.Context, out *terminal, image ocispec.Descriptor) error {
	path := "/v2/" + imageRepository + "/referrers/" + image.Digest.String()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+v.host+path, nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	out.text("\nGET " + path)
	if answer.StatusCode != http.StatusOK {
		out.text("  " + answer.Status + ": this registry has no Referrers API")
		return nil
	}
	document, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	if err != nil {
		return err
	}
	return out.json(document)
}

// showIndex prints the index of the referrers tag schema, which only a registry
// without the Referrers API has.
func (v *view) showIndex(ctx context.Context, out *terminal, image ocispec.Descriptor) error {
	tag := strings.Replace(image.Digest.String(), ":", "-", 1)
	index, err := v.repository.Resolve(ctx, tag)
	if errors.Is(err, errdef.ErrNotFound) {
		out.text("\nThere is no referrers index: no tag " + tag)
		return nil
	}
	if err != nil {
		return err
	}
	document, err := content.FetchAll(ctx, v.repository, index)
	if err != nil {
		return err
	}
	out.text("\nThe referrers index, under the tag " + tag)
	return out.json(document)
}
