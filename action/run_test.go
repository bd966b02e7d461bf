// SPDX-License-Identifier: Apache-2.0

package action

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry"
)

// dropping is a referrers tag that never lists one of the entries.
type dropping struct {
	line
	what digest.Digest
}

func (d dropping) write(ctx context.Context, content []byte, over indexVersion) error {
	var index, kept ocispec.Index
	if err := json.Unmarshal(content, &index); err != nil {
		return err
	}
	for _, entry := range index.Manifests {
		if entry.Digest != d.what {
			kept.Manifests = append(kept.Manifests, entry)
		}
	}
	content, err := json.Marshal(kept)
	if err != nil {
		return err
	}
	return d.line.write(ctx, content, over)
}

// That the signature of an earlier run gets lost is a failure, but the one of this
// run was made and is listed.
func TestOnlyAnUnlistedSignatureIsNotSigned(t *testing.T) {
	ours, orphan := entry("ours"), entry("orphan")
	for name, lost := range map[string]ocispec.Descriptor{"ours": ours, "that of an earlier run": orphan} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				app := target{ref: registry.Reference{Registry: "r.example", Repository: "app", Reference: entry("app").Digest.String()}}
				r := run{pusher: newPusher(pushOptions{registries: newRegistries(registryOptions{})})}
				writer := newIndexWriter(dropping{line{&register{}, steady(time.Millisecond)}, lost.Digest}, defaultPace)
				writer.also(orphan)
				writer.also(ours)
				r.pusher.index(app).writer = writer
				a := &artifact{target: app, resolved: true, signed: &signed{pushed: pushed{manifest: ours}}}
				if err := r.settle(t.Context(), []*artifact{a}); err != nil {
					t.Error(err)
				}
				if a.err == nil || !strings.Contains(a.err.Error(), lost.Digest.String()) || (a.signed == nil) != (lost.Digest == ours.Digest) {
					t.Errorf("signed: %v, %v", a.signed != nil, a.err)
				}
			})
		})
	}
}
