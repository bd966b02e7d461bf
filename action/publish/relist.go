// SPDX-License-Identifier: Apache-2.0

package publish

import (
	"context"
	"fmt"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/notation-pkcs11/notation-pkcs11/action/registry"
)

// errUnlistedReferrer is of a registry that loses entries of its own list.
var errUnlistedReferrer error = &registry.AdvisedError{Advice: "the registry's Referrers API answers, and doesn't list a manifest that the registry took; repair the registry or the proxy in front of it, or use another one"}

// claimed are the referrers of which a registry said that it lists them. Its methods
// may be called concurrently.
type claimed struct {
	mu        sync.Mutex
	referrers map[digest.Digest]*plannedManifest
}

func (c *claimed) add(m *plannedManifest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.referrers == nil {
		c.referrers = map[digest.Digest]*plannedManifest{}
	}
	c.referrers[m.desc.Digest] = m
}

// bySubject returns them by what they refer to.
func (c *claimed) bySubject() map[digest.Digest][]*plannedManifest {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := map[digest.Digest][]*plannedManifest{}
	for _, m := range c.referrers {
		all[m.subject.Digest] = append(all[m.subject.Digest], m)
	}
	return all
}

// listAgain looks for what the registry said that it lists, and sends what is missing
// again, one after the other: some registries lose entries when several are written at
// once. A list that can't be read now is left to whoever verifies.
func (c *copying) listAgain(ctx context.Context) error {
	for _, referrers := range c.claimed.bySubject() {
		for tries := (looks{}); ; {
			missing := c.unlisted(ctx, referrers)
			if len(missing) == 0 {
				break
			}
			if !tries.again(ctx) {
				return wrapManifest(missing[0], errUnlistedReferrer)
			}
			for _, m := range missing {
				if err := c.sendUnlisted(ctx, m); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// unlisted returns those referrers of one manifest that a client that knows nothing of
// the registry doesn't find.
func (c *copying) unlisted(ctx context.Context, referrers []*plannedManifest) (missing []*plannedManifest) {
	listed := map[digest.Digest]bool{}
	err := c.to.Store.Afresh().Referrers(ctx, plain(*referrers[0].subject), "", func(page []ocispec.Descriptor) error {
		for _, desc := range page {
			listed[desc.Digest] = true
		}
		return nil
	})
	if err != nil {
		return nil
	}
	for _, m := range referrers {
		if !listed[m.desc.Digest] {
			missing = append(missing, m)
		}
	}
	return missing
}

// sendUnlisted sends a referrer again, or lists it by the referrers tag schema where the
// registry has no list, whatever it said.
func (c *copying) sendUnlisted(ctx context.Context, m *plannedManifest) error {
	subject := c.to.Beside(plain(*m.subject))
	listing, err := c.to.Store.Look(ctx, subject.Desc, "")
	if err != nil {
		return fmt.Errorf("look whether manifest %s is listed: %w", m.desc.Digest, err)
	}
	if listing == registry.NoAPI {
		return wrapManifest(m, c.pusher.index(subject).add(ctx, m.entry, ""))
	}
	return c.sendReferrer(ctx, m)
}
