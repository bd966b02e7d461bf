// SPDX-License-Identifier: Apache-2.0

// Package payload reads what notation has a plugin sign, before it is signed.
//
// A signature over any other bytes would be one over something else: a JSON Web
// Token, a certificate, a firmware image. [Parse] takes the exact bytes of the
// request generate-signature and returns a [Payload], or an error that names what
// does not belong there. It is stricter than the decoders of those who verify, so
// that it can't read one thing where they read another: whatever it accepts,
// notation-core-go reads with the same meaning.
//
// The package loads no token, knows no key, and decodes with the standard library
// and a reader of its own for the little CBOR that there is: the plugin starts
// three times for each signature.
//
// Sections named in comments are those of the Notary Project's specifications
// signature-specification.md, signature-envelope-jws.md and
// signature-envelope-cose.md.
package payload

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"errors"
	"fmt"
	"time"
)

// The formats of signature envelopes.
const (
	FormatJWS  = "jws"
	FormatCOSE = "cose"
)

// Payload is what a signature is about to say.
type Payload struct {
	// Format is that of the envelope, FormatJWS or FormatCOSE.
	Format string
	// Algorithm is the one that the protected header names, as JOSE spells it:
	// PS256, PS384, PS512, ES256, ES384 or ES512.
	Algorithm string
	// SigningTime is what the signer's clock said, in whole seconds of UTC. No
	// other party vouches for it.
	SigningTime time.Time
	// Expiry is until when the signer recommends the artifact, in whole seconds of
	// UTC. Zero: for ever.
	Expiry time.Time
	// Target is the artifact.
	Target Descriptor
}

// Descriptor is that of the artifact in the payload: an OCI image manifest, or a
// blob. Its texts come from the requester.
type Descriptor struct {
	// MediaType is never empty.
	MediaType string
	// Digest is such as sha256:… in lower-case hexadecimal; SHA-384 and SHA-512 are
	// the other algorithms.
	Digest string
	// Size is in bytes, 0 or more.
	Size int64
	// ArtifactType is mostly empty.
	ArtifactType string
	// Annotations hold the user metadata; nil if there are none.
	Annotations map[string]string
}

// What the specifications fix.
const (
	contentType   = "application/vnd.cncf.notary.payload.v1+json"
	signingScheme = "notary.x509"

	headerSigningScheme = "io.cncf.notary.signingScheme"
	headerSigningTime   = "io.cncf.notary.signingTime"
	headerExpiry        = "io.cncf.notary.expiry"
)

// maxMessage bounds a message in bytes. A payload is a descriptor with annotations,
// a few kilobytes; the plugin's requests are bounded by as much.
const maxMessage = 4 << 20

// Parse reads the bytes that notation hands to generate-signature: of a JWS the
// signing input (RFC 7515, section 5.1), of a COSE_Sign1 the Sig_structure (RFC
// 9052, section 4.4). Errors name what was found, with foreign text quoted and
// bounded.
func Parse(message []byte) (*Payload, error) {
	switch {
	case len(message) > maxMessage:
		return nil, fmt.Errorf("the message has %d bytes; a Notary Project payload has at most %d", len(message), maxMessage)
	case len(message) == 0:
		return nil, errors.New("the message is empty, so it is no Notary Project payload")
	case message[0] == cborArray<<5|4:
		p, err := parseCOSE(message)
		return refused(p, err, "COSE Sig_structure")
	case message[0] == 'e': // a JSON object in base64url
		p, err := parseJWS(message)
		return refused(p, err, "JWS signing input")
	}
	return nil, fmt.Errorf("the message is no Notary Project payload: it begins with the byte 0x%02x, as neither a JWS signing input nor a COSE Sig_structure does", message[0])
}

// refused gives an error its beginning.
func refused(p *Payload, err error, what string) (*Payload, error) {
	if err != nil {
		return nil, fmt.Errorf("the message is no Notary Project payload: %s: %w", what, err)
	}
	return p, nil
}

