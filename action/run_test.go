// SPDX-License-Identifier: Apache-2.0

package action

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	orasregistry "oras.land/oras-go/v2/registry"

	"github.com/notation-pkcs11/notation-pkcs11/action/publish"
	"github.com/notation-pkcs11/notation-pkcs11/action/registry"
	"github.com/notation-pkcs11/notation-pkcs11/action/report"
)

// settling is a pusher that has nothing left to do but the last look.
type settling func(context.Context) []error

func (s settling) Settle(ctx context.Context) []error { return s(ctx) }

func (settling) Push(context.Context, registry.Target, []byte, string, map[string]string) (publish.Pushed, error) {
	return publish.Pushed{}, errors.New("nothing is to be pushed")
}

func (settling) Listable(context.Context, registry.Target) error { return nil }

// That the signature of an earlier run gets lost is a failure, but the one of this
// run was made and is listed.
func TestOnlyAnUnlistedSignatureIsNotSigned(t *testing.T) {
	ours, orphan := digest.FromString("ours"), digest.FromString("orphan")
	for name, lost := range map[string]digest.Digest{"ours": ours, "that of an earlier run": orphan} {
		t.Run(name, func(t *testing.T) {
			app, err := registry.New(registry.Options{}).At(registry.Location{Repository: orasregistry.Reference{Registry: "r.example", Repository: "app"}}, ocispec.Descriptor{Digest: digest.FromString("app")})
			if err != nil {
				t.Fatal(err)
			}
			r := run{pusher: settling(func(context.Context) []error {
				return []error{&publish.UnlistedError{Artifact: app, Signatures: []digest.Digest{lost}, Err: errors.New("dropped")}}
			})}
			a := &artifact{Artifact: report.Artifact{Signed: &report.Signed{Digest: ours.String()}}}
			a.resolved(app)
			if err := r.settle(t.Context(), []*artifact{a}); err != nil {
				t.Error(err)
			}
			if a.err == nil || !strings.Contains(a.err.Error(), lost.String()) || (a.Signed == nil) != (lost == ours) {
				t.Errorf("signed: %v, %v", a.Signed != nil, a.err)
			}
		})
	}
}

// The last look waits longer than one artifact may take, so the timeout is not for
// it.
func TestTimeoutDoesNotCutTheLastLookShort(t *testing.T) {
	looked := false
	r := run{progress: func(string, int, int) {}, pusher: settling(func(ctx context.Context) []error {
		looked = true
		if deadline, limited := ctx.Deadline(); limited {
			t.Errorf("the last look must end by %v", deadline)
		}
		return nil
	})}
	r.inputs.mode, r.inputs.concurrency, r.inputs.timeout = modeSign, 1, time.Millisecond
	if _, err := r.do(t.Context()); err != nil || !looked {
		t.Errorf("looked: %t, error %v", looked, err)
	}
}
