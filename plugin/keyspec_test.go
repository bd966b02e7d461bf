// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"math/big"
	"testing"

	contract "github.com/notaryproject/notation-plugin-framework-go/plugin"
)

// rsaOfSize is a public key of a size; nobody has the private one.
func rsaOfSize(bits uint) crypto.PublicKey {
	modulus := new(big.Int).Lsh(big.NewInt(1), bits-1)
	return &rsa.PublicKey{N: modulus.SetBit(modulus, 0, 1), E: 65537}
}

func TestSpecOfSupportedKeys(t *testing.T) {
	for public, want := range map[crypto.PublicKey]contract.KeySpec{
		rsaOfSize(2048):                          contract.KeySpecRSA2048,
		rsaOfSize(2047):                          contract.KeySpecRSA2048, // as notation counts
		rsaOfSize(3072):                          contract.KeySpecRSA3072,
		rsaOfSize(4096):                          contract.KeySpecRSA4096,
		&ecdsa.PublicKey{Curve: elliptic.P256()}: contract.KeySpecEC256,
		&ecdsa.PublicKey{Curve: elliptic.P384()}: contract.KeySpecEC384,
		&ecdsa.PublicKey{Curve: elliptic.P521()}: contract.KeySpecEC521,
	} {
		spec, err := specOf(public)
		if err != nil || spec.name != want {
			t.Errorf("got %s, %v; want %s", spec.name, err, want)
		}
	}
}

func TestUnsupportedKeysAreNamedWithWhatIsSupported(t *testing.T) {
	for _, test := range []struct {
		public crypto.PublicKey
		name   string
	}{
		{rsaOfSize(1024), "RSA-1024"},
		{rsaOfSize(8192), "RSA-8192"},
		{&ecdsa.PublicKey{Curve: elliptic.P224()}, "EC-224"},
		{ed25519.PublicKey{}, "Ed25519"},
		{nil, "<nil>"},
	} {
		_, err := specOf(test.public)
		checkError(t, err, contract.ErrorCodeValidation, test.name, "RSA-2048, RSA-3072, RSA-4096, EC-256, EC-384, EC-521")
	}
}
