// SPDX-License-Identifier: Apache-2.0

package pkcs11

import (
	"encoding/asn1"
	"fmt"
	"math/big"

	"github.com/miekg/pkcs11"
)

// ckkECEdwards is CKK_EC_EDWARDS of PKCS#11 v3.0, which the binding lacks.
const ckkECEdwards = 0x40

// typeNames are the types of keys that lists name without a size.
var typeNames = map[uint]string{
	pkcs11.CKK_DSA: "DSA",
	pkcs11.CKK_DH:  "DH",
	ckkECEdwards:   "Edwards curve",
}

// curveNames are the curves that tokens have, by the OID in CKA_EC_PARAMS. Only
// those of the table in publickey.go can be used; the others have names so that
// a list can say what they are.
var curveNames = []struct {
	oid  asn1.ObjectIdentifier
	name string
}{
	{asn1.ObjectIdentifier{1, 2, 840, 10045, 3, 1, 1}, "EC-192"},
	{asn1.ObjectIdentifier{1, 3, 132, 0, 33}, "EC-224"},
	{asn1.ObjectIdentifier{1, 2, 840, 10045, 3, 1, 7}, "EC-256"},
	{asn1.ObjectIdentifier{1, 3, 132, 0, 34}, "EC-384"},
	{asn1.ObjectIdentifier{1, 3, 132, 0, 35}, "EC-521"},
	{asn1.ObjectIdentifier{1, 3, 132, 0, 10}, "secp256k1"},
	{asn1.ObjectIdentifier{1, 3, 36, 3, 3, 2, 8, 1, 1, 7}, "brainpoolP256r1"},
	{asn1.ObjectIdentifier{1, 3, 36, 3, 3, 2, 8, 1, 1, 11}, "brainpoolP384r1"},
	{asn1.ObjectIdentifier{1, 3, 36, 3, 3, 2, 8, 1, 1, 13}, "brainpoolP512r1"},
	{asn1.ObjectIdentifier{1, 3, 101, 112}, "Ed25519"},
	{asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11591, 15, 1}, "Ed25519"}, // GnuPG's, which OpenSC uses
	{asn1.ObjectIdentifier{1, 3, 101, 113}, "Ed448"},
}

// curveAliases are names that stand in CKA_EC_PARAMS instead of an OID.
var curveAliases = map[string]string{
	"secp224r1": "EC-224", "secp256r1": "EC-256", "secp384r1": "EC-384", "secp521r1": "EC-521",
	"edwards25519": "Ed25519", "edwards448": "Ed448",
}

// keyType names the type and size of a private key, whether it can be used or
// not.
func (c *calls) keyType(s pkcs11.SessionHandle, o object) string {
	read := func(attribute uint) []byte {
		values, _ := c.read(s, o.handle, attribute)
		return values[attribute]
	}
	known := ulongs(read(pkcs11.CKA_KEY_TYPE))
	if len(known) != 1 {
		return "unknown"
	}
	switch known[0] {
	case pkcs11.CKK_RSA:
		if modulus := read(pkcs11.CKA_MODULUS); len(modulus) > 0 {
			bytes := (new(big.Int).SetBytes(modulus).BitLen() + 7) / 8
			return fmt.Sprintf("RSA-%d", 8*bytes)
		}
		return "RSA"
	case pkcs11.CKK_EC, ckkECEdwards:
		if name := curveName(read(pkcs11.CKA_EC_PARAMS)); name != "" {
			return name
		}
		if known[0] == pkcs11.CKK_EC {
			return "EC"
		}
	}
	if name := typeNames[known[0]]; name != "" {
		return name
	}
	return fmt.Sprintf("CKA_KEY_TYPE 0x%X", known[0])
}

// curveName is "" where the parameters name no curve.
func curveName(params []byte) string {
	var oid asn1.ObjectIdentifier
	if _, err := asn1.Unmarshal(params, &oid); err == nil {
		for _, c := range curveNames {
			if c.oid.Equal(oid) {
				return c.name
			}
		}
		return "EC " + oid.String()
	}
	var name string
	if _, err := asn1.Unmarshal(params, &name); err == nil {
		return curveAliases[name]
	}
	return ""
}
