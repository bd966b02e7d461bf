// SPDX-License-Identifier: Apache-2.0

package pkcs11

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"

	"github.com/miekg/pkcs11"
)

// curves are the elliptic curves that this package signs with, and how
// CKA_EC_PARAMS names them: by OID, or by the name as a PrintableString
// (section 2.3.3 of the mechanisms specification).
var curves = []struct {
	curve elliptic.Curve
	oid   asn1.ObjectIdentifier
	name  string
}{
	{elliptic.P256(), asn1.ObjectIdentifier{1, 2, 840, 10045, 3, 1, 7}, "secp256r1"},
	{elliptic.P384(), asn1.ObjectIdentifier{1, 3, 132, 0, 34}, "secp384r1"},
	{elliptic.P521(), asn1.ObjectIdentifier{1, 3, 132, 0, 35}, "secp521r1"},
}

// publicAttributes are what parsePublicKey reads, from a private or a public
// key object.
var publicAttributes = []uint{
	pkcs11.CKA_KEY_TYPE, pkcs11.CKA_MODULUS, pkcs11.CKA_PUBLIC_EXPONENT, pkcs11.CKA_EC_PARAMS, pkcs11.CKA_EC_POINT,
}

// errNoPublicHalf says that an object's attributes don't show the public key,
// so that it must come from somewhere else.
var errNoPublicHalf = errors.New("the object doesn't show the public key")

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

func parseRSA(modulus, exponent []byte) (crypto.PublicKey, error) {
	if len(modulus) == 0 || len(exponent) == 0 {
		return nil, errNoPublicHalf
	}
	e := new(big.Int).SetBytes(exponent)
	if !e.IsInt64() || e.Int64() > 1<<31-1 || e.Int64() < 3 || e.Bit(0) == 0 {
		return nil, errors.New("its RSA public exponent is out of range")
	}
	const maxBytes = 16384 / 8
	if len(modulus) > maxBytes+1 {
		return nil, errors.New("its RSA modulus is longer than 16384 bits")
	}
	n := new(big.Int).SetBytes(modulus)
	if n.Sign() == 0 {
		return nil, errors.New("its RSA modulus is zero")
	}
	return &rsa.PublicKey{N: n, E: int(e.Int64())}, nil
}

func parseEC(params, point []byte) (crypto.PublicKey, error) {
	if len(params) == 0 {
		return nil, errNoPublicHalf
	}
	curve, err := parseCurve(params)
	if err != nil {
		return nil, err
	}
	if len(point) == 0 {
		return nil, errNoPublicHalf
	}
	// Section 2.3.3 wants the point in a DER OCTET STRING; some modules give it
	// raw. Both can begin with 04, so the curve decides: it knows its length.
	if key, err := ecdsa.ParseUncompressedPublicKey(curve, point); err == nil {
		return key, nil
	}
	var raw []byte
	if rest, err := asn1.Unmarshal(point, &raw); err != nil || len(rest) > 0 {
		return nil, fmt.Errorf("its CKA_EC_POINT is neither a point of %s nor one in an OCTET STRING", curve.Params().Name)
	}
	key, err := ecdsa.ParseUncompressedPublicKey(curve, raw)
	if err != nil {
		return nil, fmt.Errorf("its CKA_EC_POINT is no uncompressed point of %s", curve.Params().Name)
	}
	return key, nil
}

func parseCurve(params []byte) (elliptic.Curve, error) {
	var oid asn1.ObjectIdentifier
	if _, err := asn1.Unmarshal(params, &oid); err == nil {
		for _, c := range curves {
			if c.oid.Equal(oid) {
				return c.curve, nil
			}
		}
		return nil, fmt.Errorf("its curve (%s) is not P-256, P-384 or P-521", shorten(oid.String()))
	}
	var name string
	if _, err := asn1.Unmarshal(params, &name); err == nil {
		for _, c := range curves {
			if c.name == name {
				return c.curve, nil
			}
		}
		return nil, fmt.Errorf("its curve (%q) is not P-256, P-384 or P-521", shorten(name))
	}
	return nil, errors.New("its CKA_EC_PARAMS don't name a curve; P-256, P-384 and P-521 can be used")
}

