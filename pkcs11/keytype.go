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
func (c *calls) keyType(s pkcs11.SessionHandle, o object) (string, error) {
	values, err := c.read(s, o.handle, pkcs11.CKA_KEY_TYPE)
	if err != nil {
		return "", err
	}
	known := ulongs(values[pkcs11.CKA_KEY_TYPE])
	if len(known) != 1 {
		return "unknown", nil
	}
	switch known[0] {
	case pkcs11.CKK_RSA:
		values, err := c.read(s, o.handle, pkcs11.CKA_MODULUS)
		if modulus := values[pkcs11.CKA_MODULUS]; len(modulus) > 0 {
			bytes := (new(big.Int).SetBytes(modulus).BitLen() + 7) / 8
			return fmt.Sprintf("RSA-%d", 8*bytes), err
		}
		return "RSA", err
	case pkcs11.CKK_EC, ckkECEdwards:
		values, err := c.read(s, o.handle, pkcs11.CKA_EC_PARAMS)
		if c, _ := curveOf(values[pkcs11.CKA_EC_PARAMS]); c.name != "" {
			return c.name, err
		}
		if known[0] == pkcs11.CKK_EC {
			return "EC", err
		}
	}
	if name := typeNames[known[0]]; name != "" {
		return name, nil
	}
	return fmt.Sprintf("CKA_KEY_TYPE 0x%X", known[0]), nil
}
