// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"cmp"
	"encoding/json"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/notaryproject/notation-core-go/signature/cose"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestSignatureManifestHasOneLayer(t *testing.T) {
	const one = `{"mediaType":"application/cose","digest":"sha256:00","size":2}`
	for _, c := range []struct {
		mediaType, body string
		says            string // empty: it is read
	}{
		{ocispec.MediaTypeImageManifest, `{"layers":[` + one + `]}`, ""},
		{ocispec.MediaTypeImageManifest, `{"layers":[` + one + `],"blobs":[{},{}]}`, ""},
		{MediaTypeArtifactManifest, `{"blobs":[` + one + `]}`, ""},
		{MediaTypeArtifactManifest, `{"layers":[` + one + `]}`, "no layer"},
		{ocispec.MediaTypeImageManifest, `{}`, "no layer"},
		{ocispec.MediaTypeImageManifest, `{"layers":null}`, "no layer"},
		{ocispec.MediaTypeImageManifest, `{"layers":[]}`, "no layer"},
		{ocispec.MediaTypeImageManifest, `{"layers":[` + one + `,null]}`, "several layers"},
		{ocispec.MediaTypeImageManifest, `{"layers":[` + one + `,` + one + `,` + one + `]}`, "several layers"},
		{ocispec.MediaTypeImageManifest, `{"layers":{}}`, "cannot unmarshal"},
		{ocispec.MediaTypeImageManifest, `{"layers":[5]}`, "cannot unmarshal"},
		{ocispec.MediaTypeImageManifest, `{"layers":[`, "unexpected end"},
		{ocispec.MediaTypeImageManifest, `{"config":5,"layers":[` + one + `]}`, "cannot unmarshal"},
		{ocispec.MediaTypeImageManifest, `{"annotations":5,"layers":[` + one + `]}`, "cannot unmarshal"},
	} {
		envelope, err := envelopeOf(c.mediaType, []byte(c.body))
		switch {
		case c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)):
			t.Errorf("%s: %v, want %q", c.body, err, c.says)
		case c.says == "" && (err != nil || envelope.MediaType != cose.MediaTypeEnvelope || envelope.Size != 2):
			t.Errorf("%s: %+v, %v", c.body, envelope, err)
		}
	}
}

func TestManyLayersTakeNoMemory(t *testing.T) {
	body := []byte(`{"layers":[` + strings.Repeat("{},", maxManifestBytes/3) + `{}]}`)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := envelopeOf(ocispec.MediaTypeImageManifest, body)
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; err == nil || took > maxManifestBytes {
		t.Errorf("%d bytes for a manifest of %d: %v", took, len(body), err)
	}
}

// lastList reads a list that is there twice as the last one, without what the
// first left behind.
type lastList struct {
	all []ocispec.Descriptor
	err error
}

func (l *lastList) UnmarshalJSON(data []byte) error {
	*l = lastList{}
	l.err = json.Unmarshal(data, &l.all)
	return nil
}

// FuzzSignatureManifest holds that a manifest's envelope is that which notation
// takes, or none.
func FuzzSignatureManifest(f *testing.F) {
	const one = `{"mediaType":"application/cose","digest":"sha256:00","size":2}`
	for _, body := range []string{
		`{"layers":[` + one + `]}`, `{"blobs":[` + one + `]}`, `{"layers":[` + one + `],"blobs":[{},{}]}`, `{}`, `{"layers":null}`, `{"layers":[]}`, `{"layers":[null]}`,
		`{"layers":[` + one + `,null]}`, `{"layers":[` + one + `],"layers":null}`, `{"layers":[{},{}],"Layers":[` + one + `]}`, `{"layers":[` + one + `],"layers":[{"size":3}]}`,
		`{"layers":[5]}`, `{"layers":[`, `{"config":5,"layers":[` + one + `]}`, `{"layers":[` + one + `]}x`, `null`, `[]`,
	} {
		f.Add([]byte(body), false)
		f.Add([]byte(body), true)
	}
	f.Fuzz(func(t *testing.T, body []byte, artifact bool) {
		mediaType := map[bool]string{false: ocispec.MediaTypeImageManifest, true: MediaTypeArtifactManifest}[artifact]
		got, err := envelopeOf(mediaType, body)
		var manifest struct {
			ocispec.Manifest
			Layers lastList `json:"layers"`
			Blobs  lastList `json:"blobs"`
		}
		failed := json.Unmarshal(body, &manifest)
		list := manifest.Layers
		if artifact {
			list = manifest.Blobs
		}
		envelopes, wrong := list.all, cmp.Or(failed, list.err)
		if err == nil && (wrong != nil || len(envelopes) != 1 || !reflect.DeepEqual(got, envelopes[0])) {
			t.Errorf("the envelope is %+v; there are %+v, %v", got, envelopes, wrong)
		}
		if err != nil && wrong == nil && len(envelopes) == 1 {
			t.Errorf("the envelope is %+v, error %v", envelopes, err)
		}
	})
}
