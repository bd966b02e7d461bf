// SPDX-License-Identifier: Apache-2.0

package pkcs11

import (
	"crypto/elliptic"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"slices"
)

// curve is an elliptic curve that a token can have, and what it is called where.
type curve struct {
	// name is what lists say: the keys of notation and others as EC-256.
	name string
	// oid and alias name it in CKA_EC_PARAMS: by OID, or by a name as a
	// PrintableString (section 2.3.3 of the mechanisms specification).
	oid   asn1.ObjectIdentifier
	alias string
	// curve and generated are of those that this package signs with: Go's
	// arithmetic, and the type that Session.Generate knows. The others are here
	// so that a list can say what they are.
	curve     elliptic.Curve
	generated string
}

// curves is the one table of them, those that this package signs with first.
var curves = []curve{
	{"EC-256", asn1.ObjectIdentifier{1, 2, 840, 10045, 3, 1, 7}, "secp256r1", elliptic.P256(), "ec:p256"},
	{"EC-384", asn1.ObjectIdentifier{1, 3, 132, 0, 34}, "secp384r1", elliptic.P384(), "ec:p384"},
	{"EC-521", asn1.ObjectIdentifier{1, 3, 132, 0, 35}, "secp521r1", elliptic.P521(), "ec:p521"},
	{"EC-192", asn1.ObjectIdentifier{1, 2, 840, 10045, 3, 1, 1}, "", nil, ""},
	{"EC-224", asn1.ObjectIdentifier{1, 3, 132, 0, 33}, "secp224r1", nil, ""},
	{"secp256k1", asn1.ObjectIdentifier{1, 3, 132, 0, 10}, "", nil, ""},
	{"brainpoolP256r1", asn1.ObjectIdentifier{1, 3, 36, 3, 3, 2, 8, 1, 1, 7}, "", nil, ""},
	{"brainpoolP384r1", asn1.ObjectIdentifier{1, 3, 36, 3, 3, 2, 8, 1, 1, 11}, "", nil, ""},
	{"brainpoolP512r1", asn1.ObjectIdentifier{1, 3, 36, 3, 3, 2, 8, 1, 1, 13}, "", nil, ""},
	{"Ed25519", asn1.ObjectIdentifier{1, 3, 101, 112}, "edwards25519", nil, ""},
	{"Ed25519", asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11591, 15, 1}, "", nil, ""}, // GnuPG's, which OpenSC uses
	{"Ed448", asn1.ObjectIdentifier{1, 3, 101, 113}, "edwards448", nil, ""},
}

// signingCurves are the rows of curves that this package signs with.
func signingCurves() []curve {
	return curves[:slices.IndexFunc(curves, func(c curve) bool { return c.curve == nil })]
}

// curveOf finds the curve that CKA_EC_PARAMS names. Where the table doesn't know
// it, only the name is set; where no name is there, the error says so.
func curveOf(params []byte) (curve, error) {
	var oid asn1.ObjectIdentifier
	if _, err := asn1.Unmarshal(params, &oid); err == nil {
		for _, c := range curves {
			if c.oid.Equal(oid) {
				return c, nil
			}
		}
		return curve{name: "EC " + shorten(oid.String())}, nil
	}
	var alias string
	if _, err := asn1.Unmarshal(params, &alias); err == nil {
		for _, c := range curves {
			if c.alias != "" && c.alias == alias {
				return c, nil
			}
		}
		return curve{name: fmt.Sprintf("EC %q", shorten(alias))}, nil
	}
	return explicitCurve(params)
}

// explicitCurve recognises a curve by its parameters themselves (SEC 1, section
// C.2). They only name it: no arithmetic is ever done with what a token says.
func explicitCurve(params []byte) (curve, error) {
	var explicit struct {
		Version int
		Field   struct {
			Type  asn1.ObjectIdentifier
			Prime asn1.RawValue
		}
		Coefficients asn1.RawValue
		Base         []byte
		Order        *big.Int
	}
	if _, err := asn1.Unmarshal(params, &explicit); err != nil {
		return curve{}, errors.New("its CKA_EC_PARAMS don't name a curve; P-256, P-384 and P-521 can be used")
	}
	for _, c := range signingCurves() {
		if p := c.curve.Params(); p.N.Cmp(explicit.Order) == 0 && new(big.Int).SetBytes(explicit.Field.Prime.Bytes).Cmp(p.P) == 0 {
			return c, nil
		}
	}
	return curve{name: "EC"}, nil
}

// signingCurve finds the curve that CKA_EC_PARAMS names, and refuses one that
// this package doesn't sign with.
func signingCurve(params []byte) (elliptic.Curve, error) {
	c, err := curveOf(params)
	if err != nil {
		return nil, err
	}
	if c.curve == nil {
		name := c.name
		if c.oid != nil {
			name += ", " + c.oid.String()
		}
		return nil, fmt.Errorf("its curve (%s) is not P-256, P-384 or P-521", name)
	}
	return c.curve, nil
}

// parameters name the curve as CKA_EC_PARAMS does.
func (c curve) parameters() []byte {
	der, _ := asn1.Marshal(c.oid) // of a constant
	return der
}
