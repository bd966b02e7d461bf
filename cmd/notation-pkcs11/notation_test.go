// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

// Media types and annotations of notation v1.3's signature manifests.
const (
	signatureType  = "application/vnd.cncf.notary.signature"
	thumbprintsKey = "io.cncf.notary.x509chain.thumbprint#S256"
)

var envelopeTypes = map[string]string{"cose": "application/cose", "jws": "application/jose+json"}

// mustRun runs notation and fails the test if notation fails.
func mustRun(t *testing.T, n *testenv.Notation, env []string, args ...string) testenv.Result {
	t.Helper()
	result, err := n.Run(t.Context(), env, args...)
	if err != nil {
		t.Fatal(err)
	}
	if result.ExitCode != 0 {
		t.Fatalf("notation %s: exit code %d\n%s%s", strings.Join(args, " "), result.ExitCode, result.Stdout, result.Stderr)
	}
	return result
}

// Every type of key on every kind of token, in both envelopes: notation signs
// with the plugin and verifies under a strict policy, on every kind of registry
// for the first token. Certificates come from the token for some keys and from
// cert_chain for the others. It all leaves the token as it was.
func TestNotationSignsAndVerifies(t *testing.T) {
	testenv.Long(t, "signs with each type of key on each kind of registry")
	executable := buildPlugin(t)
	for i, kind := range testenv.TokenKinds {
		t.Run(kind.Name, func(t *testing.T) {
			token := testenv.Start(t, kind.New)
			registries := testenv.RegistryKinds
			if i > 0 { // what stores the signature doesn't see the token
				registries = registries[:1]
			}
			notation := notationFor(t, executable, token.Token)
			inventory := leavesAsItWas(t, token)
			for _, kind := range registries {
				t.Run(kind.Name, func(t *testing.T) {
					signAndVerify(t, notation, token.Token, testenv.Start(t, kind.New), kind.ReferrersAPI)
				})
			}
			inventory()
		})
	}
}

// notationFor is notation with the plugin, the token's keys under the names of
// their types, and trust in the root of their certificates.
func notationFor(t *testing.T, executable string, token *testenv.Token) *testenv.Notation {
	t.Helper()
	pki, err := testenv.NewPKI()
	if err != nil {
		t.Fatal(err)
	}
	chains := filepath.Join(t.TempDir(), "chains.pem")
	var bundle []byte
	for i, key := range token.Keys {
		chain, err := pki.Chain(key.Public)
		if err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			if err := key.ImportChain(chain); err != nil {
				t.Fatal(err)
			}
		} else {
			bundle = append(bundle, testenv.EncodePEM(chain...)...)
		}
	}
	if err := os.WriteFile(chains, bundle, 0o600); err != nil {
		t.Fatal(err)
	}
	pinFile := filepath.Join(t.TempDir(), "pin")
	if err := os.WriteFile(pinFile, []byte(token.PIN+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	notation := testenv.Start(t, testenv.NewNotation)
	if err := notation.Trust(pki.Root); err != nil {
		t.Fatal(err)
	}
	mustRun(t, notation, nil, "plugin", "install", "--file", executable)
	for _, key := range token.Keys {
		mustRun(t, notation, nil, "key", "add", "--plugin", "pkcs11", "--id", key.URI(),
			"--plugin-config", "module="+token.Store.Module, "--plugin-config", "pin_source=file:"+pinFile, "--plugin-config", "cert_chain="+chains,
			key.Type.Name)
	}
	return notation
}

// signAndVerify does so one after the other: SoftHSM's login fails now and then
// while another process logs in to the same token, and a TPM has no sessions
// for two.
func signAndVerify(t *testing.T, notation *testenv.Notation, token *testenv.Token, registry *testenv.Registry, referrersAPI bool) {
	t.Helper()
	for _, key := range token.Keys {
		for format, mediaType := range envelopeTypes {
			t.Run(key.Type.Name+" "+format, func(t *testing.T) {
				repository := strings.ToLower(key.Type.Name) + "/" + format
				image, err := registry.PushImage(t.Context(), repository, "v1")
				if err != nil {
					t.Fatal(err)
				}
				reference := registry.Host + "/" + repository + "@" + image.Digest.String()
				referrersTag := "--force-referrers-tag=" + map[bool]string{true: "false", false: "true"}[referrersAPI]
				mustRun(t, notation, token.Env(), "sign", "--key", key.Type.Name, "--signature-format", format, referrersTag, reference)
				mustRun(t, notation, nil, "verify", reference)
				checkManifest(t, registry, repository, image, mediaType)
			})
		}
	}
}

// leavesAsItWas looks at a token. The function that it returns looks again and
// compares.
func leavesAsItWas(t *testing.T, token *testenv.OwnToken) (compare func()) {
	t.Helper()
	before, err := token.Inventory()
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		after, err := token.Inventory()
		if err != nil || before != after {
			t.Errorf("the token was changed (%v):\n%s\nwas\n%s", err, after, before)
		}
		if token.TPM == nil {
			return
		}
		if n, err := token.TPM.WrongPINs(); n != 0 || err != nil {
			t.Errorf("%d wrong PINs were counted, %v", n, err)
		}
		if left, err := token.TPM.Leftovers(); len(left) > 0 || err != nil {
			t.Errorf("left in the TPM's memory: %v, %v", left, err)
		}
	}
}

