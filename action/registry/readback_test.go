// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"bytes"
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

// ReadBack fetches an envelope to keep it.
func ReadBack(t *testing.T, r *Client, of Target, manifest ocispec.Descriptor) (blob []byte, mediaType string, err error) {
	err = r.Envelope(t.Context(), of, manifest, func(b []byte, m string) { blob, mediaType = b, m })
	return blob, mediaType, err
}

func TestEnvelopesInUseShareABudget(t *testing.T) {
	registry := testenv.Start(t, testenv.NewRegistry)
	_, app := pushedImage(t, registry.Host, "v1", registry.PushImage)
	push := func(size int) ocispec.Descriptor {
		_, manifest := pushSignature(t, app, make([]byte, size))
		return manifest
	}
	r := New(Options{CredentialsFile: os.DevNull})
	err := r.Envelope(t.Context(), app, push(maxOpenEnvelope), func([]byte, string) {
		if r.envelopes.open.TryAcquire(maxOpenEnvelopeBytes - maxOpenEnvelope + 1) {
			t.Error("the envelope in use counts for nothing")
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if !r.envelopes.open.TryAcquire(maxOpenEnvelopeBytes) {
		t.Error("the envelope that was used still counts")
	}
	r.envelopes.open.Release(maxOpenEnvelopeBytes)
}

// An envelope that is too large to be opened is not one that can't be read: it is
// fetched and checked, and kept nowhere.
func TestLargeEnvelopeIsCheckedAndNotOpened(t *testing.T) {
	registry := testenv.Start(t, testenv.NewRegistry)
	var path string // of a blob that is another
	host := testenv.Front(t, registry, func(w http.ResponseWriter, r *http.Request) bool {
		if path == "" || r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, path) {
			return false
		}
		w.Write(make([]byte, maxOpenEnvelope+1))
		return true
	})
	r, app := pushedImage(t, host, "v1", registry.PushImage)
	for _, c := range []struct {
		size int
		says string // empty: it is opened
	}{
		{maxOpenEnvelope, ""}, {maxOpenEnvelope + 1, "exception to notation's rules"}, {maxEnvelopeBytes, "exception to notation's rules"}, {maxEnvelopeBytes + 1, "limit"},
	} {
		_, manifest := pushSignature(t, app, bytes.Repeat([]byte{1}, c.size))
		blob, _, err := ReadBack(t, r, app, manifest)
		var oversized *OversizedError
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) || errors.As(err, &oversized) != strings.Contains(c.says, "exception") {
			t.Errorf("%d bytes: %d bytes are opened, %v", c.size, len(blob), err)
		}
	}
	envelope, manifest := pushSignature(t, app, bytes.Repeat([]byte{2}, maxOpenEnvelope+1))
	path = envelope.Digest.String()
	var oversized *OversizedError
	if _, _, err := ReadBack(t, r, app, manifest); errors.As(err, &oversized) || err == nil || !strings.Contains(err.Error(), "something else") {
		t.Errorf("another envelope: %v", err)
	}
}

func TestEnvelopeIsWhatItsDescriptorsSay(t *testing.T) {
	registry := testenv.Start(t, testenv.NewTagSchemaRegistry)
	var swap string // a path of which the content is another
	var with []byte
	host := testenv.Front(t, registry, func(w http.ResponseWriter, r *http.Request) bool {
		if swap == "" || r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, swap) {
			return false
		}
		w.Header().Set("Content-Type", ocispec.MediaTypeImageManifest)
		w.Write(with)
		return true
	})
	r, app := pushedImage(t, host, "v1", registry.PushImage)
	envelope, manifest := pushSignature(t, app, []byte("envelope"))

	before := len(registry.Requests())
	if _, _, err := ReadBack(t, r, app, manifest); err != nil {
		t.Fatal(err)
	}
	if made := len(registry.Requests()) - before; made != 2 {
		t.Errorf("it took %d requests", made)
	}

	refused := func(name string, of ocispec.Descriptor, phrase string) {
		t.Helper()
		if blob, _, err := ReadBack(t, r, app, of); err == nil || !strings.Contains(err.Error(), phrase) || blob != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	swap, with = manifest.Digest.String(), make([]byte, manifest.Size)
	refused("another manifest", manifest, "something else")
	swap, with = envelope.Digest.String(), make([]byte, envelope.Size)
	refused("another envelope", manifest, "something else")
	with = make([]byte, 64<<20) // not all of it is read
	refused("a longer envelope", manifest, "something else")
	swap = ""
	huge := manifest
	huge.Size = 1 << 40
	refused("a manifest that says it is huge", huge, "limit")
	index := manifest
	index.MediaType = ocispec.MediaTypeImageIndex
	refused("an index", index, "image.index")
}

func TestVerifyingTakesFourRequests(t *testing.T) {
	registry := testenv.Start(t, testenv.NewRegistry)
	_, app := pushedImage(t, registry.Host, "v1", registry.PushImage)
	r := New(Options{CredentialsFile: os.DevNull})
	app, err := r.Resolve(t.Context(), app.String())
	if err != nil {
		t.Fatal(err)
	}
	pushSignature(t, app, []byte("envelope"))
	r = New(Options{CredentialsFile: os.DevNull})
	before := len(registry.Requests())
	if app, err = r.Resolve(t.Context(), app.String()); err != nil {
		t.Fatal(err)
	}
	found, err := r.Signatures(t.Context(), app, 10)
	if err != nil || len(found) != 1 {
		t.Fatal(found, err)
	}
	if _, _, err := ReadBack(t, r, app, found[0]); err != nil {
		t.Fatal(err)
	}
	if made := len(registry.Requests()) - before; made != 4 {
		t.Errorf("it took %d requests", made)
	}
}
