// SPDX-License-Identifier: Apache-2.0

package action

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/notaryproject/notation-core-go/signature"
	"github.com/notaryproject/notation-core-go/signature/cose"
	"github.com/notaryproject/notation-core-go/signature/jws"
	notationverifier "github.com/notaryproject/notation-go/verifier"
	"github.com/notaryproject/tspclient-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// claims are what a signature envelope says of itself. They are worth as much
// as the checks of the signature say: anybody can write an envelope. Texts are
// cut to a bounded length, and are not escaped.
type claims struct {
	format       string // "cose", "jws", or the media type
	scheme       string // such as "notary.x509"
	algorithm    string // such as "PS256"
	chain        []certificate
	signingTime  time.Time
	expiry       time.Time // zero: none
	agent        string
	plugin       string // the verification plugin that the envelope asks for
	artifact     ocispec.Descriptor
	userMetadata map[string]string
	timestamp    *timestamp // nil: none
}

// certificate describes an X.509 certificate.
type certificate struct {
	subject, issuer, serial string    // the serial number is hexadecimal
	thumbprint              string    // SHA-256 of the DER, hexadecimal
	notBefore, notAfter     time.Time // the first and last moment of its validity
}

// timestamp describes an RFC 3161 countersignature.
type timestamp struct {
	time      time.Time
	accuracy  time.Duration // the time may be off by this, either way
	authority string        // subject of the certificate of the timestamping authority
	err       error         // why the countersignature can't be read; then the rest is empty
}

// Bounds of what is kept of an envelope, which can be megabytes of anything.
const (
	maxClaim    = 1 << 10 // bytes
	maxMetadata = 64
	maxChain    = 16
)

// algorithms names signature algorithms as the envelopes do.
var algorithms = map[signature.Algorithm]string{
	signature.AlgorithmPS256: "PS256",
	signature.AlgorithmPS384: "PS384",
	signature.AlgorithmPS512: "PS512",
	signature.AlgorithmES256: "ES256",
	signature.AlgorithmES384: "ES384",
	signature.AlgorithmES512: "ES512",
}

// formats names envelope types as the input signature_format does.
var formats = map[string]string{
	cose.MediaTypeEnvelope: "cose",
	jws.MediaTypeEnvelope:  "jws",
}

// readClaims reads an envelope, of which the content is known if it has
// integrity. What can't be read stays empty.
func readClaims(mediaType string, envelope []byte, content *signature.EnvelopeContent) claims {
	c := claims{format: formats[mediaType]}
	if c.format == "" {
		c.format = clip(mediaType)
	}
	if content == nil {
		parsed, err := signature.ParseEnvelope(mediaType, envelope)
		if err != nil {
			return c
		}
		if content, err = parsed.Content(); err != nil {
			return c
		}
	}
	c.read(content)
	return c
}

// read takes over the content of an envelope.
func (c *claims) read(content *signature.EnvelopeContent) {
	signer := content.SignerInfo
	c.scheme = clip(string(signer.SignedAttributes.SigningScheme))
	c.algorithm = algorithms[signer.SignatureAlgorithm]
	c.signingTime = signer.SignedAttributes.SigningTime
	c.expiry = signer.SignedAttributes.Expiry
	c.agent = clip(signer.UnsignedAttributes.SigningAgent)
	if attribute, err := signer.ExtendedAttribute(notationverifier.HeaderVerificationPlugin); err == nil {
		c.plugin = clip(fmt.Sprint(attribute.Value))
	}
	for _, cert := range signer.CertificateChain[:min(maxChain, len(signer.CertificateChain))] {
		c.chain = append(c.chain, describe(cert))
	}
	c.timestamp = readTimestamp(signer)
	if signed, err := signedArtifact(content); err == nil {
		c.artifact = ocispec.Descriptor{MediaType: clip(signed.MediaType), Digest: signed.Digest, Size: signed.Size}
		c.userMetadata = clipMetadata(signed.Annotations)
	}
}

// signedArtifact returns the descriptor that an envelope is the signature of.
// Its annotations are the user metadata.
func signedArtifact(content *signature.EnvelopeContent) (ocispec.Descriptor, error) {
	var payload struct {
		TargetArtifact ocispec.Descriptor `json:"targetArtifact"`
	}
	if err := json.Unmarshal(content.Payload.Content, &payload); err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("the payload names no artifact: %w", err)
	}
	return payload.TargetArtifact, nil
}

// describe describes a certificate.
func describe(cert *x509.Certificate) certificate {
	thumbprint := sha256.Sum256(cert.Raw)
	return certificate{
		subject:    clip(cert.Subject.String()),
		issuer:     clip(cert.Issuer.String()),
		serial:     clip(cert.SerialNumber.Text(16)),
		thumbprint: hex.EncodeToString(thumbprint[:]),
		notBefore:  cert.NotBefore,
		notAfter:   cert.NotAfter,
	}
}

// readTimestamp reads a signature's countersignature. It does not verify it.
func readTimestamp(signer signature.SignerInfo) *timestamp {
	if len(signer.UnsignedAttributes.TimestampSignature) == 0 {
		return nil
	}
	token, err := tspclient.ParseSignedToken(signer.UnsignedAttributes.TimestampSignature)
	if err != nil {
		return &timestamp{err: err}
	}
	info, err := token.Info()
	if err != nil {
		return &timestamp{err: err}
	}
	stamped, err := info.Validate(signer.Signature)
	if err != nil {
		return &timestamp{err: err}
	}
	t := &timestamp{time: stamped.Value, accuracy: stamped.Accuracy}
	for i := range token.SignerInfos {
		if cert, err := token.SigningCertificate(&token.SignerInfos[i]); err == nil {
			t.authority = clip(cert.Subject.String())
			break
		}
	}
	return t
}

// clip bounds a text. It copies it, so that the envelope can be forgotten.
func clip(text string) string {
	if len(text) > maxClaim {
		text = strings.ToValidUTF8(text[:maxClaim], "") + "…"
	}
	return strings.Clone(text)
}

// clipError bounds an error, which may repeat what is in an envelope.
func clipError(err error) error {
	if err == nil || len(err.Error()) <= maxClaim {
		return err
	}
	return errors.New(clip(err.Error()))
}

// clipMetadata bounds user metadata: the first entries in the order of their
// keys.
func clipMetadata(metadata map[string]string) map[string]string {
	if len(metadata) == 0 {
		return nil
	}
	keys := slices.Sorted(maps.Keys(metadata))
	clipped := make(map[string]string, min(len(keys), maxMetadata))
	for _, key := range keys[:min(len(keys), maxMetadata)] {
		clipped[clip(key)] = clip(metadata[key])
	}
	return clipped
}
