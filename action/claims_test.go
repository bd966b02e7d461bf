// SPDX-License-Identifier: Apache-2.0

package action

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/notaryproject/notation-core-go/signature"
	"github.com/notaryproject/notation-core-go/signature/cose"
	"github.com/notaryproject/notation-core-go/signature/jws"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/notation-pkcs11/notation-pkcs11/action/report"
)

// FuzzEnvelope reads hostile envelopes. What is said of one is bounded, can be
// written as a report, and is what notation verifies if it has integrity.
func FuzzEnvelope(f *testing.F) {
	root := newCertificate(f, "root", nil, asAuthority)
	signer := newCertificate(f, "signer", root, asSigner)
	authority := newTimestampAuthority(f, "timestamps", time.Now())
	artifact := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: "sha256:" + "0000000000000000000000000000000000000000000000000000000000000000", Size: 5}
	for _, s := range []signing{
		{}, {mediaType: jws.MediaTypeEnvelope}, {plugin: "other", scheme: signature.SigningSchemeX509SigningAuthority},
		{metadata: map[string]string{strings.Repeat("k", 2000): strings.Repeat("v", 2000)}, expiry: time.Now().Add(time.Hour)},
		{mediaType: jws.MediaTypeEnvelope, stamp: &authority},
	} {
		blob, mediaType := signEnvelope(f, signer, artifact, s)
		f.Add(blob, mediaType == jws.MediaTypeEnvelope)
		f.Add(flipLast(blob), mediaType == jws.MediaTypeEnvelope)
	}
	above := root
	for range maxChain {
		above = newCertificate(f, "one of many", above, asAuthority)
	}
	long, mediaType := signEnvelope(f, newCertificate(f, "signer", above, asSigner), artifact, signing{})
	f.Add(long, mediaType == jws.MediaTypeEnvelope)
	at := time.Date(9999, time.December, 31, 23, 0, 0, 0, time.FixedZone("", -12*60*60)) // in the year 10000
	blob, _ := signEnvelope(f, signer, artifact, signing{mediaType: jws.MediaTypeEnvelope})
	f.Add(signedAt(f, blob, at), true)
	f.Add([]byte(`{"payload":"","protected":"","header":{"x5c":[]},"signature":""}`), true)
	f.Add([]byte{0xd2, 0x84, 0x40, 0xa0, 0x40, 0x40}, false)
	f.Fuzz(func(t *testing.T, blob []byte, isJWS bool) {
		mediaType := map[bool]string{false: cose.MediaTypeEnvelope, true: jws.MediaTypeEnvelope}[isJWS]
		c := readClaims(mediaType, blob, nil)
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
		if len(c.Certificates) == 0 || c.Certificates[0].Thumbprint != describe(content.SignerInfo.CertificateChain[0]).Thumbprint {
			t.Errorf("the chain is said to be %+v", c.Certificates)
		}
	})
}

// signedAt has a JWS claim another signing time, which breaks the signature.
func signedAt(tb testing.TB, blob []byte, at time.Time) []byte {
	var envelope map[string]any
	if err := json.Unmarshal(blob, &envelope); err != nil {
		tb.Fatal(err)
	}
	header, err := base64.RawURLEncoding.DecodeString(envelope["protected"].(string))
	if err != nil {
		tb.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(header, &claims); err != nil {
		tb.Fatal(err)
	}
	claims["io.cncf.notary.signingTime"] = at.Format(time.RFC3339)
	if header, err = json.Marshal(claims); err != nil {
		tb.Fatal(err)
	}
	envelope["protected"] = base64.RawURLEncoding.EncodeToString(header)
	changed, err := json.Marshal(envelope)
	if err != nil {
		tb.Fatal(err)
	}
	return changed
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