// fits reports whether a public key can be the other half of a private key
// that showed these attributes: what they show must be equal.
func fits(values map[uint][]byte, public crypto.PublicKey) bool {
	var keyType uint
	switch key := public.(type) {
	case *rsa.PublicKey:
		keyType = pkcs11.CKK_RSA
		if m := values[pkcs11.CKA_MODULUS]; len(m) > 0 && new(big.Int).SetBytes(m).Cmp(key.N) != 0 {
			return false
		}
	case *ecdsa.PublicKey:
		keyType = pkcs11.CKK_EC
		if params := values[pkcs11.CKA_EC_PARAMS]; len(params) > 0 {
			if curve, err := parseCurve(params); err != nil || curve != key.Curve {
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

// distinct leaves out public keys that occur before.
func distinct(keys []crypto.PublicKey) []crypto.PublicKey {
	var d []crypto.PublicKey
next:
	for _, key := range keys {
		for _, other := range d {
			if equal(other, key) {
				continue next
			}
		}
		d = append(d, key)
	}
	return d
}

// findPublicKey finds the public half of a private key: in its own attributes, in the
// public key object and in the certificate with its CKA_ID or label, or in a
// certificate from elsewhere. It returns the attributes that it read, too. A
// wrong guess can't do harm: each signature is verified with the public key.
func (k *Key) findPublicKey(s pkcs11.SessionHandle, o object) (crypto.PublicKey, map[uint][]byte, error) {
	calls, uri := k.token.calls, o.uri(k.token.URI())
	// What can't be read here is looked for elsewhere, or told by the signature.
	values, _ := calls.read(s, o.handle, pkcs11.CKA_KEY_TYPE, pkcs11.CKA_SIGN)
	half := []uint{pkcs11.CKA_MODULUS, pkcs11.CKA_PUBLIC_EXPONENT}
	if t := ulongs(values[pkcs11.CKA_KEY_TYPE]); len(t) == 1 && t[0] == pkcs11.CKK_EC {
		half = []uint{pkcs11.CKA_EC_PARAMS, pkcs11.CKA_EC_POINT}
	}
	more, _ := calls.read(s, o.handle, half...)
	for name, value := range more {
		values[name] = value
	}
	switch public, err := parsePublicKey(values); {
	case err == nil:
		return public, values, nil
	case !errors.Is(err, errNoPublicHalf):
		return nil, nil, newError(KindKey, "the key %s can't be used: %v", uri, err)
	}
	for _, u := range o.siblings() {
		for _, source := range []func(pkcs11.SessionHandle, URI) ([]crypto.PublicKey, error){calls.publicKeys, calls.certifiedKeys} {
			keys, err := source(s, u)
			if err != nil {
				return nil, nil, asError(err, "the public half of the key %s can't be read", uri)
			}
			if public := onlyFitting(values, keys); public != nil {
				return public, values, nil
			}
		}
	}
	if public := onlyFitting(values, keysOf(k.certificates)); public != nil {
		return public, values, nil
	}
	return nil, nil, newError(KindPublicKey, "the token doesn't show the public half of the key %s: "+
		"neither the key's attributes, nor a public key or certificate with its id or label, nor a certificate from elsewhere", uri)
}

// siblings are URIs of the objects that belong to a private key: those with its
// CKA_ID, then those with its label, since on some tokens only one is kept.
func (o object) siblings() []URI {
	var uris []URI
	if len(o.id) > 0 {
		uris = append(uris, URI{}.With(AttrID, string(o.id)))
	}
	if o.label != "" {
		uris = append(uris, URI{}.With(AttrObject, o.label))
	}
	return uris
}

// onlyFitting returns the only public key that can belong to a private key
// with these attributes; nil where there is none, or several.
func onlyFitting(values map[uint][]byte, keys []crypto.PublicKey) crypto.PublicKey {
	var fitting []crypto.PublicKey
	for _, public := range keys {
		if fits(values, public) {
			fitting = append(fitting, public)
		}
	}
	if fitting = distinct(fitting); len(fitting) == 1 {
		return fitting[0]
	}
	return nil
}

// publicKeys reads the public key objects that the URI selects. Those of types
// that can't be used are left out.
func (c *calls) publicKeys(s pkcs11.SessionHandle, u URI) ([]crypto.PublicKey, error) {
	found, err := c.find(s, pkcs11.CKO_PUBLIC_KEY, u)
	if err != nil {
		return nil, err
	}
	var keys []crypto.PublicKey
	for _, o := range found {
		values, err := c.read(s, o.handle, publicAttributes...)
		if err != nil {
			return nil, err
		}
		if public, err := parsePublicKey(values); err == nil {
			keys = append(keys, public)
		}
	}
	return distinct(keys), nil
}

// certifiedKeys reads the public keys of the certificates that the URI selects.
func (c *calls) certifiedKeys(s pkcs11.SessionHandle, u URI) ([]crypto.PublicKey, error) {
	certificates, err := c.certificates(s, u)
	return distinct(keysOf(certificates)), err
}
