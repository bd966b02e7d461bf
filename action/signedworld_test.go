// SPDX-License-Identifier: Apache-2.0

package action

import (
	"bytes"
	"crypto"
	"crypto/x509"
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
)

// signedWorld has a registry with artifacts that are signed in many ways, and a
// trust store for some of the signers.
type signedWorld struct {
	tb         testing.TB
	registry   *testenv.Registry
	repository *remote.Repository
	servers    *statusServer
	store      string // a trust store's directory

	root, intermediate *testCertificate
	good               *testCertificate // signer below intermediate
}

// testRepository is where all artifacts of a signedWorld are.
const testRepository = "acme/app"

func newSignedWorld(tb testing.TB) *signedWorld {
	tb.Helper()
	w := &signedWorld{tb: tb, registry: testenv.Start(tb, testenv.NewRegistry), store: filepath.Join(tb.TempDir(), "truststore")}
	w.servers = newStatusServer(tb)
	w.root = newCertificate(tb, "acme root", nil, asAuthority)
	w.intermediate = newCertificate(tb, "acme intermediate", w.root, asAuthority)
	w.good = newCertificate(tb, "release", w.intermediate, asSigner)
	w.servers.add(w.root, w.intermediate)
	w.trusts("ca/acme", w.root)
	var err error
	if w.repository, err = w.registry.Repository(testRepository); err != nil {
		tb.Fatal(err)
	}
	return w
}

// scope is the registry scope of all artifacts.
func (w *signedWorld) scope() string { return w.registry.Host + "/" + testRepository }

// trusts puts a certificate into a store, such as "ca/acme".
func (w *signedWorld) trusts(store string, c *testCertificate) {
	w.tb.Helper()
	dir := filepath.Join(w.store, "x509", filepath.FromSlash(store))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		w.tb.Fatal(err)
	}
	w.write(filepath.Join(dir, c.cert.SerialNumber.String()+".pem"), testenv.EncodePEM(c.cert))
}

func (w *signedWorld) write(path string, content []byte) {
	w.tb.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		w.tb.Fatal(err)
	}
}

// image pushes an artifact.
func (w *signedWorld) image(tag string) ocispec.Descriptor {
	w.tb.Helper()
	desc, err := w.registry.PushImage(w.tb.Context(), testRepository, tag)
	if err != nil {
		w.tb.Fatal(err)
	}
	return desc
}

// signing is how an envelope is made. The zero value of each field is what
// notation does.
type signing struct {
	mediaType string
	scheme    signature.SigningScheme
	at        time.Time
	expiry    time.Time
	metadata  map[string]string
	stamp     *timestampAuthority
	plugin    string // the verification plugin that the signature asks for
}

// envelope signs an artifact. It returns the media type, too.
func (w *signedWorld) envelope(by *testCertificate, artifact ocispec.Descriptor, s signing) ([]byte, string) {
	w.tb.Helper()
	return signEnvelope(w.tb, by, artifact, s)
}

// signEnvelope makes the envelope of a signature of an artifact. It returns the
// media type, too.
func signEnvelope(tb testing.TB, by *testCertificate, artifact ocispec.Descriptor, s signing) ([]byte, string) {
	tb.Helper()
	signer, err := signature.NewLocalSigner(by.chain(), crypto.PrivateKey(by.key))
	if err != nil {
		tb.Fatal(err)
	}
	signed := ocispec.Descriptor{MediaType: artifact.MediaType, Digest: artifact.Digest, Size: artifact.Size, Annotations: s.metadata}
	payload, err := json.Marshal(map[string]any{"targetArtifact": signed})
	if err != nil {
		tb.Fatal(err)
	}
	req := &signature.SignRequest{
		Payload:       signature.Payload{ContentType: "application/vnd.cncf.notary.payload.v1+json", Content: payload},
		Signer:        signer,
		SigningTime:   time.Now(),
		Expiry:        s.expiry,
		SigningScheme: signature.SigningSchemeX509,
	}
	if !s.at.IsZero() {
		req.SigningTime = s.at
	}
	if s.scheme != "" {
		req.SigningScheme = s.scheme
	}
	if s.stamp != nil {
		req.Timestamper, req.TSARootCAs = s.stamp, x509.NewCertPool()
		req.TSARootCAs.AddCert(s.stamp.signer.issuer.cert)
	}
	if s.plugin != "" {
		req.ExtendedSignedAttributes = []signature.Attribute{
			{Key: "io.cncf.notary.verificationPlugin", Critical: true, Value: s.plugin},
		}
	}
	mediaType := s.mediaType
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

// attach pushes an envelope as the signature of an artifact.
func (w *signedWorld) attach(artifact ocispec.Descriptor, blob []byte, mediaType string) ocispec.Descriptor {
	w.tb.Helper()
	_, manifest, err := notationregistry.NewRepository(w.repository).PushSignature(w.tb.Context(), mediaType, blob, artifact, nil)
	if err != nil {
		w.tb.Fatal(err)
	}
	return manifest
}

// sign signs an artifact and pushes the signature.
func (w *signedWorld) sign(by *testCertificate, artifact ocispec.Descriptor, s signing) ocispec.Descriptor {
	w.tb.Helper()
	blob, mediaType := w.envelope(by, artifact, s)
	return w.attach(artifact, blob, mediaType)
}

// attachBroken pushes a signature manifest with two envelopes.
func (w *signedWorld) attachBroken(artifact ocispec.Descriptor) {
	w.tb.Helper()
	ctx := w.tb.Context()
	blob, mediaType := w.envelope(w.good, artifact, signing{})
	layer, err := oras.PushBytes(ctx, w.repository, mediaType, blob)
	if err != nil {
		w.tb.Fatal(err)
	}
	config, err := oras.PushBytes(ctx, w.repository, "application/vnd.cncf.notary.signature", []byte("{}"))
	if err != nil {
		w.tb.Fatal(err)
	}
	_, err = oras.PackManifest(ctx, w.repository, oras.PackManifestVersion1_1, "", oras.PackManifestOptions{
		Subject: &artifact, ConfigDescriptor: &config, Layers: []ocispec.Descriptor{layer, layer},
	})
	if err != nil {
		w.tb.Fatal(err)
	}
}

// flipLast changes the last byte of an envelope; in COSE that is in the
// signature.
func flipLast(blob []byte) []byte {
	blob = bytes.Clone(blob)
	blob[len(blob)-1] ^= 1
	return blob
}

// statementOf is a statement for all artifacts: level strict, any signer below
// the store ca:acme.
func statementOf(change func(*trustpolicy.TrustPolicy)) trustpolicy.TrustPolicy {
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

// policyJSON is a trust policy of statements.
func policyJSON(tb testing.TB, statements ...trustpolicy.TrustPolicy) string {
	tb.Helper()
	text, err := json.Marshal(trustpolicy.Document{Version: "1.0", TrustPolicies: statements})
	if err != nil {
		tb.Fatal(err)
	}
	return string(text)
}
