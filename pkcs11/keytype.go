// SPDX-License-Identifier: Apache-2.0

package pkcs11

import (
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

// keyType names the type and size of a private key, whether it can be used or
// not.
func (o object) keyType() string {
	known := ulongs(o.values[pkcs11.CKA_KEY_TYPE])
	if len(known) != 1 {
		return "unknown"
	}
	switch known[0] {
	case pkcs11.CKK_RSA:
		if modulus := o.values[pkcs11.CKA_MODULUS]; len(modulus) > 0 {
			bytes := (new(big.Int).SetBytes(modulus).BitLen() + 7) / 8
			return fmt.Sprintf("RSA-%d", 8*bytes)
		}
		return "RSA"
	case pkcs11.CKK_EC, ckkECEdwards:
		if c, _ := curveOf(o.values[pkcs11.CKA_EC_PARAMS]); c.name != "" {
			return c.name
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
