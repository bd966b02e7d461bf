// SPDX-License-Identifier: Apache-2.0

package payload

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"math/big"
	"strings"
	"testing"
	"time"

	_ "github.com/notaryproject/notation-core-go/signature/cose"
	_ "github.com/notaryproject/notation-core-go/signature/jws"
	"github.com/notaryproject/notation-go"
	"github.com/notaryproject/notation-go/signer"
	contract "github.com/notaryproject/notation-plugin-framework-go/plugin"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

// listener is a plugin that keeps the message of the last signature.
type listener struct {
	contract.SignPlugin
	key     crypto.Signer
	spec    contract.KeySpec
	hash    crypto.Hash
	chain   []*x509.Certificate
	message []byte
}

func (l *listener) GetMetadata(context.Context, *contract.GetMetadataRequest) (*contract.GetMetadataResponse, error) {
	return &contract.GetMetadataResponse{Name: "pkcs11", Version: "1.0.0", Capabilities: []contract.Capability{contract.CapabilitySignatureGenerator}}, nil
}

func (l *listener) DescribeKey(_ context.Context, req *contract.DescribeKeyRequest) (*contract.DescribeKeyResponse, error) {
	return &contract.DescribeKeyResponse{KeyID: req.KeyID, KeySpec: l.spec}, nil
}

func (l *listener) GenerateSignature(_ context.Context, req *contract.GenerateSignatureRequest) (*contract.GenerateSignatureResponse, error) {
	l.message = req.Payload
	response := &contract.GenerateSignatureResponse{KeyID: req.KeyID}
	for _, certificate := range l.chain {
		response.CertificateChain = append(response.CertificateChain, certificate.Raw)
	}
	var opts crypto.SignerOpts = l.hash
	if _, isRSA := l.key.(*rsa.PrivateKey); isRSA {
		opts = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: l.hash}
	}
	signature, err := crypto.SignMessage(l.key, rand.Reader, req.Payload, opts)
	if err != nil {
		return nil, err
	}
	response.Signature = signature
	response.SigningAlgorithm = map[crypto.Hash]contract.SignatureAlgorithm{
		crypto.SHA256: contract.SignatureAlgorithmRSASSA_PSS_SHA256, crypto.SHA384: contract.SignatureAlgorithmRSASSA_PSS_SHA384, crypto.SHA512: contract.SignatureAlgorithmRSASSA_PSS_SHA512,
	}[l.hash]
	if key, isEC := l.key.(*ecdsa.PrivateKey); isEC {
		var value struct{ R, S *big.Int }
		if _, err := asn1.Unmarshal(signature, &value); err != nil {
			return nil, err
		}
		size := (key.Params().BitSize + 7) / 8
		response.Signature = append(value.R.FillBytes(make([]byte, size)), value.S.FillBytes(make([]byte, size))...)
		response.SigningAlgorithm = contract.SignatureAlgorithm("ECDSA-SHA-" + strings.TrimPrefix(l.hash.String(), "SHA-"))
	}
	return response, nil
}

// The release of notation-go in go.mod signs, so that a newer one is looked at, too.
func TestWhatNotationSignsIsReadWithEachKey(t *testing.T) {
	pki, err := testenv.NewPKI()
	if err != nil {
		t.Fatal(err)
	}
	artifact := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString("image"), Size: 528, Annotations: map[string]string{"build": "42"}}
	for spec, key := range map[contract.KeySpec]crypto.Signer{
		contract.KeySpecRSA2048: newRSA(t, 2048), contract.KeySpecRSA3072: newRSA(t, 3072), contract.KeySpecRSA4096: newRSA(t, 4096),
		contract.KeySpecEC256: newEC(t, elliptic.P256()), contract.KeySpecEC384: newEC(t, elliptic.P384()), contract.KeySpecEC521: newEC(t, elliptic.P521()),
	} {
		chain, err := pki.Chain(key.Public())
		if err != nil {
			t.Fatal(err)
		}
		hash := map[string]crypto.Hash{"2048": crypto.SHA256, "256": crypto.SHA256, "3072": crypto.SHA384, "384": crypto.SHA384}[strings.Split(string(spec), "-")[1]]
		if hash == 0 {
			hash = crypto.SHA512
		}
		l := &listener{key: key, spec: spec, hash: hash, chain: chain}
		s, err := signer.NewPluginSigner(l, "key", nil)
		if err != nil {
			t.Fatal(err)
		}
		for format, mediaType := range map[string]string{FormatJWS: "application/jose+json", FormatCOSE: "application/cose"} {
			_, info, err := s.Sign(t.Context(), artifact, notation.SignerSignOptions{SignatureMediaType: mediaType, ExpiryDuration: time.Hour})
			if err != nil {
				t.Errorf("%s, %s: notation: %v", spec, format, err)
				continue
			}
			p, err := Parse(l.message)
			if err != nil {
				t.Errorf("%s, %s: %v", spec, format, err)
				continue
			}
			if p.Format != format || !p.SigningTime.Equal(info.SignedAttributes.SigningTime) || !p.Expiry.Equal(info.SignedAttributes.Expiry) ||
				p.Target.Digest != artifact.Digest.String() || p.Target.Annotations["build"] != "42" {
				t.Errorf("%s, %s: read %+v", spec, format, p)
			}
			checkKey(t, p, spec, key.Public())
		}
	}
}

// checkKey wants the algorithm to be that of the key, and of no other.
func checkKey(t *testing.T, p *Payload, spec contract.KeySpec, public crypto.PublicKey) {
	t.Helper()
	if err := p.CheckAlgorithm(public); err != nil {
		t.Errorf("%s: %v", spec, err)
	}
	for name, other := range algorithms {
		if name == p.Algorithm {
			continue
		}
		if err := p.CheckAlgorithm(other.publicKey()); err == nil || !strings.Contains(err.Error(), p.Algorithm) || !strings.Contains(err.Error(), other.String()) {
			t.Errorf("%s with a key for %s: error %v", p.Algorithm, name, err)
		}
	}
	if err := p.CheckAlgorithm(nil); err == nil {
		t.Error("an algorithm fits no key at all")
	}
}

// publicKey makes one of the type and size.
func (a algorithm) publicKey() crypto.PublicKey {
	if a.rsa { // nobody has the private one
		modulus := new(big.Int).Lsh(big.NewInt(1), uint(a.bits)-1)
		return &rsa.PublicKey{N: modulus.SetBit(modulus, 0, 1), E: 65537}
	}
	key, err := ecdsa.GenerateKey(map[int]elliptic.Curve{256: elliptic.P256(), 384: elliptic.P384(), 521: elliptic.P521()}[a.bits], rand.Reader)
	if err != nil {
		panic(err)
	}
	return key.Public()
}

func newRSA(t *testing.T, bits int) crypto.Signer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newEC(t *testing.T, curve elliptic.Curve) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}
