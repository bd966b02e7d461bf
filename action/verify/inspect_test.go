// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"testing"

	"github.com/notaryproject/notation-core-go/signature/jws"

	"github.com/notation-pkcs11/notation-pkcs11/action/envelope"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/pki"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/signed"
)

func TestInspectTellsIntactSignaturesOfTheArtifact(t *testing.T) {
	w := newVerifyWorld(t)
	image := w.Image("app")
	stranger := pki.New(t, "stranger", pki.New(t, "strange root", nil, pki.AsAuthority), pki.AsSigner)
	valid := map[string]bool{}
	add := func(is bool, blob []byte, mediaType string) {
		valid[w.Attach(image, blob, mediaType).Digest.String()] = is
	}
	blob, mediaType := w.Envelope(stranger, image, signed.How{Metadata: map[string]string{"commit": "abc"}})
	add(true, blob, mediaType)
	add(false, signed.FlipLast(blob), mediaType)
	blob, mediaType = w.Envelope(w.Good, w.Image("another"), signed.How{MediaType: jws.MediaTypeEnvelope})
	add(false, blob, mediaType)
	add(false, []byte("garbage"), mediaType)

	v, err := Inspect(t.Context(), w.clients, w.target("app"), 100)
	if err != nil || v.More || len(v.Signatures) != len(valid) {
		t.Fatalf("%d signatures, more %t, error %v", len(v.Signatures), v.More, err)
	}
	for _, s := range v.Signatures {
		if want := valid[s.Digest]; s.Valid != want || (s.Error == "") != want || len(s.Checks) != 2 {
			t.Errorf("valid %t, want %t: %s, %s", s.Valid, want, s.Error, results(s))
		}
		if s.Valid && (s.UserMetadata["commit"] != "abc" || s.Certificates[0].Thumbprint != envelope.DescribeCertificate(stranger.Cert).Thumbprint) {
			t.Errorf("claims %+v", s.Claims)
		}
	}
	if v, err := Inspect(t.Context(), w.clients, w.target("app"), 3); len(v.Signatures) != 3 || !v.More || err != nil {
		t.Errorf("%d signatures, more %t, error %v", len(v.Signatures), v.More, err)
	}
}
