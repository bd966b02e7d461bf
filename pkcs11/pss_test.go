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

// FuzzPSSEncoding compares with crypto/rsa, which makes the same signature of the
// same salt, for moduli whose top byte is full, and has one and seven bits.
func FuzzPSSEncoding(f *testing.F) {
	var keys []*rsa.PrivateKey
	for _, bits := range []int{1024, 1025, 1031, 2048} {
		key, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			f.Fatal(err)
		}
		keys = append(keys, key)
	}
	for i := range keys {
		f.Add([]byte("message"), []byte("salt"), byte(i), byte(i))
	}
	f.Fuzz(func(t *testing.T, message, salt []byte, k, s byte) {
		key, hash := keys[int(k)%len(keys)], schemes[int(s)%len(schemes)].hash
		h := hash.New()
		h.Write(message)
		digest := h.Sum(nil)
		salt = append(salt, make([]byte, hash.Size())...)[:hash.Size()]
		encoded, err := encodePSS(bytes.NewReader(salt), hash, digest, key.N.BitLen())
		if size := (key.N.BitLen() + 6) / 8; size < 2*hash.Size()+2 {
			if err == nil {
				t.Fatalf("%v fits into %d bits", hash, key.N.BitLen())
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(encoded) != key.Size() || new(big.Int).SetBytes(encoded).Cmp(key.N) >= 0 {
			t.Fatalf("%x is not for the modulus", encoded)
		}
		opts := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}
		want, err := rsa.SignPSS(bytes.NewReader(salt), key, hash, digest, opts)
		if err != nil {
			t.Fatal(err)
		}
		got := rawRSA(key, encoded)
		if !bytes.Equal(got, want) {
			t.Errorf("%x, and crypto/rsa makes %x", got, want)
		}
		if err := rsa.VerifyPSS(&key.PublicKey, hash, digest, got, opts); err != nil {
			t.Error(err)
		}
	})
}
