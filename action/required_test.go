// SPDX-License-Identifier: Apache-2.0

package action

import (
	"maps"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

// Verifying fails without a referrer of a required type that is signed: of the artifact,
// or of each of its platforms.
func TestRequiredReferrersMustBeSigned(t *testing.T) {
	for _, kind := range testenv.RegistryKinds {
		t.Run(kind.Name, func(t *testing.T) {
			w := newRunWorld(t)
			w.registry = testenv.Start(t, kind.New)
			at, err := w.registry.Repository("app")
			if err != nil {
				t.Fatal(err)
			}
			_, amd64 := w.image(t, "app", "amd64")
			_, arm64 := w.image(t, "app", "arm64")
			_, attestation := w.image(t, "app", "attestation")
			attestation.Annotations = map[string]string{"vnd.docker.reference.type": "attestation-manifest"}
			index, err := testenv.PutIndex(t.Context(), at, "v1", amd64, arm64, attestation)
			if err != nil {
				t.Fatal(err)
			}
			reference := w.registry.Host + "/app@" + index.Digest.String()
			refer := func(to ocispec.Descriptor) string {
				t.Helper()
				to.Annotations = nil
				sbom, err := oras.PackManifest(t.Context(), at, oras.PackManifestVersion1_1, typeSBOM, oras.PackManifestOptions{Subject: &to})
				if err != nil {
					t.Fatal(err)
				}
				return w.registry.Host + "/app@" + sbom.Digest.String()
			}
			sign := func(references ...string) {
				t.Helper()
				if r := w.run(t, map[string]string{"INPUT_MODE": "sign", "INPUT_TARGET_ARTIFACT_REFERENCE": strings.Join(references, "\n")}); r.code != 0 {
					t.Fatalf("sign: exit code %d", r.code)
				}
			}
			verify := map[string]string{"INPUT_MODE": "verify", "INPUT_TARGET_ARTIFACT_REFERENCE": reference, "INPUT_REQUIRED_REFERRERS": typeSBOM}
			check := func(what string, code int, says string) {
				t.Helper()
				r := w.run(t, verify)
				said := r.artifact.Error + strings.Join(r.artifact.Warnings, "\n")
				if r.code != code || !strings.Contains(said, says) || len(r.artifact.Required) != 1 || r.artifact.Required[0].Satisfied != (code == 0) {
					t.Errorf("%s: exit code %d, %q, %+v", what, r.code, said, r.artifact.Required)
				}
			}
			sign(reference)
			check("none", 1, "no referrer of the type "+typeSBOM)
			check("buildx's attestation", 1, attestation.Digest.String()+", which are not signed on their own")
			one := refer(amd64)
			check("unsigned", 1, "does not count: the artifact has no signature")
			sign(one)
			check("one of two platforms", 1, "no referrer of the type "+typeSBOM)
			sign(refer(arm64))
			check("both platforms", 0, "")

			// On the index itself, without any on the platforms.
			other, err := testenv.PutIndex(t.Context(), at, "v2", amd64, attestation)
			if err != nil {
				t.Fatal(err)
			}
			if err := at.Manifests().Delete(t.Context(), ocispec.Descriptor{Digest: arm64.Digest, MediaType: arm64.MediaType, Size: arm64.Size}); err != nil {
				t.Fatal(err)
			}
			verify["INPUT_TARGET_ARTIFACT_REFERENCE"] = w.registry.Host + "/app@" + other.Digest.String()
			sign(verify["INPUT_TARGET_ARTIFACT_REFERENCE"], refer(other))
			check("on the index", 0, "")
		})
	}
}

// What is attached in a run meets the requirement of the same run, before the tag.
func TestAttachedFileIsTheRequiredReferrer(t *testing.T) {
	w := newRunWorld(t)
	_, folder, index, _ := buildLayout(t)
	inputs := map[string]string{
		"INPUT_SOURCE":                    "oci:" + folder,
		"INPUT_TARGET_ARTIFACT_REFERENCE": w.registry.Host + "/app:v1",
		"INPUT_REQUIRED_REFERRERS":        "application/vnd.example.scan",
	}
	if r := w.run(t, inputs); r.code != 1 || tagged(t, w.registry, "app", "v1") != "" {
		t.Errorf("without it: exit code %d", r.code)
	}
	with := maps.Clone(inputs)
	with["INPUT_ATTACH"] = testenv.PutFile(t, w.path("scan.json"), "{}") + "=application/vnd.example.scan"
	if r := w.run(t, with); r.code != 0 || tagged(t, w.registry, "app", "v1") != index.Digest {
		t.Errorf("with it: exit code %d", r.code)
	}
	sign := maps.Clone(inputs)
	sign["INPUT_MODE"] = "sign"
	if r := w.run(t, sign); r.code != 2 || !strings.Contains(r.log, "the mode does not verify") {
		t.Errorf("sign: exit code %d", r.code)
	}
}
