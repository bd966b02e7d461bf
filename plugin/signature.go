// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	_ "crypto/sha256" // so that crypto.SHA256 is there
	_ "crypto/sha512" // and crypto.SHA384, crypto.SHA512
	"encoding/asn1"
	"errors"
	"math/big"

	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
)

// sign signs the payload with the key and returns the signature as the contract
// wants it: RSASSA-PSS, or r||s in fixed length. It is verified against the
// public key of the certificate that goes out with it: what leaves here is what
// notation will accept.
func sign(ctx context.Context, key Key, spec keySpec, public crypto.PublicKey, payload []byte) ([]byte, error) {
	signature, err := key.SignMessage(ctx, payload, spec.options())
	if err != nil {
		return nil, err
	}
	if spec.curve != nil {
		signature, err = rawECDSA(signature, spec)
	}
	if err == nil {
		err = verify(spec, public, payload, signature)
	}
	if err != nil {
		return nil, &pkcs11.Error{Kind: pkcs11.KindSignature, Message: "nothing was signed: the token returned a wrong signature: " + err.Error()}
	}
	return signature, nil
}

// rawECDSA turns an ECDSA-Sig-Value (DER, RFC 3279, section 2.2.3) into r||s,
// each as long as the curve's order: RFC 7518, section 3.4, and RFC 9053,
// section 2.1.
func rawECDSA(der []byte, spec keySpec) ([]byte, error) {
	var value struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(der, &value); err != nil {
		return nil, errors.New("it is not an ECDSA signature in DER")
	}
	// The decoder passes over what follows, inside of the sequence too.
	if whole, err := asn1.Marshal(value); err != nil || !bytes.Equal(whole, der) {
		return nil, errors.New("it is not an ECDSA signature in DER alone")
	}
	order := spec.curve.Params().N
	for _, n := range []*big.Int{value.R, value.S} {
		if n.Sign() <= 0 || n.Cmp(order) >= 0 {
			return nil, errors.New("its numbers are out of the curve's range")
		}
	}
	size := spec.scalarSize()
	raw := make([]byte, 2*size)
	value.R.FillBytes(raw[:size])
	value.S.FillBytes(raw[size:])
	return raw, nil
}

// scalarSize is the length of r and of s in bytes.
func (s keySpec) scalarSize() int { return (s.curve.Params().N.BitLen() + 7) / 8 }

// verify checks a signature as the contract writes it.
func verify(spec keySpec, public crypto.PublicKey, payload, signature []byte) error {
	h := spec.hash.New()
	h.Write(payload)
	digest := h.Sum(nil)
	switch key := public.(type) {
	case *rsa.PublicKey:
		return rsa.VerifyPSS(key, spec.hash, digest, signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
	case *ecdsa.PublicKey:
		size := spec.scalarSize()
		if len(signature) != 2*size {
			return errors.New("it has a wrong length")
		}
		r, s := new(big.Int).SetBytes(signature[:size]), new(big.Int).SetBytes(signature[size:])
		if !ecdsa.Verify(key, digest, r, s) {
			return errors.New("crypto/ecdsa: verification error")
		}
		return nil
	}
	return errors.New("the key is neither RSA nor ECDSA")
}
