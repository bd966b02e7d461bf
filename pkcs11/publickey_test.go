// SPDX-License-Identifier: Apache-2.0

package pkcs11

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/pkcs11"
)

func ulong(n uint) []byte { return pkcs11.NewAttribute(0, n).Value }

func mustMarshal(tb testing.TB, value any) []byte {
	tb.Helper()
	der, err := asn1.Marshal(value)
	if err != nil {
		tb.Fatal(err)
	}
	return der
}

func TestPublicKeyInWhateverEncoding(t *testing.T) {
	for _, c := range signingCurves() {
		key, err := ecdsa.GenerateKey(c.curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := key.PublicKey.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		oid, name := mustMarshal(t, c.oid), mustMarshal(t, c.alias)
		half := raw[1 : 1+(len(raw)-1)/2]
		compressed := append([]byte{2 + raw[len(raw)-1]&1}, half...)
		explicit := mustMarshal(t, struct {
			Version int
			Field   struct {
				Type  asn1.ObjectIdentifier
				Prime *big.Int
			}
			Coefficients struct{ A, B []byte }
			Base         []byte
			Order        *big.Int
			Cofactor     int
		}{
			Version: 1,
			Field: struct {
				Type  asn1.ObjectIdentifier
				Prime *big.Int
			}{asn1.ObjectIdentifier{1, 2, 840, 10045, 1, 1}, c.curve.Params().P},
			Base: raw, Order: c.curve.Params().N, Cofactor: 1,
		})
		for encoding, values := range map[string]map[uint][]byte{
			"parameters, wrapped": {pkcs11.CKA_EC_PARAMS: explicit, pkcs11.CKA_EC_POINT: mustMarshal(t, raw)},
			"BIT STRING":          {pkcs11.CKA_EC_PARAMS: oid, pkcs11.CKA_EC_POINT: mustMarshal(t, asn1.BitString{Bytes: raw, BitLength: 8 * len(raw)})},
			"compressed":          {pkcs11.CKA_EC_PARAMS: oid, pkcs11.CKA_EC_POINT: mustMarshal(t, compressed)},
			"OID, wrapped":        {pkcs11.CKA_EC_PARAMS: oid, pkcs11.CKA_EC_POINT: mustMarshal(t, raw)},
			"OID, raw":            {pkcs11.CKA_EC_PARAMS: oid, pkcs11.CKA_EC_POINT: raw},
			"name, wrapped":       {pkcs11.CKA_EC_PARAMS: name, pkcs11.CKA_EC_POINT: mustMarshal(t, raw)},
		} {
			values[pkcs11.CKA_KEY_TYPE] = ulong(pkcs11.CKK_EC)
			public, err := parsePublicKey(values)
			if err != nil || !key.PublicKey.Equal(public) {
				t.Errorf("%s, %s: %v, %v", c.alias, encoding, public, err)
			}
		}
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	public, err := parsePublicKey(map[uint][]byte{
		pkcs11.CKA_KEY_TYPE: ulong(pkcs11.CKK_RSA), pkcs11.CKA_MODULUS: append([]byte{0}, key.N.Bytes()...), pkcs11.CKA_PUBLIC_EXPONENT: {0, 1, 0, 1},
	})
	if err != nil || !key.PublicKey.Equal(public) {
		t.Errorf("RSA: %v", err)
	}
}

func TestPublicKeyRefuses(t *testing.T) {
	p256 := mustMarshal(t, curves[0].oid)
	point := make([]byte, 65)
	point[0] = 4
	const unknown = "" // not shown here, so to be looked for elsewhere
	for name, test := range map[string]struct {
		values map[uint][]byte
		wants  string
	}{
		"nothing shown":     {map[uint][]byte{}, unknown},
		"no modulus":        {map[uint][]byte{pkcs11.CKA_KEY_TYPE: ulong(pkcs11.CKK_RSA), pkcs11.CKA_PUBLIC_EXPONENT: {3}}, unknown},
		"no point":          {map[uint][]byte{pkcs11.CKA_KEY_TYPE: ulong(pkcs11.CKK_EC), pkcs11.CKA_EC_PARAMS: p256}, unknown},
		"Ed25519":           {map[uint][]byte{pkcs11.CKA_KEY_TYPE: ulong(0x40)}, "neither CKK_RSA nor CKK_EC"},
		"P-224":             {map[uint][]byte{pkcs11.CKA_KEY_TYPE: ulong(pkcs11.CKK_EC), pkcs11.CKA_EC_PARAMS: mustMarshal(t, asn1.ObjectIdentifier{1, 3, 132, 0, 33})}, "1.3.132.0.33"},
		"secp256k1":         {map[uint][]byte{pkcs11.CKA_KEY_TYPE: ulong(pkcs11.CKK_EC), pkcs11.CKA_EC_PARAMS: mustMarshal(t, "secp256k1")}, "secp256k1"},
		"explicit params":   {map[uint][]byte{pkcs11.CKA_KEY_TYPE: ulong(pkcs11.CKK_EC), pkcs11.CKA_EC_PARAMS: {0x30, 0}}, "don't name a curve"},
		"not on the curve":  {map[uint][]byte{pkcs11.CKA_KEY_TYPE: ulong(pkcs11.CKK_EC), pkcs11.CKA_EC_PARAMS: p256, pkcs11.CKA_EC_POINT: point}, "CKA_EC_POINT"},
		"wrapped, not on":   {map[uint][]byte{pkcs11.CKA_KEY_TYPE: ulong(pkcs11.CKK_EC), pkcs11.CKA_EC_PARAMS: p256, pkcs11.CKA_EC_POINT: mustMarshal(t, point)}, "CKA_EC_POINT is no point of P-256"},
		"exponent 1":        {map[uint][]byte{pkcs11.CKA_KEY_TYPE: ulong(pkcs11.CKK_RSA), pkcs11.CKA_MODULUS: {1, 1}, pkcs11.CKA_PUBLIC_EXPONENT: {1}}, "exponent is out of range"},
		"even exponent":     {map[uint][]byte{pkcs11.CKA_KEY_TYPE: ulong(pkcs11.CKK_RSA), pkcs11.CKA_MODULUS: {1, 1}, pkcs11.CKA_PUBLIC_EXPONENT: {4}}, "exponent is out of range"},
		"endless exponent":  {map[uint][]byte{pkcs11.CKA_KEY_TYPE: ulong(pkcs11.CKK_RSA), pkcs11.CKA_MODULUS: {1, 1}, pkcs11.CKA_PUBLIC_EXPONENT: {1, 0, 0, 0, 0, 0, 0, 0, 1}}, "exponent is out of range"},
		"endless modulus":   {map[uint][]byte{pkcs11.CKA_KEY_TYPE: ulong(pkcs11.CKK_RSA), pkcs11.CKA_MODULUS: bytes.Repeat([]byte{0xff}, 4096), pkcs11.CKA_PUBLIC_EXPONENT: {3}}, "longer than 8192 bits"},
		"modulus of zeros":  {map[uint][]byte{pkcs11.CKA_KEY_TYPE: ulong(pkcs11.CKK_RSA), pkcs11.CKA_MODULUS: {0, 0}, pkcs11.CKA_PUBLIC_EXPONENT: {3}}, "modulus is zero"},
		"truncated type":    {map[uint][]byte{pkcs11.CKA_KEY_TYPE: {3}, pkcs11.CKA_MODULUS: {1, 1}, pkcs11.CKA_PUBLIC_EXPONENT: {3}}, unknown},
		"point at infinity": {map[uint][]byte{pkcs11.CKA_KEY_TYPE: ulong(pkcs11.CKK_EC), pkcs11.CKA_EC_PARAMS: p256, pkcs11.CKA_EC_POINT: {0}}, "CKA_EC_POINT"},
	} {
		t.Run(name, func(t *testing.T) {
			public, err := parsePublicKey(test.values)
			switch {
			case err == nil:
				t.Errorf("accepted as %v", public)
			case test.wants == unknown && !errors.Is(err, errNoPublicHalf):
				t.Errorf("error %q, want %q", err, errNoPublicHalf)
			case !strings.Contains(err.Error(), test.wants):
				t.Errorf("error %q, want %s", err, test.wants)
			}
		})
	}
}

func TestGuessedPublicKeyMustFitWhatThePrivateKeyShows(t *testing.T) {
	p256 := &ecdsa.PublicKey{Curve: elliptic.P256()}
	p384 := &ecdsa.PublicKey{Curve: elliptic.P384()}
	rsaKey := &rsa.PublicKey{N: big.NewInt(15), E: 3}
	ec := map[uint][]byte{pkcs11.CKA_KEY_TYPE: ulong(pkcs11.CKK_EC), pkcs11.CKA_EC_PARAMS: mustMarshal(t, curves[0].oid)}
	modulus := map[uint][]byte{pkcs11.CKA_KEY_TYPE: ulong(pkcs11.CKK_RSA), pkcs11.CKA_MODULUS: {15}}
	other := map[uint][]byte{pkcs11.CKA_KEY_TYPE: ulong(pkcs11.CKK_RSA), pkcs11.CKA_MODULUS: {21}}
	for i, test := range []struct {
		values map[uint][]byte
		public any
		want   bool
	}{
		{ec, p256, true}, {ec, p384, false}, {ec, rsaKey, false}, {modulus, rsaKey, true}, {other, rsaKey, false},
		{map[uint][]byte{}, p384, true}, {map[uint][]byte{}, rsaKey, true}, {map[uint][]byte{}, "no key", false},
	} {
		if got := fits(test.values, test.public); got != test.want {
			t.Errorf("case %d: %t, want %t", i, got, test.want)
		}
	}
}

// FuzzPublicKey feeds what a hostile token could show. What is accepted is the
// key that the attributes say, and one that every X.509 parser takes back.
func FuzzPublicKey(f *testing.F) {
	for _, c := range signingCurves() {
		key, err := ecdsa.GenerateKey(c.curve, rand.Reader)
		if err != nil {
			f.Fatal(err)
		}
		raw, err := key.PublicKey.Bytes()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(ulong(pkcs11.CKK_EC), []byte{}, []byte{}, mustMarshal(f, c.oid), raw)
		f.Add(ulong(pkcs11.CKK_EC), []byte{}, []byte{}, mustMarshal(f, c.alias), mustMarshal(f, raw))
		f.Add(ulong(pkcs11.CKK_EC), []byte{}, []byte{}, mustMarshal(f, c.oid), raw[:33])
	}
	f.Add(ulong(pkcs11.CKK_EC), []byte{}, []byte{}, mustMarshal(f, "secp256k1"), []byte{4, 1})
	f.Add(ulong(pkcs11.CKK_EC), []byte{}, []byte{}, mustMarshal(f, asn1.ObjectIdentifier(slices.Repeat([]int{1}, 500))), []byte{4, 1})
	f.Add(ulong(pkcs11.CKK_RSA), []byte{0, 0xC3, 15}, []byte{0, 1, 0, 1}, []byte{}, []byte{})
	f.Add(ulong(pkcs11.CKK_RSA), []byte{0}, []byte{3}, []byte{}, []byte{})
	f.Add([]byte{}, []byte{}, []byte{}, []byte{}, []byte{})
	f.Fuzz(func(t *testing.T, keyType, modulus, exponent, params, point []byte) {
		public, err := parsePublicKey(map[uint][]byte{
			pkcs11.CKA_KEY_TYPE: keyType, pkcs11.CKA_MODULUS: modulus, pkcs11.CKA_PUBLIC_EXPONENT: exponent,
			pkcs11.CKA_EC_PARAMS: params, pkcs11.CKA_EC_POINT: point,
		})
		if err != nil {
			if public != nil || len(err.Error()) > 300 {
				t.Fatalf("%v, %v", public, err)
			}
			return
		}
		switch key := public.(type) {
		case *rsa.PublicKey:
			if key.N.Cmp(new(big.Int).SetBytes(modulus)) != 0 || key.N.Sign() <= 0 || key.N.BitLen() > maxRSABits {
				t.Errorf("the modulus is %x", key.N)
			}
			if e := new(big.Int).SetBytes(exponent); e.Cmp(big.NewInt(int64(key.E))) != 0 || key.E < 3 || key.E%2 == 0 {
				t.Errorf("the exponent is %d", key.E)
			}
		case *ecdsa.PublicKey:
			if raw, err := key.Bytes(); err != nil || !bytes.HasSuffix(point, raw) && !bytes.HasSuffix(point, raw[1:1+len(raw)/2]) { // whole or compressed
				t.Errorf("the point is %x, %v", raw, err)
			}
			if curve, err := signingCurve(params); err != nil || curve != key.Curve {
				t.Errorf("the curve is %v, %v", key.Curve, err)
			}
		default:
			t.Fatalf("a key of the type %T", public)
		}
		der, err := x509.MarshalPKIXPublicKey(public)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := x509.ParsePKIXPublicKey(der); err != nil || !equal(public, back) {
			t.Errorf("it came back as %v, %v", back, err)
		}
	})
}
