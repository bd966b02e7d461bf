// SPDX-License-Identifier: Apache-2.0

package publish

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/notation-pkcs11/notation-pkcs11/action/registry"
)

// confirmations is how many times what is gone is sent again.
const confirmations = 3

// Confirm makes sure, just before the tag is set, that all manifests of a plan are in
// the repository of a target: registries may collect what has no tag. What is gone is
// sent again. It returns what was.
func (c *Copier) Confirm(ctx context.Context, plan *Plan, to registry.Target) (again []digest.Digest, _ error) {
	all := make([]ocispec.Descriptor, len(plan.manifests))
	for i, m := range plan.manifests {
		all[i] = m.desc
	}
	for range confirmations {
		gone, err := c.Gone(ctx, to, all)
		if err != nil || len(gone) == 0 {
			return again, err
		}
		again = append(again, gone...)
		c.forget(to)
		if _, err := c.Copy(ctx, plan, to); err != nil {
			return again, err
		}
	}
	return again, fmt.Errorf("the registry keeps deleting manifests of %s that have no tag yet; have it keep them for longer", to)
}

// forget has the next copy look at the target again.
func (c *Copier) forget(to registry.Target) {
	prefix := to.Store.String() + "@"
	c.mu.Lock()
	defer c.mu.Unlock()
	for key := range c.blobs {
		if strings.HasPrefix(key, prefix) {
			delete(c.blobs, key)
		}
	}
	for key := range c.lists {
		if strings.HasPrefix(key, prefix) {
			delete(c.lists, key)
		}
	}
}

// Gone returns which manifests are not in the repository of a target.
func (c *Copier) Gone(ctx context.Context, to registry.Target, manifests []ocispec.Descriptor) ([]digest.Digest, error) {
	var mu sync.Mutex
	var gone []digest.Digest
	all, ctx := errgroup.WithContext(toPush(ctx, to.Store))
	all.SetLimit(cap(c.slots))
	for _, desc := range manifests {
		all.Go(func() error {
			exists, err := to.Store.Manifests().Exists(ctx, desc)
			if err == nil && !exists {
				mu.Lock()
				defer mu.Unlock()
				gone = append(gone, desc.Digest)
			}
			return err
		})
	}
	if err := all.Wait(); err != nil {
		return nil, fmt.Errorf("look whether all of %s is there: %w", to, to.Store.Explain(ctx, true, err))
	}
	return gone, nil
}

// Tagged is what became of a tag.
type Tagged struct {
	Before digest.Digest // what it named; empty: it was not there, or could not be read
	Set    bool          // it was written; else it named the artifact before
}

// Tag has a tag name an artifact that is in the repository of a target. A tag that does
// already is not written: some registries refuse even that. After an error it names
// what it named before.
func (c *Copier) Tag(ctx context.Context, source registry.Source, to registry.Target, tag string) (Tagged, error) {
	var tagged Tagged
	ctx = toPush(ctx, to.Store)
	found, err := to.Store.Resolve(ctx, tag)
	if err == nil {
		tagged.Before = found.Digest
	}
	if tagged.Before == to.Desc.Digest {
		return tagged, nil
	}
	content, err := source.Manifest(ctx, to.Desc)
	if err != nil {
		return tagged, fmt.Errorf("read the manifest of %s again to tag it %s: %w", source, tag, source.Explain(ctx, err))
	}
	if err := ctx.Err(); err != nil {
		return tagged, context.Cause(ctx)
	}
	end, cancel := finishing(ctx) // whether a request that was sent took effect is not left open
	defer cancel()
	err = to.Store.Tag(end, tag, to.Desc, content)
	if err != nil {
		if found, lookErr := to.Store.Resolve(end, tag); lookErr == nil && found.Digest == to.Desc.Digest {
			err = nil // the answer alone was lost
		}
	}
	if tagged.Set = err == nil; tagged.Set {
		return tagged, nil
	}
	err = to.Store.Explain(ctx, true, err)
	if tagged.Before != "" && refusesTag(err) {
		return tagged, fmt.Errorf("set the tag %s of %s: it names %s, and may be immutable: %w", tag, to.Store, tagged.Before, err)
	}
	return tagged, fmt.Errorf("set the tag %s of %s: %w", tag, to.Store, err)
}

// refusesTag reports whether an answer is one that registries give where a tag must not
// be moved.
func refusesTag(err error) bool {
	var response *errcode.ErrorResponse
	if !errors.As(err, &response) {
		return false
	}
	switch response.StatusCode {
	case http.StatusBadRequest, http.StatusForbidden, http.StatusMethodNotAllowed, http.StatusConflict, http.StatusPreconditionFailed:
		return true
	}
	return false
}
