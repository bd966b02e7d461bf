// SPDX-License-Identifier: Apache-2.0

package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

// What notation does after its releases of today: blobs, and signature manifests with an
// artifact type, which those releases verify, too. A blob that was changed is refused.
func TestNextNotationSignsArtifactsAndBlobs(t *testing.T) {
	executable := buildPlugin(t)
	hsm := testenv.Start(t, testenv.NewSoftHSM)
	token, err := hsm.AddStandardToken()
	if err != nil {
		t.Fatal(err)
	}
	pki, err := testenv.NewPKI()
	if err != nil {
		t.Fatal(err)
	}
	notation := testenv.Start(t, testenv.NewNotation)
	if err := notation.Trust(pki.Root); err != nil {
		t.Fatal(err)
	}
	const policy = `{"version":"1.0","trustPolicies":[{"name":"blobs","globalPolicy":true,"signatureVerification":{"level":"strict"},` +
		`"trustStores":["ca:testenv"],"trustedIdentities":["*"]}]}`
	testenv.PutFile(t, filepath.Join(notation.ConfigDir(), "trustpolicy.blob.json"), policy)
	if err := notation.InstallPlugin("pkcs11", executable); err != nil {
		t.Fatal(err)
	}
	next, err := notation.Next()
	if err != nil {
		t.Fatal(err)
	}
	registry := testenv.Start(t, testenv.NewRegistry)
	settings := []string{"module=" + hsm.Module, "pin_source=file:" + testenv.PutFile(t, filepath.Join(t.TempDir(), "pin"), token.PIN)}
	for _, label := range []string{"RSA-3072", "EC-384"} {
		key := token.Key(label)
		if _, err := pki.Certify(key); err != nil {
			t.Fatal(err)
		}
		for format, mediaType := range envelopeTypes {
			t.Run(key.Type.Name+" "+format, func(t *testing.T) {
				repository := strings.ToLower(key.Type.Name) + "/" + format
				image, err := registry.PushImage(t.Context(), repository, "v1")
				if err != nil {
					t.Fatal(err)
				}
				reference := registry.Host + "/" + repository + "@" + image.Digest.String()
				mustRun(t, next, token.Env(), append([]string{"sign", format, key.URI(), reference}, settings...)...)
				for _, verifier := range []*testenv.Notation{next, notation} {
					mustRun(t, verifier, nil, "verify", reference)
				}
				manifest := signatureManifest(t, registry, repository, image)
				if manifest.ArtifactType != signatureType || manifest.Config.MediaType != "application/vnd.oci.empty.v1+json" || manifest.Layers[0].MediaType != mediaType {
					t.Errorf("signature manifest %+v", manifest)
				}

				blob := testenv.PutFile(t, filepath.Join(t.TempDir(), "release.tar"), "a release")
				mustRun(t, next, token.Env(), append([]string{"blob-sign", format, key.URI(), blob}, settings...)...)
				mustRun(t, next, nil, "blob-verify", format, blob)
				testenv.PutFile(t, blob, "another one")
				if refused, err := next.Run(t.Context(), nil, "blob-verify", format, blob); err != nil || refused.ExitCode == 0 {
					t.Errorf("a changed blob: exit code %d, %v", refused.ExitCode, err)
				}
			})
		}
	}
}
