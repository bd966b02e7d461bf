// SPDX-License-Identifier: Apache-2.0

package envelope

import (
	"bytes"
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
	"github.com/notaryproject/notation-go/plugin/proto"
	notationverifier "github.com/notaryproject/notation-go/verifier"
	"github.com/notaryproject/tspclient-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/notation-pkcs11/notation-pkcs11/action/report"
)

// Bounds of what is kept of an envelope, which can be megabytes of anything.
const (
	maxClaim    = 1 << 10 // bytes
	maxMetadata = 64
	maxChain    = 16
)

// formats names envelope types as the input signature_format does.
var formats = map[string]string{
	cose.MediaTypeEnvelope: "cose",
	jws.MediaTypeEnvelope:  "jws",
}

// ReadClaims reads an envelope, of which the content is known if it has
// integrity. What can't be read stays empty. Texts are cut to a bounded length,
// and are not escaped.
func ReadClaims(mediaType string, envelope []byte, content *signature.EnvelopeContent) report.Claims {
	c := report.Claims{Format: formats[mediaType]}
	if c.Format == "" {
		c.Format = Clip(mediaType)
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
	signer := content.SignerInfo
	c.Scheme = Clip(string(signer.SignedAttributes.SigningScheme))
	if name, err := proto.EncodeSigningAlgorithm(signer.SignatureAlgorithm); err == nil {
		c.Algorithm = string(name)
	}
	c.SigningTime = timeOrNil(signer.SignedAttributes.SigningTime)
	c.Expiry = timeOrNil(signer.SignedAttributes.Expiry)
	c.Agent = Clip(signer.UnsignedAttributes.SigningAgent)
	if attribute, err := signer.ExtendedAttribute(notationverifier.HeaderVerificationPlugin); err == nil {
		c.Plugin = Clip(fmt.Sprint(attribute.Value))
	}
	c.Certificates = describeChain(signer.CertificateChain)
	c.Timestamp = readTimestamp(signer)
	if signed, err := SignedArtifact(content); err == nil {
		c.UserMetadata = clipMetadata(signed.Annotations)
	}
	return c
}

// Open returns what is in an envelope whose signature is that of the
// certificate in it.
func Open(mediaType string, blob []byte) (*signature.EnvelopeContent, error) {
	envelope, err := signature.ParseEnvelope(mediaType, blob)
	if err != nil {
		return nil, err
	}
	return envelope.Verify()
}

// SignedArtifact returns the descriptor that an envelope is the signature of.
// Its annotations are the user metadata.
func SignedArtifact(content *signature.EnvelopeContent) (ocispec.Descriptor, error) {
	var payload struct {
		TargetArtifact ocispec.Descriptor `json:"targetArtifact"`
	}
	if err := json.Unmarshal(content.Payload.Content, &payload); err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("the payload names no artifact: %w", err)
	}
	return payload.TargetArtifact, nil
}

// DescribeCertificate describes a certificate.
func DescribeCertificate(cert *x509.Certificate) report.Certificate {
	return describe(cert, nil, "")
}

// describe describes a certificate, of which the one above it may be known with its
// subject: to put a name into words takes longer than to compare it.
func describe(cert, above *x509.Certificate, subjectAbove string) report.Certificate {
	thumbprint := sha256.Sum256(cert.Raw)
	subject, issuer := Clip(cert.Subject.String()), subjectAbove
	switch {
	case bytes.Equal(cert.RawIssuer, cert.RawSubject):
		issuer = subject
	case above == nil || !bytes.Equal(cert.RawIssuer, above.RawSubject):
		issuer = Clip(cert.Issuer.String())
	}
	return report.Certificate{
		Subject:    subject,
		Issuer:     issuer,
		Serial:     Clip(cert.SerialNumber.Text(16)),
		Thumbprint: hex.EncodeToString(thumbprint[:]),
		NotBefore:  report.Time(cert.NotBefore),
		NotAfter:   report.Time(cert.NotAfter),
	}
}

// describeChain describes the first certificates of a chain.
func describeChain(chain []*x509.Certificate) []report.Certificate {
	list := make([]report.Certificate, min(maxChain, len(chain)))
	var above *x509.Certificate
	subject := ""
	for i := len(list) - 1; i >= 0; i-- {
		list[i] = describe(chain[i], above, subject)
		above, subject = chain[i], list[i].Subject
	}
	return list
}

// readTimestamp reads a signature's countersignature. It does not verify it.
func readTimestamp(signer signature.SignerInfo) *report.Timestamp {
	if len(signer.UnsignedAttributes.TimestampSignature) == 0 {
		return nil
	}
	token, err := tspclient.ParseSignedToken(signer.UnsignedAttributes.TimestampSignature)
	if err != nil {
		return &report.Timestamp{Error: report.Message(err)}
	}
	info, err := token.Info()
	if err != nil {
		return &report.Timestamp{Error: report.Message(err)}
	}
	stamped, err := info.Validate(signer.Signature)
	if err != nil {
		return &report.Timestamp{Error: report.Message(err)}
	}
	t := &report.Timestamp{Time: timeOrNil(stamped.Value), Accuracy: stamped.Accuracy.String()}
	for i := range token.SignerInfos {
		if cert, err := token.SigningCertificate(&token.SignerInfos[i]); err == nil {
			t.Authority = Clip(cert.Subject.String())
			break
		}
	}
	return t
}

// timeOrNil is a time that an envelope has, nil if it has none.
func timeOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = report.Time(t)
	return &t
}

// Clip bounds a text. It copies it, so that the envelope can be forgotten.
func Clip(text string) string {
	if len(text) > maxClaim {
		text = strings.ToValidUTF8(text[:maxClaim], "") + "…"
	}
	return strings.Clone(text)
}

// ClipError bounds an error, which may repeat what is in an envelope.
func ClipError(err error) error {
	if err == nil || len(err.Error()) <= maxClaim {
		return err
	}
	return errors.New(Clip(err.Error()))
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
		clipped[Clip(key)] = Clip(metadata[key])
	}
	return clipped
}
