// SPDX-License-Identifier: Apache-2.0

package action

import (
	"strings"
	"testing"

	"github.com/notaryproject/notation-core-go/signature/jws"
)

func TestInspectTellsIntactSignaturesOfTheArtifact(t *testing.T) {
	w := newVerifyWorld(t)
	image := w.image("app")
	stranger := newCertificate(t, "stranger", newCertificate(t, "strange root", nil, asAuthority), asSigner)
	valid := map[string]bool{}
	add := func(is bool, blob []byte, mediaType string) {
		valid[w.attach(image, blob, mediaType).Digest.String()] = is
	}
	blob, mediaType := w.envelope(stranger, image, signing{metadata: map[string]string{"commit": "abc"}})
	add(true, blob, mediaType)
	add(false, flipLast(blob), mediaType)
	blob, mediaType = w.envelope(w.good, w.image("another"), signing{mediaType: jws.MediaTypeEnvelope})
	add(false, blob, mediaType)
	add(false, []byte("garbage"), mediaType)

	v, err := inspect(t.Context(), w.clients, w.target("app"), 100)
	if err != nil || v.More || len(v.Signatures) != len(valid) {
		t.Fatalf("%d signatures, more %t, error %v", len(v.Signatures), v.More, err)
	}
	for _, s := range v.Signatures {
		if want := valid[s.Digest]; s.Valid != want || (s.Error == "") != want || len(s.Checks) != 2 {
			t.Errorf("valid %t, want %t: %s, %s", s.Valid, want, s.Error, results(s))
		}
		if s.Valid && (s.UserMetadata["commit"] != "abc" || s.Certificates[0].Thumbprint != describe(stranger.cert).Thumbprint) {
			t.Errorf("claims %+v", s.Claims)
		}
	}
	if v, err := inspect(t.Context(), w.clients, w.target("app"), 3); len(v.Signatures) != 3 || !v.More || err != nil {
		t.Errorf("%d signatures, more %t, error %v", len(v.Signatures), v.More, err)
	}
}

func TestClaimsAreBounded(t *testing.T) {
	w := newVerifyWorld(t)
	long := map[string]string{}
	for i := range 2 * maxMetadata {
		long[string(rune('a'+i%26))+strings.Repeat("k", 2*maxClaim+i)] = strings.Repeat("v", 2*maxClaim)
	}
	w.sign(w.good, w.image("app"), signing{metadata: long})
	v, _ := inspect(t.Context(), w.clients, w.target("app"), 1)
	got := v.Signatures[0].UserMetadata
	if len(got) == 0 || len(got) > maxMetadata {
		t.Errorf("%d entries", len(got))
	}
	for key, value := range got {
		if most := maxClaim + len("…"); len(key) > most || len(value) > most {
			t.Errorf("an entry of %d and %d bytes", len(key), len(value))
		}
	}
}