// checkManifest checks that the signature is stored as notation v1.3 does it.
func checkManifest(t *testing.T, registry *testenv.Registry, name string, image ocispec.Descriptor, envelopeType string) {
	t.Helper()
	manifest := signatureManifest(t, registry, name, image)
	if manifest.Subject == nil || manifest.Subject.Digest != image.Digest {
		t.Errorf("subject %v", manifest.Subject)
	}
	if len(manifest.Layers) != 1 || manifest.Layers[0].MediaType != envelopeType {
		t.Errorf("layers %v", manifest.Layers)
	}
	repository, err := registry.Repository(name)
	if err != nil {
		t.Fatal(err)
	}
	config, err := content.FetchAll(t.Context(), repository, manifest.Config)
	if err != nil || manifest.Config.MediaType != signatureType || string(config) != "{}" {
		t.Errorf("config %s of type %s, %v", config, manifest.Config.MediaType, err)
	}
	keys := slices.Sorted(maps.Keys(manifest.Annotations))
	if !slices.Equal(keys, []string{thumbprintsKey, ocispec.AnnotationCreated}) {
		t.Errorf("annotations %v", keys)
	}
}

// signatureManifest fetches that of an image's one signature.
func signatureManifest(t *testing.T, registry *testenv.Registry, name string, image ocispec.Descriptor) ocispec.Manifest {
	t.Helper()
	repository, err := registry.Repository(name)
	if err != nil {
		t.Fatal(err)
	}
	var found []ocispec.Descriptor
	err = repository.Referrers(t.Context(), image, signatureType, func(referrers []ocispec.Descriptor) error {
		found = append(found, referrers...)
		return nil
	})
	if err != nil || len(found) != 1 {
		t.Fatalf("%d signatures, %v", len(found), err)
	}
	document, err := content.FetchAll(t.Context(), repository, found[0])
	if err != nil {
		t.Fatal(err)
	}
	var manifest ocispec.Manifest
	if err := json.Unmarshal(document, &manifest); err != nil {
		t.Fatal(err)
	}
	return manifest
}

// What a user sees who mistyped the PIN, named a key that isn't there, or
// forgot the certificate: the plugin's sentence, through notation.
func TestNotationShowsThePluginsErrors(t *testing.T) {
	executable := buildPlugin(t)
	hsm := testenv.Start(t, testenv.NewSoftHSM)
	token, err := hsm.AddStandardToken()
	if err != nil {
		t.Fatal(err)
	}
	registry := testenv.Start(t, testenv.NewRegistry)
	image, err := registry.PushImage(context.Background(), "app", "v1")
	if err != nil {
		t.Fatal(err)
	}
	notation := testenv.Start(t, testenv.NewNotation)
	if err := notation.InstallPlugin("pkcs11", executable); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		id, pin string
		wants   []string
	}{
		"wrong PIN":      {"pkcs11:token=testenv;object=EC-256", "0000", []string{"CKR_PIN_INCORRECT", "NOTATION_PKCS11_PIN"}},
		"no PIN":         {"pkcs11:token=testenv;object=EC-256", "", []string{"no PIN for the token", "pin_source="}},
		"no such key":    {"pkcs11:token=testenv;object=EC-255", token.PIN, []string{"object=EC-256"}},
		"no certificate": {"pkcs11:token=testenv;object=EC-256", token.PIN, []string{"no certificate for this key", "cert_chain"}},
		"label for name": {"pkcs11:token=testenv;label=EC-256", token.PIN, []string{`unknown attribute "label"`}},
		"PIN in the URI": {"pkcs11:token=testenv?pin-value=4711", token.PIN, []string{"pin-value"}},
	} {
		t.Run(name, func(t *testing.T) {
			env := append(hsm.Env(), "NOTATION_PKCS11_PIN="+test.pin)
			result, err := notation.Run(t.Context(), env, "sign", "--plugin", "pkcs11", "--id", test.id,
				"--plugin-config", "module="+hsm.Module, registry.Host+"/app@"+image.Digest.String())
			if err != nil {
				t.Fatal(err)
			}
			if result.ExitCode == 0 {
				t.Fatal("signed")
			}
			for _, want := range test.wants {
				if !strings.Contains(result.Stderr, want) {
					t.Errorf("%q lacks %s", result.Stderr, want)
				}
			}
			if test.pin != "" && strings.Contains(result.Stdout+result.Stderr, test.pin) {
				t.Error("the PIN is shown")
			}
		})
	}
}

// A TPM's module prints errors of its own while it fails, on the stream that
// notation reads as JSON. The user sees the plugin's sentence alone, and the
// token has counted one wrong PIN.
func TestNoisyTokenDoesNotSpoilTheError(t *testing.T) {
	executable := buildPlugin(t)
	tpm := testenv.Start(t, testenv.NewTPM)
	token, err := tpm.AddToken("T")
	if err != nil {
		t.Fatal(err)
	}
	key, err := token.Generate(testenv.EC256, "k")
	if err != nil {
		t.Fatal(err)
	}
	notation := testenv.Start(t, testenv.NewNotation)
	if err := notation.InstallPlugin("pkcs11", executable); err != nil {
		t.Fatal(err)
	}
	registry := testenv.Start(t, testenv.NewRegistry)
	image, err := registry.PushImage(t.Context(), "app", "v1")
	if err != nil {
		t.Fatal(err)
	}
	result, err := notation.Run(t.Context(), append(token.Env(), "NOTATION_PKCS11_PIN=wrong-pin"), "sign", "--plugin", "pkcs11", "--id", key.URI(),
		"--plugin-config", "module="+tpm.Module, registry.Host+"/app@"+image.Digest.String())
	if err != nil {
		t.Fatal(err)
	}
	if result.ExitCode == 0 || !strings.Contains(result.Stderr, "C_Login: CKR_PIN_INCORRECT") || strings.Contains(result.Stdout+result.Stderr, "Esys") {
		t.Errorf("exit code %d\n%s%s", result.ExitCode, result.Stdout, result.Stderr)
	}
	if n, err := tpm.WrongPINs(); n != 1 || err != nil {
		t.Errorf("%d wrong PINs were counted, %v", n, err)
	}
}
