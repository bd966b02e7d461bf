// SPDX-License-Identifier: Apache-2.0

package pkcs11

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"math/big"
	"testing"
)

// rawRSA is what CKM_RSA_X_509 does.
func rawRSA(key *rsa.PrivateKey, encoded []byte) []byte {
	m := new(big.Int).SetBytes(encoded)
	return m.Exp(m, key.D, key.N).FillBytes(make([]byte, key.Size()))
}

// Where the modulus has a multiple of 8 bits plus one, the encoding is a byte
// shorter than the modulus.
func TestPSSEncodingVerifiesWithCryptoRSA(t *testing.T) {
	for _, bits := range []int{2048, 2049, 2050, 2055, 3072, 4096} {
		key, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range schemes {
			t.Run(fmt.Sprintf("%d %v", bits, s.hash), func(t *testing.T) {
				h := s.hash.New()
				h.Write([]byte("message"))
				digest := h.Sum(nil)
				encoded, err := encodePSS(rand.Reader, s.hash, digest, key.N.BitLen())
				if err != nil {
					t.Fatal(err)
				}
				if len(encoded) != key.Size() {
					t.Fatalf("%d bytes for a modulus of %d", len(encoded), key.Size())
				}
				opts := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}
				if err := rsa.VerifyPSS(&key.PublicKey, s.hash, digest, rawRSA(key, encoded), opts); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

func TestPSSEncodingRefuses(t *testing.T) {
	digest := make([]byte, 64)
	if _, err := encodePSS(rand.Reader, crypto.SHA512, digest, 1024); err == nil {
		t.Error("accepted a modulus that is too short for the hash")
	}
	if _, err := encodePSS(rand.Reader, crypto.SHA256, digest, 2048); err == nil {
		t.Error("accepted a digest of another hash")
	}
	if _, err := encodePSS(bytes.NewReader(nil), crypto.SHA512, digest, 2048); err == nil {
		t.Error("encoded without a salt")
	}
}

func FuzzPSSEncoding(f *testing.F) {
	key, err := rsa.GenerateKey(rand.Reader, 2049)
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte("message"), []byte("salt"))
	f.Fuzz(func(t *testing.T, message, salt []byte) {
		for _, s := range schemes {
			h := s.hash.New()
			h.Write(message)
			digest := h.Sum(nil)
			random := bytes.NewReader(append(salt, make([]byte, s.hash.Size())...))
			encoded, err := encodePSS(random, s.hash, digest, key.N.BitLen())
			if err != nil {
				t.Fatal(err)
			}
			if err := rsa.VerifyPSS(&key.PublicKey, s.hash, digest, rawRSA(key, encoded), &rsa.PSSOptions{SaltLength: s.hash.Size()}); err != nil {
				t.Fatal(err)
			}
		}
	})
}
