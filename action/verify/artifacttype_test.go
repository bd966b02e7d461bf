// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"

	"github.com/notation-pkcs11/notation-pkcs11/action/registry"
	"github.com/notation-pkcs11/notation-pkcs11/action/report"
	"github.com/notation-pkcs11/notation-pkcs11/testenv"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/signed"
)

// The main branch of notation-go says what a signature manifest is by its artifact type,
// with the empty config. It counts as one whose config says so, in any registry.
func TestSignatureManifestWithArtifactType(t *testing.T) {
	for _, kind := range testenv.RegistryKinds {
		t.Run(kind.Name, func(t *testing.T) {
			w := newVerifyWorld(t)
			w.Registry = testenv.Start(t, kind.New)
			var err error
			if w.Repository, err = w.Registry.Repository(signed.Repository); err != nil {
				t.Fatal(err)
			}
			image := w.Image("app")
			blob, mediaType := w.Envelope(w.Good, image, signed.How{})
			layer, err := oras.PushBytes(t.Context(), w.Repository, mediaType, blob)
			if err != nil {
				t.Fatal(err)
			}
			// As notation-go's registry.Repository.PushSignature does there.
			manifest, err := oras.PackManifest(t.Context(), w.Repository, oras.PackManifestVersion1_1, registry.ArtifactTypeSignature, oras.PackManifestOptions{
				Subject: &image, Layers: []ocispec.Descriptor{layer},
			})
			if err != nil {
				t.Fatal(err)
			}
			v, err := w.verify("app", Options{}, nil)
			if err != nil || v.Verdict != report.Verified || len(v.Signatures) != 1 || v.Signatures[0].Digest != manifest.Digest.String() {
				t.Errorf("%+v, %v", v, err)
			}
		})
	}
}