// claims is what a protected header says, in either format.
type claims struct {
	algorithm   string
	contentType string
	scheme      string
	critical    []string
	signingTime time.Time
	expiry      time.Time
}

// check holds a header against the specification, section "Signed Attributes".
func (c claims) check() error {
	switch {
	case c.contentType != contentType:
		return fmt.Errorf("the content type is %s, not %s", quote(c.contentType), contentType)
	case c.scheme != signingScheme:
		return fmt.Errorf("the signing scheme is %s; %s alone is signed", quote(c.scheme), signingScheme)
	case algorithms[c.algorithm] == algorithm{}:
		return fmt.Errorf("the algorithm is %s, which the Notary Project doesn't use", quote(c.algorithm))
	case c.signingTime.IsZero():
		return errors.New("there is no signing time")
	case !c.expiry.IsZero() && !c.expiry.After(c.signingTime):
		return fmt.Errorf("the expiry %s is not after the signing time %s", c.expiry.Format(time.RFC3339), c.signingTime.Format(time.RFC3339))
	}
	return c.checkCritical()
}

// checkCritical wants the headers in "crit" that the specification wants there, each
// once, and no others.
func (c claims) checkCritical() error {
	missing := map[string]bool{headerSigningScheme: true}
	if !c.expiry.IsZero() {
		missing[headerExpiry] = true
	}
	for _, name := range c.critical {
		if !missing[name] {
			return fmt.Errorf("the header %s is marked as critical, which is unknown, or was said before", quote(name))
		}
		delete(missing, name)
	}
	for name := range missing {
		return fmt.Errorf("the header %q is not marked as critical", name)
	}
	return nil
}

// payload joins what the header and the payload say.
func (c claims) payload(format string, content []byte) (*Payload, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	target, err := parseTarget(content)
	if err != nil {
		return nil, err
	}
	return &Payload{Format: format, Algorithm: c.algorithm, SigningTime: c.signingTime, Expiry: c.expiry, Target: target}, nil
}

// algorithm is a signature algorithm with what it is called in COSE (RFC 9053,
// section 2.1; RFC 8230, section 2) and the one type and size of key that it goes
// with.
type algorithm struct {
	cose int64
	rsa  bool
	bits int // of the modulus, in whole bytes, or of the curve
}

// algorithms is the table of them by their names in JOSE (RFC 7518, section 3.1):
// signature specification, section "Algorithm Selection". A test of the package
// plugin holds it against that of the contract's key specs.
var algorithms = map[string]algorithm{
	"PS256": {-37, true, 2048},
	"PS384": {-38, true, 3072},
	"PS512": {-39, true, 4096},
	"ES256": {-7, false, 256},
	"ES384": {-35, false, 384},
	"ES512": {-36, false, 521},
}

// CheckAlgorithm returns an error if the header names another algorithm than that
// of the key, an *rsa.PublicKey or *ecdsa.PublicKey. The signature would be made
// with the key's, and its envelope would say something else.
func (p *Payload) CheckAlgorithm(public crypto.PublicKey) error {
	var of algorithm
	switch key := public.(type) {
	case *rsa.PublicKey:
		of = algorithm{rsa: true, bits: key.Size() * 8}
	case *ecdsa.PublicKey:
		of = algorithm{bits: key.Curve.Params().BitSize}
	default:
		return fmt.Errorf("the key is of the type %T, which the Notary Project doesn't use", public)
	}
	is := algorithms[p.Algorithm]
	is.cose = 0
	if is != of {
		return fmt.Errorf("the header names the algorithm %s, which is not that of the key, %s", p.Algorithm, of)
	}
	return nil
}

// String names the key.
func (a algorithm) String() string {
	if a.rsa {
		return fmt.Sprintf("RSA-%d", a.bits)
	}
	return fmt.Sprintf("P-%d", a.bits)
}

// quote repeats a foreign text in an error, bounded and with escapes for all that
// can't be printed.
func quote(s string) string { return fmt.Sprintf("%+.80q", s) }
