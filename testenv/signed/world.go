// SPDX-License-Identifier: Apache-2.0

// Package signed has artifacts that are signed in many ways, good and bad, for tests
// of what reads and verifies signatures. Start with [NewWorld].
package signed

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/notaryproject/notation-core-go/signature"
	"github.com/notaryproject/notation-core-go/signature/cose"
	notationregistry "github.com/notaryproject/notation-go/registry"
	"github.com/notaryproject/notation-go/verifier/trustpolicy"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/registry/remote"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/pki"
)

// World has a registry with artifacts that are signed in many ways, and a
// trust store for some of the signers.
type World struct {
	TB         testing.TB
	Registry   *testenv.Registry
	Repository *remote.Repository
	Servers    *pki.StatusServer
	Store      string // a trust store's directory

	Root, Intermediate *pki.Certificate
	Good               *pki.Certificate // signer below intermediate
}

// Repository is where all artifacts of a signedWorld are.
const Repository = "acme/app"

// NewWorld starts the registry and the servers; they end with the test.
func NewWorld(tb testing.TB) *World {
	tb.Helper()
	w := &World{TB: tb, Registry: testenv.Start(tb, testenv.NewRegistry), Store: filepath.Join(tb.TempDir(), "truststore")}
	w.Servers = pki.NewStatusServer(tb)
	w.Root = pki.New(tb, "acme root", nil, pki.AsAuthority)
	w.Intermediate = pki.New(tb, "acme intermediate", w.Root, pki.AsAuthority)
	w.Good = pki.New(tb, "release", w.Intermediate, pki.AsSigner)
	w.Servers.Add(w.Root, w.Intermediate)
	w.Trusts("ca/acme", w.Root)
	var err error
	if w.Repository, err = w.Registry.Repository(Repository); err != nil {
		tb.Fatal(err)
	}
	return w
}

// Scope is the registry scope of all artifacts.
func (w *World) Scope() string { return w.Registry.Host + "/" + Repository }

// Trusts puts a certificate into a store, such as "ca/acme".
func (w *World) Trusts(store string, c *pki.Certificate) {
	w.TB.Helper()
	dir := filepath.Join(w.Store, "x509", filepath.FromSlash(store))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		w.TB.Fatal(err)
	}
	w.write(filepath.Join(dir, c.Cert.SerialNumber.String()+".pem"), testenv.EncodePEM(c.Cert))
}

func (w *World) write(path string, content []byte) {
	w.TB.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		w.TB.Fatal(err)
	}
}

// Image pushes an artifact.
func (w *World) Image(tag string) ocispec.Descriptor {
	w.TB.Helper()
	desc, err := w.Registry.PushImage(w.TB.Context(), Repository, tag)
	if err != nil {
		w.TB.Fatal(err)
	}
	return desc
}

// How is how an envelope is made. The zero value of each field is what
// notation does.
type How struct {
	MediaType string
	Scheme    signature.SigningScheme
	At        time.Time
	Expiry    time.Time
	Metadata  map[string]string
	Stamp     *pki.TimestampAuthority
	Plugin    string // the verification plugin that the signature asks for
}

// Envelope signs an artifact. It returns the media type, too.
func (w *World) Envelope(by *pki.Certificate, artifact ocispec.Descriptor, s How) ([]byte, string) {
	w.TB.Helper()
	return Envelope(w.TB, by, artifact, s)
}

