// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"encoding/asn1"
	"math/big"
	"testing"

	contract "github.com/notaryproject/notation-plugin-framework-go/plugin"
)

func TestWrongSignaturesDoNotLeave(t *testing.T) {
	flip := func(signature []byte) []byte {
		signature[len(signature)-1] ^= 1
		return signature
	}
	cut := func(signature []byte) []byte { return signature[:len(signature)-1] }
	none := func([]byte) []byte { return nil }
	der := func(r, s *big.Int) func([]byte) []byte {
		return func([]byte) []byte {
			der, err := asn1.Marshal(struct{ R, S *big.Int }{r, s})
			if err != nil {
				panic(err)
			}
			return der
		}
	}
	huge := new(big.Int).Lsh(big.NewInt(1), 600)
	for _, test := range []struct {
		name   string
		spec   contract.KeySpec
		tamper func([]byte) []byte
	}{
		{"RSA, a bit flipped", contract.KeySpecRSA2048, flip},
		{"RSA, too short", contract.KeySpecRSA2048, cut},
		{"RSA, empty", contract.KeySpecRSA2048, none},
		{"EC, a bit flipped", contract.KeySpecEC256, flip},
		{"EC, too short", contract.KeySpecEC256, cut},
		{"EC, empty", contract.KeySpecEC256, none},
		{"EC, more behind it", contract.KeySpecEC256, func(signature []byte) []byte { return append(signature, 0) }},
		{"EC, more in its sequence", contract.KeySpecEC256, func(signature []byte) []byte {
			signature[1] += 2
			return append(signature, 5, 0) // a NULL
		}},
		{"EC, r||s already", contract.KeySpecEC256, func([]byte) []byte { return make([]byte, 64) }},
		{"EC, zero", contract.KeySpecEC256, der(big.NewInt(0), big.NewInt(0))},
		{"EC, negative", contract.KeySpecEC256, der(big.NewInt(-1), big.NewInt(1))},
		{"EC, larger than the curve", contract.KeySpecEC256, der(huge, huge)},
	} {
		t.Run(test.name, func(t *testing.T) {
			token := newToken(t, test.spec)
			token.tamper = test.tamper
			response, err := token.plugin().GenerateSignature(t.Context(), request(test.spec))
			checkError(t, err, contract.ErrorCodeGeneric, "nothing was signed: the token returned a wrong signature")
			if response != nil {
				t.Error("there is a response beside the error")
			}
		})
	}
}

// A number with leading zeros is one in 256: they must be kept.
func TestRawECDSAHasFixedLength(t *testing.T) {
	for name, size := range map[contract.KeySpec]int{
		contract.KeySpecEC256: 32, contract.KeySpecEC384: 48, contract.KeySpecEC521: 66,
	} {
		spec, err := specNamed(name)
		if err != nil {
			t.Fatal(err)
		}
		der, err := asn1.Marshal(struct{ R, S *big.Int }{big.NewInt(1), big.NewInt(2)})
		if err != nil {
			t.Fatal(err)
		}
		raw, err := rawECDSA(der, spec)
		if err != nil {
			t.Fatal(err)
		}
		if len(raw) != 2*size || raw[size-1] != 1 || raw[2*size-1] != 2 {
			t.Errorf("%s: got %x", name, raw)
		}
	}
}

// FuzzRawECDSA feeds what a token could return. What is accepted has one encoding,
// and verifies if and only if crypto/ecdsa says so.
func FuzzRawECDSA(f *testing.F) {
	payload := []byte("payload")
	var specs []keySpec
	var keys []*ecdsa.PrivateKey
	for _, name := range []contract.KeySpec{contract.KeySpecEC256, contract.KeySpecEC384, contract.KeySpecEC521} {
		spec, err := specNamed(name)
		if err != nil {
			f.Fatal(err)
		}
		key := testKeys[name]().(*ecdsa.PrivateKey)
		der, err := crypto.SignMessage(key, rand.Reader, payload, spec.hash)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(der, byte(len(specs)))
		f.Add(append(der, 0), byte(len(specs)))
		specs, keys = append(specs, spec), append(keys, key)
	}
	f.Add([]byte{0x30, 6, 2, 1, 1, 2, 1, 2}, byte(0))
	f.Add([]byte{0x30, 8, 2, 1, 1, 2, 1, 2, 5, 0}, byte(0))
	f.Add([]byte{0x30, 7, 2, 2, 0, 1, 2, 1, 2}, byte(0)) // not the shortest encoding
	f.Fuzz(func(t *testing.T, der []byte, which byte) {
		spec, key := specs[int(which)%len(specs)], keys[int(which)%len(keys)]
		raw, err := rawECDSA(der, spec)
		if err != nil {
			if raw != nil {
				t.Errorf("%x beside the error %v", raw, err)
			}
			return
		}
		r, s := new(big.Int).SetBytes(raw[:len(raw)/2]), new(big.Int).SetBytes(raw[len(raw)/2:])
		if back, err := asn1.Marshal(struct{ R, S *big.Int }{r, s}); err != nil || !bytes.Equal(back, der) || len(raw) != 2*spec.scalarSize() {
			t.Errorf("%x became %x, then %x, %v", der, raw, back, err)
		}
		h := spec.hash.New()
		h.Write(payload)
		want := ecdsa.VerifyASN1(&key.PublicKey, h.Sum(nil), der)
		if err := verify(spec, &key.PublicKey, payload, raw); (err == nil) != want {
			t.Errorf("%x: crypto/ecdsa says %v, error %v", der, want, err)
		}
	})
}
