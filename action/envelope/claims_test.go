// SPDX-License-Identifier: Apache-2.0

package envelope

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/notaryproject/notation-core-go/signature"
	"github.com/notaryproject/notation-core-go/signature/cose"
	"github.com/notaryproject/notation-core-go/signature/jws"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/notation-pkcs11/notation-pkcs11/action/report"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/pki"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/signed"
)

func TestClaimsAreBounded(t *testing.T) {
	long := map[string]string{}
	for i := range 2 * maxMetadata {
		long[string(rune('a'+i%26))+strings.Repeat("k", 2*maxClaim+i)] = strings.Repeat("v", 2*maxClaim)
	}
	signer := pki.New(t, "signer", pki.New(t, "root", nil, pki.AsAuthority), pki.AsSigner)
	blob, mediaType := signed.Envelope(t, signer, ocispec.DescriptorEmptyJSON, signed.How{Metadata: long})
	got := ReadClaims(mediaType, blob, nil).UserMetadata
	if len(got) == 0 || len(got) > maxMetadata {
		t.Errorf("%d entries", len(got))
	}
	for key, value := range got {
		if most := maxClaim + len("…"); len(key) > most || len(value) > most {
			t.Errorf("an entry of %d and %d bytes", len(key), len(value))
		}
	}
}

// FuzzEnvelope reads hostile envelopes. What is said of one is bounded, can be
// written as a report, and is what notation verifies if it has integrity.
func FuzzEnvelope(f *testing.F) {
	root := pki.New(f, "root", nil, pki.AsAuthority)
	signer := pki.New(f, "signer", root, pki.AsSigner)
	authority := pki.NewTimestampAuthority(f, "timestamps", time.Now())
	artifact := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: "sha256:" + "0000000000000000000000000000000000000000000000000000000000000000", Size: 5}
	for _, s := range []signed.How{
		{}, {MediaType: jws.MediaTypeEnvelope}, {Plugin: "other", Scheme: signature.SigningSchemeX509SigningAuthority},
		{Metadata: map[string]string{strings.Repeat("k", 2000): strings.Repeat("v", 2000)}, Expiry: time.Now().Add(time.Hour)},
		{MediaType: jws.MediaTypeEnvelope, Stamp: &authority},
	} {
		blob, mediaType := signed.Envelope(f, signer, artifact, s)
		f.Add(blob, mediaType == jws.MediaTypeEnvelope)
		f.Add(signed.FlipLast(blob), mediaType == jws.MediaTypeEnvelope)
	}
	above := root
	for range maxChain {
		above = pki.New(f, "one of many", above, pki.AsAuthority)
	}
	long, mediaType := signed.Envelope(f, pki.New(f, "signer", above, pki.AsSigner), artifact, signed.How{})
	f.Add(long, mediaType == jws.MediaTypeEnvelope)
	at := time.Date(9999, time.December, 31, 23, 0, 0, 0, time.FixedZone("", -12*60*60)) // in the year 10000
	blob, _ := signed.Envelope(f, signer, artifact, signed.How{MediaType: jws.MediaTypeEnvelope})
	f.Add(signed.SignedAt(f, blob, at), true)
	f.Add([]byte(`{"payload":"","protected":"","header":{"x5c":[]},"signature":""}`), true)
	f.Add([]byte{0xd2, 0x84, 0x40, 0xa0, 0x40, 0x40}, false)
	f.Fuzz(func(t *testing.T, blob []byte, isJWS bool) {
		mediaType := map[bool]string{false: cose.MediaTypeEnvelope, true: jws.MediaTypeEnvelope}[isJWS]
		c := ReadClaims(mediaType, blob, nil)
		texts := []string{c.Format, c.Scheme, c.Algorithm, c.Agent, c.Plugin}
		for _, cert := range c.Certificates {
			texts = append(texts, cert.Subject, cert.Issuer, cert.Serial, cert.Thumbprint)
		}
		for key, value := range c.UserMetadata {
			texts = append(texts, key, value)
		}
		if longest := slices.MaxFunc(texts, func(a, b string) int { return len(a) - len(b) }); len(longest) > maxClaim+len("…") || len(c.Certificates) > maxChain || len(c.UserMetadata) > maxMetadata {
			t.Errorf("%d bytes of a text, %d certificates, %d entries", len(longest), len(c.Certificates), len(c.UserMetadata))
		}
		if err := (&report.Report{Artifacts: []report.Artifact{{Inspection: &report.Inspection{
			Signatures: []report.Signature{{Claims: c}},
		}}}}).WriteJSON(discard{}); err != nil {
			t.Errorf("the report can't be written: %v", err)
		}
		envelope, err := signature.ParseEnvelope(mediaType, blob)
		if err != nil {
			return
		}
		content, err := envelope.Verify()
		if err != nil {
			return
		}
		if len(c.Certificates) == 0 || c.Certificates[0].Thumbprint != DescribeCertificate(content.SignerInfo.CertificateChain[0]).Thumbprint {
			t.Errorf("the chain is said to be %+v", c.Certificates)
		}
	})
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
