// SPDX-License-Identifier: Apache-2.0

package sign

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/notaryproject/notation-core-go/signature"
	"github.com/notaryproject/notation-go"
	notationsigner "github.com/notaryproject/notation-go/signer"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/notation-pkcs11/notation-pkcs11/action/registry"
	"github.com/notation-pkcs11/notation-pkcs11/action/report"
)

// annotationThumbprints is the annotation of a signature manifest with the
// thumbprints of the certificate chain: signature specification, "Storage".
const annotationThumbprints = "io.cncf.notary.x509chain.thumbprint#S256"

// Signer makes signatures with one key. It is safe for concurrent use.
type Signer struct {
	Key          Key
	EnvelopeType string // media type
	UserMetadata map[string]string
	Expiry       time.Duration
	Timestamping *Timestamping // nil: none

	// RenewWithin is how long a signature that is there must go on to verify so that
	// no other is made.
	RenewWithin time.Duration
	// Validity says until when a signature verifies. Nil: nobody knows, and none ends.
	Validity func(ctx context.Context, t registry.Target, info *signature.SignerInfo, blob []byte, mediaType string) report.Validity

	mu    sync.Mutex // one probe at a time
	chain []*x509.Certificate
}

// made is a signature that is not in a registry yet.
type made struct {
	Envelope    []byte
	Info        *signature.SignerInfo // what is in it
	Annotations map[string]string     // for the signature manifest
}

// Sign signs an artifact, as notation does: the payload is the descriptor of
// its manifest, with the user metadata as annotations.
func (s *Signer) Sign(ctx context.Context, artifact ocispec.Descriptor) (made, error) {
	return s.make(ctx, artifact, s.Timestamping)
}

func (s *Signer) make(ctx context.Context, artifact ocispec.Descriptor, stamp *Timestamping) (made, error) {
	options := notation.SignerSignOptions{SignatureMediaType: s.EnvelopeType, ExpiryDuration: s.Expiry}
	if stamp != nil {
		options.Timestamper = stamp.timestamper
		options.TSARootCAs = stamp.roots
		options.TSARevocationValidator = stamp.revocation
	}
	once, err := s.Key.signer()
	if err != nil {
		return made{}, err
	}
	payload := ocispec.Descriptor{
		MediaType:   artifact.MediaType,
		Digest:      artifact.Digest,
		Size:        artifact.Size,
		Annotations: s.UserMetadata,
	}
	envelope, info, err := once.Sign(ctx, payload, options)
	if err != nil {
		return made{}, err
	}
	var extra map[string]string
	if plugin, ok := once.(*notationsigner.PluginSigner); ok {
		extra = plugin.PluginAnnotations()
	}
	annotations, err := manifestAnnotations(info, extra)
	if err != nil {
		return made{}, err
	}
	return made{envelope, info, annotations}, nil
}

// Denied reports whether the key's plugin said that the key may not be used: the PIN is
// wrong or missing, or the key may not sign. It is not asked again.
func (s *Signer) Denied() bool {
	key, ok := s.Key.(pluginKey)
	return ok && key.plugin.isDenied()
}

// manifestAnnotations are those of notation v1.3, with the plugin's own below
// them.
func manifestAnnotations(info *signature.SignerInfo, extra map[string]string) (map[string]string, error) {
	list, err := thumbprints(info.CertificateChain)
	if err != nil {
		return nil, fmt.Errorf("annotations of the signature manifest: %w", err)
	}
	annotations := maps.Clone(extra)
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[annotationThumbprints] = list
	annotations[ocispec.AnnotationCreated] = info.SignedAttributes.SigningTime.UTC().Format(time.RFC3339)
	return annotations, nil
}

// thumbprints is the value of annotationThumbprints for a chain.
func thumbprints(chain []*x509.Certificate) (string, error) {
	var list []string
	for _, cert := range chain {
		sum := sha256.Sum256(cert.Raw)
		list = append(list, hex.EncodeToString(sum[:]))
	}
	text, err := json.Marshal(list)
	return string(text), err
}

// certificates returns the key's certificate chain. A plugin shows it with a
// signature and not before, so if there is none yet, it makes one for the artifact,
// which is thrown away.
func (s *Signer) certificates(ctx context.Context, artifact ocispec.Descriptor) ([]*x509.Certificate, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.chain == nil {
		probe, err := s.make(ctx, artifact, nil)
		if err != nil {
			return nil, err
		}
		s.chain = probe.Info.CertificateChain
	}
	return s.chain, nil
}
