// SPDX-License-Identifier: Apache-2.0

package payload

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/notaryproject/notation-core-go/signature"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

// Whatever is accepted, those who verify read with the same meaning.
func FuzzMessageIsReadAsVerifiersReadIt(f *testing.F) {
	for _, message := range readGolden(f) {
		f.Add(message)
	}
	chains := chainsByAlgorithm(f)
	f.Fuzz(func(t *testing.T, message []byte) { compare(t, message, chains) })
}

// The same, of what is inside of the frames, which few changes of a message leave
// whole.
func FuzzHeaderAndPayloadAreReadAsVerifiersReadThem(f *testing.F) {
	f.Add(goodHeader, goodTarget, false)
	f.Add(goodCOSE(), goodTarget, true)
	chains := chainsByAlgorithm(f)
	f.Fuzz(func(t *testing.T, header, target string, isCOSE bool) {
		switch {
		case !isCOSE:
			compare(t, []byte(jws(header, target)), chains)
		case len(header) < 1<<16 && len(target) < 1<<16:
			compare(t, []byte(sigStructure(header, target)), chains)
		}
	})
}

// compare has a message that is accepted read by notation-core-go.
func compare(t *testing.T, message []byte, chains map[string][][]byte) {
	t.Helper()
	p, err := Parse(message)
	if err != nil {
		if p != nil {
			t.Error("a payload beside an error")
		}
		return
	}
	envelope, mediaType := envelopeOf(t, p, message, chains[p.Algorithm])
	parsed, err := signature.ParseEnvelope(mediaType, envelope)
	if err != nil {
		t.Fatalf("verifiers can't parse it: %v", err)
	}
	content, err := parsed.Content()
	if err != nil {
		t.Fatalf("verifiers can't read it: %v", err)
	}
	checkContent(t, p, content)
}

// chainsByAlgorithm has certificates in DER of a key for each algorithm.
func chainsByAlgorithm(tb testing.TB) map[string][][]byte {
	tb.Helper()
	pki, err := testenv.NewPKI()
	if err != nil {
		tb.Fatal(err)
	}
	chains := map[string][][]byte{}
	for name, a := range algorithms {
		chain, err := pki.Chain(a.publicKey())
		if err != nil {
			tb.Fatal(err)
		}
		for _, certificate := range chain {
			chains[name] = append(chains[name], certificate.Raw)
		}
	}
	return chains
}

// envelopeOf makes an envelope of a message, with a signature that nobody looks at.
func envelopeOf(t *testing.T, p *Payload, message []byte, chain [][]byte) (envelope []byte, mediaType string) {
	t.Helper()
	if p.Format == FormatJWS {
		protected, payload, _ := strings.Cut(string(message), ".")
		envelope, err := json.Marshal(map[string]any{"protected": protected, "payload": payload, "signature": "AA", "header": map[string]any{"x5c": chain}})
		if err != nil {
			t.Fatal(err)
		}
		return envelope, "application/jose+json"
	}
	protected, payload := splitSigStructure(t, message)
	certificates := item(cborArray, len(chain))
	for _, der := range chain {
		certificates += binaryOf(string(der))
	}
	return []byte("\xd2\x84" + protected + item(cborMap, 1) + "\x18\x21" + certificates + payload + binaryOf("s")), "application/cose"
}

// splitSigStructure returns the header and the payload as they are encoded.
func splitSigStructure(t *testing.T, message []byte) (protected, payload string) {
	t.Helper()
	start := []byte("\x84\x6aSignature1")
	rest, found := bytes.CutPrefix(message, start)
	r := &cborReader{rest}
	if _, err := r.bytes(); err != nil || !found {
		t.Fatalf("another form was accepted: %x", message)
	}
	protected = string(rest[:len(rest)-len(r.rest)])
	payload, found = strings.CutPrefix(string(r.rest), "\x40")
	if !found {
		t.Fatalf("external data was accepted: %x", message)
	}
	return protected, payload
}

func checkContent(t *testing.T, p *Payload, content *signature.EnvelopeContent) {
	t.Helper()
	attributes := content.SignerInfo.SignedAttributes
	names := map[signature.Algorithm]string{
		signature.AlgorithmPS256: "PS256", signature.AlgorithmPS384: "PS384", signature.AlgorithmPS512: "PS512",
		signature.AlgorithmES256: "ES256", signature.AlgorithmES384: "ES384", signature.AlgorithmES512: "ES512",
	}
	if names[content.SignerInfo.SignatureAlgorithm] != p.Algorithm || !attributes.SigningTime.Equal(p.SigningTime) || !attributes.Expiry.Equal(p.Expiry) {
		t.Errorf("read %+v, verifiers read %+v", p, content.SignerInfo)
	}
	if attributes.SigningScheme != signature.SigningSchemeX509 || content.Payload.ContentType != contentType || len(attributes.ExtendedAttributes) > 0 {
		t.Errorf("verifiers read %+v of the content type %s", attributes, content.Payload.ContentType)
	}
	var payload struct {
		TargetArtifact ocispec.Descriptor `json:"targetArtifact"`
	}
	if err := json.Unmarshal(content.Payload.Content, &payload); err != nil {
		t.Fatal(err)
	}
	is, got := p.Target, payload.TargetArtifact
	if is.MediaType != got.MediaType || is.Digest != got.Digest.String() || is.Size != got.Size || is.ArtifactType != got.ArtifactType || !maps.Equal(is.Annotations, got.Annotations) {
		t.Errorf("read %+v, verifiers read %+v", is, got)
	}
	if err := got.Digest.Validate(); err != nil {
		t.Error(err)
	}
	if rest := fmt.Sprint(got.URLs, got.Data, got.Platform); rest != "[] [] <nil>" {
		t.Errorf("verifiers read more: %s", rest)
	}
}
