// SPDX-License-Identifier: Apache-2.0

package action

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/notaryproject/notation-go"
	notationregistry "github.com/notaryproject/notation-go/registry"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"

	"github.com/notation-pkcs11/notation-pkcs11/action/registry"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/registryfaults"
)

// storedSignatures are the signature manifests that the registry behind a proxy
// took, sorted.
func storedSignatures(proxy *registryfaults.Proxy) []digest.Digest {
	var stored []digest.Digest
	for _, request := range proxy.Requests() {
		if request.Class == registryfaults.PutManifest && request.Status == http.StatusCreated {
			stored = append(stored, digest.Digest(request.Path[strings.LastIndex(request.Path, "/")+1:]))
		}
	}
	slices.Sort(stored)
	return slices.Compact(stored)
}

// faultSubject is an image in a repository of its own, with an SBOM.
type faultSubject struct {
	kind       faultKind
	repository string
	image      ocispec.Descriptor
	sbom       json.RawMessage // its entry among the referrers
}

func newFaultSubject(t *testing.T, k faultKind, repository string) faultSubject {
	t.Helper()
	image, err := k.registry.PushImage(t.Context(), repository, "v1")
	if err != nil {
		t.Fatal(err)
	}
	client, err := k.registry.Repository(repository)
	if err != nil {
		t.Fatal(err)
	}
	// Its config is another than that of signatures, so that both are pushed.
	config, err := oras.PushBytes(t.Context(), client, "application/vnd.example.config", []byte(`{"sbom":true}`))
	if err != nil {
		t.Fatal(err)
	}
	_, err = oras.PackManifest(t.Context(), client, oras.PackManifestVersion1_1, "application/spdx+json", oras.PackManifestOptions{
		Subject: &image, ConfigDescriptor: &config, Layers: []ocispec.Descriptor{config}, ManifestAnnotations: map[string]string{"org.example.kept": "byte for byte"},
	})
	if err != nil {
		t.Fatal(err)
	}
	s := faultSubject{k, repository, image, nil}
	referrers := s.referrers(t)
	if len(referrers) != 1 {
		t.Fatalf("referrers are %s", referrers)
	}
	s.sbom = referrers[0]
	return s
}

// referrers are the entries that the registry lists, as it is asked directly.
func (s faultSubject) referrers(t *testing.T) []json.RawMessage {
	t.Helper()
	path := "referrers/" + s.image.Digest.String()
	if !s.kind.api {
		path = "manifests/" + registry.ReferrersTag(s.image.Digest)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.kind.registry.Host+"/v2/"+s.repository+"/"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", ocispec.MediaTypeImageIndex)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var index struct {
		Manifests []json.RawMessage `json:"manifests"`
	}
	if err := json.Unmarshal(content, &index); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%d %s: %v", resp.StatusCode, content, err)
	}
	return index.Manifests
}

// checkListing checks that the SBOM is listed as it was, and returns the signatures
// that are, sorted.
func (s faultSubject) checkListing(t *testing.T) []digest.Digest {
	t.Helper()
	var signatures []digest.Digest
	kept := 0
	for _, entry := range s.referrers(t) {
		var desc ocispec.Descriptor
		if err := json.Unmarshal(entry, &desc); err != nil {
			t.Fatal(err)
		}
		if string(entry) == string(s.sbom) {
			kept++
		}
		if desc.ArtifactType == registry.ArtifactTypeSignature {
			signatures = append(signatures, desc.Digest)
		}
	}
	if kept != 1 {
		t.Errorf("the SBOM is listed %d times", kept)
	}
	slices.Sort(signatures)
	return signatures
}

// checkVerifies checks with notation's own library that an image is signed, and of
// one image on each kind of registry with the command too.
func (w *faultWorld) checkVerifies(t *testing.T, s faultSubject) {
	t.Helper()
	client, err := s.kind.registry.Repository(s.repository)
	if err != nil {
		t.Fatal(err)
	}
	reference := s.kind.registry.Host + "/" + s.repository + "@" + s.image.Digest.String()
	_, _, err = notation.Verify(t.Context(), w.notation, notationregistry.NewRepository(client), notation.VerifyOptions{
		ArtifactReference:    reference,
		MaxSignatureAttempts: 10,
	})
	if err != nil {
		t.Errorf("notation: %v", err)
	}
	s.kind.sample.Do(func() {
		if result, err := w.command.Run(t.Context(), nil, "verify", reference); err != nil || result.ExitCode != 0 {
			t.Errorf("notation verify: exit code %d, %v\n%s", result.ExitCode, err, result.Stderr)
		}
	})
}