// Envelope makes the envelope of a signature of an artifact. It returns the
// media type, too.
func Envelope(tb testing.TB, by *pki.Certificate, artifact ocispec.Descriptor, s How) ([]byte, string) {
	tb.Helper()
	signer, err := signature.NewLocalSigner(by.Chain(), crypto.PrivateKey(by.Key))
	if err != nil {
		tb.Fatal(err)
	}
	signed := ocispec.Descriptor{MediaType: artifact.MediaType, Digest: artifact.Digest, Size: artifact.Size, Annotations: s.Metadata}
	payload, err := json.Marshal(map[string]any{"targetArtifact": signed})
	if err != nil {
		tb.Fatal(err)
	}
	req := &signature.SignRequest{
		Payload:       signature.Payload{ContentType: "application/vnd.cncf.notary.payload.v1+json", Content: payload},
		Signer:        signer,
		SigningTime:   time.Now(),
		Expiry:        s.Expiry,
		SigningScheme: signature.SigningSchemeX509,
	}
	if !s.At.IsZero() {
		req.SigningTime = s.At
	}
	if s.Scheme != "" {
		req.SigningScheme = s.Scheme
	}
	if s.Stamp != nil {
		req.Timestamper, req.TSARootCAs = s.Stamp, x509.NewCertPool()
		req.TSARootCAs.AddCert(s.Stamp.Signer.Issuer.Cert)
	}
	if s.Plugin != "" {
		req.ExtendedSignedAttributes = []signature.Attribute{
			{Key: "io.cncf.notary.verificationPlugin", Critical: true, Value: s.Plugin},
		}
	}
	mediaType := s.MediaType
	if mediaType == "" {
		mediaType = cose.MediaTypeEnvelope
	}
	envelope, err := signature.NewEnvelope(mediaType)
	if err != nil {
		tb.Fatal(err)
	}
	blob, err := envelope.Sign(req)
	if err != nil {
		tb.Fatal(err)
	}
	return blob, mediaType
}

// Attach pushes an envelope as the signature of an artifact.
func (w *World) Attach(artifact ocispec.Descriptor, blob []byte, mediaType string) ocispec.Descriptor {
	w.TB.Helper()
	return w.AttachAnnotated(artifact, blob, mediaType, nil)
}

// AttachAnnotated is Attach, with annotations for the signature manifest.
func (w *World) AttachAnnotated(artifact ocispec.Descriptor, blob []byte, mediaType string, annotations map[string]string) ocispec.Descriptor {
	w.TB.Helper()
	_, manifest, err := notationregistry.NewRepository(w.Repository).PushSignature(w.TB.Context(), mediaType, blob, artifact, annotations)
	if err != nil {
		w.TB.Fatal(err)
	}
	return manifest
}

// Sign signs an artifact and pushes the signature.
func (w *World) Sign(by *pki.Certificate, artifact ocispec.Descriptor, s How) ocispec.Descriptor {
	w.TB.Helper()
	blob, mediaType := w.Envelope(by, artifact, s)
	return w.Attach(artifact, blob, mediaType)
}

// AttachBroken pushes a signature manifest with two envelopes.
func (w *World) AttachBroken(artifact ocispec.Descriptor) {
	w.TB.Helper()
	ctx := w.TB.Context()
	blob, mediaType := w.Envelope(w.Good, artifact, How{})
	layer, err := oras.PushBytes(ctx, w.Repository, mediaType, blob)
	if err != nil {
		w.TB.Fatal(err)
	}
	config, err := oras.PushBytes(ctx, w.Repository, "application/vnd.cncf.notary.signature", []byte("{}"))
	if err != nil {
		w.TB.Fatal(err)
	}
	_, err = oras.PackManifest(ctx, w.Repository, oras.PackManifestVersion1_1, "", oras.PackManifestOptions{
		Subject: &artifact, ConfigDescriptor: &config, Layers: []ocispec.Descriptor{layer, layer},
	})
	if err != nil {
		w.TB.Fatal(err)
	}
}

// FlipLast changes the last byte of an envelope; in COSE that is in the
// signature.
func FlipLast(blob []byte) []byte {
	blob = bytes.Clone(blob)
	blob[len(blob)-1] ^= 1
	return blob
}

// Statement is a statement for all artifacts: level strict, any signer below
// the store ca:acme.
func Statement(change func(*trustpolicy.TrustPolicy)) trustpolicy.TrustPolicy {
	s := trustpolicy.TrustPolicy{
		Name:                  "acme",
		RegistryScopes:        []string{"*"},
		SignatureVerification: trustpolicy.SignatureVerification{VerificationLevel: "strict"},
		TrustStores:           []string{"ca:acme"},
		TrustedIdentities:     []string{"*"},
	}
	if change != nil {
		change(&s)
	}
	return s
}

// PolicyJSON is a trust policy of statements.
func PolicyJSON(tb testing.TB, statements ...trustpolicy.TrustPolicy) string {
	tb.Helper()
	text, err := json.Marshal(trustpolicy.Document{Version: "1.0", TrustPolicies: statements})
	if err != nil {
		tb.Fatal(err)
	}
	return string(text)
}

// SignedAt has a JWS claim another signing time, which breaks the signature.
func SignedAt(tb testing.TB, blob []byte, at time.Time) []byte {
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
