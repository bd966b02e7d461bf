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

	v := inspect(t.Context(), w.clients, w.target("app"), 100)
	if v.err != nil || v.more || len(v.signatures) != len(valid) {
		t.Fatalf("%d signatures, more %t, error %v", len(v.signatures), v.more, v.err)
	}
	for _, s := range v.signatures {
		if want := valid[s.manifest.Digest.String()]; s.valid != want || (s.err == nil) != want || len(s.checks) != 2 {
			t.Errorf("valid %t, want %t: %v, %s", s.valid, want, s.err, results(s))
		}
		if s.valid && (s.claims.userMetadata["commit"] != "abc" || s.claims.chain[0].thumbprint != describe(stranger.cert).thumbprint) {
			t.Errorf("claims %+v", s.claims)
		}
	}
	if v := inspect(t.Context(), w.clients, w.target("app"), 3); len(v.signatures) != 3 || !v.more || v.err != nil {
		t.Errorf("%d signatures, more %t, error %v", len(v.signatures), v.more, v.err)
	}
}

func TestClaimsAreBounded(t *testing.T) {
	w := newVerifyWorld(t)
	long := map[string]string{}
	for i := range 2 * maxMetadata {
		long[string(rune('a'+i%26))+strings.Repeat("k", 2*maxClaim+i)] = strings.Repeat("v", 2*maxClaim)
	}
	w.sign(w.good, w.image("app"), signing{metadata: long})
	v := inspect(t.Context(), w.clients, w.target("app"), 1)
	got := v.signatures[0].claims.userMetadata
	if len(got) == 0 || len(got) > maxMetadata {
		t.Errorf("%d entries", len(got))
	}
	for key, value := range got {
		if most := maxClaim + len("…"); len(key) > most || len(value) > most {
			t.Errorf("an entry of %d and %d bytes", len(key), len(value))
		}
	}
}
