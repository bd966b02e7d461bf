// SPDX-License-Identifier: Apache-2.0

package pkcs11

import (
	"crypto"
	"errors"
	"io"
)

// encodePSS makes the EMSA-PSS encoding (RFC 8017, section 9.1.1) of a digest
// for an RSA key of modulusBits, with a salt as long as the hash and MGF1 with
// the same hash. The result is as long as the modulus in bytes, as
// CKM_RSA_X_509 wants it: where the encoding is a byte shorter, a zero stands
// before it.
func encodePSS(random io.Reader, hash crypto.Hash, digest []byte, modulusBits int) ([]byte, error) {
	size := hash.Size()
	if len(digest) != size {
		return nil, errors.New("the digest is not as long as the hash makes them")
	}
	emBits := modulusBits - 1
	emLen := (emBits + 7) / 8
	if emLen < 2*size+2 {
		return nil, errors.New("the RSA modulus is too short for PSS with this hash")
	}
	encoded := make([]byte, (modulusBits+7)/8)
	em := encoded[len(encoded)-emLen:]
	db, h := em[:emLen-size-1], em[emLen-size-1:emLen-1]
	salt := db[len(db)-size:]
	if _, err := io.ReadFull(random, salt); err != nil {
		return nil, err
	}

	m := hash.New() // of M' = eight zeros, the digest, the salt
	m.Write(make([]byte, 8))
	m.Write(digest)
	m.Write(salt)
	m.Sum(h[:0])

	db[len(db)-size-1] = 0x01
	maskMGF1(db, hash, h)
	db[0] &= 0xFF >> (8*emLen - emBits)
	em[emLen-1] = 0xBC
	return encoded, nil
}

// maskMGF1 xors MGF1 (RFC 8017, appendix B.2.1) of the seed over the data.
func maskMGF1(data []byte, hash crypto.Hash, seed []byte) {
	h := hash.New()
	var block []byte
	for counter := uint32(0); len(data) > 0; counter++ {
		h.Reset()
		h.Write(seed)
		h.Write([]byte{byte(counter >> 24), byte(counter >> 16), byte(counter >> 8), byte(counter)})
		block = h.Sum(block[:0])
		n := min(len(block), len(data))
		for i := range n {
			data[i] ^= block[i]
		}
		data = data[n:]
	}
}
