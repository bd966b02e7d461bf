// SPDX-License-Identifier: Apache-2.0

package pkcs11

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"

	"github.com/miekg/pkcs11"
)

// publicAttributes are what parsePublicKey reads, from a private or a public
// key object.
var publicAttributes = []uint{
	pkcs11.CKA_KEY_TYPE, pkcs11.CKA_MODULUS, pkcs11.CKA_PUBLIC_EXPONENT, pkcs11.CKA_EC_PARAMS, pkcs11.CKA_EC_POINT,
}

// errNoPublicHalf says that an object's attributes don't show the public key,
// so that it must come from somewhere else.
var errNoPublicHalf = errors.New("the object doesn't show the public key")

// unreadable is an errNoPublicHalf with a reason: the object shows something, but
// nothing that is understood.
type unreadable string

func (e unreadable) Error() string { return string(e) }

func (e unreadable) Is(target error) bool { return target == errNoPublicHalf }

// parsePublicKey makes a public key from attributes. Its error is
// errNoPublicHalf, or says why no key of this kind can be used at all.
func parsePublicKey(values map[uint][]byte) (crypto.PublicKey, error) {
	switch keyType := ulongs(values[pkcs11.CKA_KEY_TYPE]); {
	case len(keyType) != 1:
		return nil, errNoPublicHalf
	case keyType[0] == pkcs11.CKK_RSA:
		return parseRSA(values[pkcs11.CKA_MODULUS], values[pkcs11.CKA_PUBLIC_EXPONENT])
	case keyType[0] == pkcs11.CKK_EC:
		return parseEC(values[pkcs11.CKA_EC_PARAMS], values[pkcs11.CKA_EC_POINT])
	default:
		return nil, fmt.Errorf("its type (CKA_KEY_TYPE 0x%X) is neither CKK_RSA nor CKK_EC", keyType[0])
	}
}

// Bounds of RSA keys: with a longer one a single verification takes seconds, up to
// hours. Signing keys have 4096 bits at most, and 65537.
const (
	maxRSABits     = 8192
	maxRSAExponent = 1 << 24
)

// CheckPublicKey returns an error for a key with which it takes too long to verify a
// signature, such as an RSA key of 100000 bits. Check keys that others made with it
// before one is used.
func CheckPublicKey(public crypto.PublicKey) error {
	key, isRSA := public.(*rsa.PublicKey)
	switch {
	case !isRSA:
		return nil
	case key.N.BitLen() > maxRSABits:
		return fmt.Errorf("its RSA key is longer than %d bits", maxRSABits)
	case key.E > maxRSAExponent:
		return errors.New("its RSA public exponent is too large")
	}
	return nil
}

// ParsePublicKey parses a SubjectPublicKeyInfo in DER, and returns no key that
// [CheckPublicKey] refuses.
func ParsePublicKey(der []byte) (crypto.PublicKey, error) {
	public, err := x509.ParsePKIXPublicKey(der)
	if err == nil {
		err = CheckPublicKey(public)
	}
	if err != nil {
		return nil, err
	}
	return public, nil
}

func parseRSA(modulus, exponent []byte) (crypto.PublicKey, error) {
	if len(modulus) == 0 || len(exponent) == 0 {
		return nil, errNoPublicHalf
	}
	e := new(big.Int).SetBytes(exponent)
	if !e.IsInt64() || e.Int64() > 1<<31-1 || e.Int64() < 3 || e.Bit(0) == 0 {
		return nil, errors.New("its RSA public exponent is out of range")
	}
	n := new(big.Int).SetBytes(modulus)
	if n.Sign() == 0 {
		return nil, errors.New("its RSA modulus is zero")
	}
	key := &rsa.PublicKey{N: n, E: int(e.Int64())}
	if err := CheckPublicKey(key); err != nil {
		return nil, err
	}
	return key, nil
}

func parseEC(params, point []byte) (crypto.PublicKey, error) {
	if len(params) == 0 {
		return nil, errNoPublicHalf
	}
	curve, err := signingCurve(params)
	if err != nil {
		return nil, err
	}
	if len(point) == 0 {
		return nil, errNoPublicHalf
	}
	// Section 2.3.3 wants the point in a DER OCTET STRING; some modules give it
	// raw, or in the BIT STRING of a SubjectPublicKeyInfo. All can begin with 04,
	// so the curve decides: it knows its length.
	var octets []byte
	var bits asn1.BitString
	forms := [][]byte{point}
	if rest, err := asn1.Unmarshal(point, &octets); err == nil && len(rest) == 0 {
		forms = append(forms, octets)
	}
	if rest, err := asn1.Unmarshal(point, &bits); err == nil && len(rest) == 0 {
		forms = append(forms, bits.RightAlign())
	}
	for _, form := range forms {
		if key, err := ecdsa.ParseUncompressedPublicKey(curve, form); err == nil {
			return key, nil
		}
		if x, y := elliptic.UnmarshalCompressed(curve, form); x != nil {
			size := len(form) - 1
			whole := append([]byte{4}, make([]byte, 2*size)...)
			x.FillBytes(whole[1 : 1+size])
			y.FillBytes(whole[1+size:])
			return ecdsa.ParseUncompressedPublicKey(curve, whole)
		}
	}
	return nil, unreadable("its CKA_EC_POINT is no point of " + curve.Params().Name)
}

// fits reports whether a public key can be the other half of a private key
// that showed these attributes: what they show must be equal.
func fits(values map[uint][]byte, public crypto.PublicKey) bool {
	isShown := func(attribute uint, n *big.Int) bool {
		value := values[attribute]
		return len(value) == 0 || new(big.Int).SetBytes(value).Cmp(n) == 0
	}
	var keyType uint
	switch key := public.(type) {
	case *rsa.PublicKey:
		keyType = pkcs11.CKK_RSA
		if !isShown(pkcs11.CKA_MODULUS, key.N) || !isShown(pkcs11.CKA_PUBLIC_EXPONENT, big.NewInt(int64(key.E))) {
			return false
		}
	case *ecdsa.PublicKey:
		keyType = pkcs11.CKK_EC
		if params := values[pkcs11.CKA_EC_PARAMS]; len(params) > 0 {
			if curve, err := signingCurve(params); err != nil || curve != key.Curve {
				return false
			}
		}
	default:
		return false
	}
	known := ulongs(values[pkcs11.CKA_KEY_TYPE])
	return len(known) != 1 || known[0] == keyType
}

// equal compares public keys of any type.
func equal(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(b)
}
