// SPDX-License-Identifier: Apache-2.0

package pkcs11

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/pkcs11"

	_ "crypto/sha256" // the hashes that scheme.digest needs
	_ "crypto/sha512"
)

// schemes is the one table of what can be signed: for each hash, the
// mechanisms that make such a signature, best first. The salt of PSS is as long
// as the hash, and MGF1 uses the same hash. PKCS#1 v1.5 and multi-part
// operations are not in it on purpose.
var schemes = []struct {
	hash crypto.Hash
	// for CK_RSA_PKCS_PSS_PARAMS
	hashMechanism, mgf uint
	// of the message, where the token hashes
	messagePSS, messageECDSA uint
}{
	{crypto.SHA256, pkcs11.CKM_SHA256, pkcs11.CKG_MGF1_SHA256, pkcs11.CKM_SHA256_RSA_PKCS_PSS, pkcs11.CKM_ECDSA_SHA256},
	{crypto.SHA384, pkcs11.CKM_SHA384, pkcs11.CKG_MGF1_SHA384, pkcs11.CKM_SHA384_RSA_PKCS_PSS, pkcs11.CKM_ECDSA_SHA384},
	{crypto.SHA512, pkcs11.CKM_SHA512, pkcs11.CKG_MGF1_SHA512, pkcs11.CKM_SHA512_RSA_PKCS_PSS, pkcs11.CKM_ECDSA_SHA512},
}

// input is what a mechanism is given to sign.
type input int

const (
	inputDigest  input = iota // the message's hash
	inputMessage              // the message itself: the token hashes
	inputEncoded              // the hash in its PSS encoding, as long as the modulus
)

// mechanism is one way to make a signature.
type mechanism struct {
	id    uint
	input input
	pss   []byte // CK_RSA_PKCS_PSS_PARAMS, or nil
}

// plan lists the mechanisms for a public key and signer options, in the
// table's order.
func plan(public crypto.PublicKey, opts crypto.SignerOpts) ([]mechanism, error) {
	if opts == nil {
		return nil, errors.New("no signer options were given; they name the hash")
	}
	hash := opts.HashFunc()
	for _, s := range schemes {
		if s.hash != hash {
			continue
		}
		switch public.(type) {
		case *rsa.PublicKey:
			if err := checkPSS(opts); err != nil {
				return nil, err
			}
			pss := pkcs11.NewPSSParams(s.hashMechanism, s.mgf, uint(hash.Size()))
			return []mechanism{
				{id: pkcs11.CKM_RSA_PKCS_PSS, input: inputDigest, pss: pss},
				{id: s.messagePSS, input: inputMessage, pss: pss},
				{id: pkcs11.CKM_RSA_X_509, input: inputEncoded},
			}, nil
		case *ecdsa.PublicKey:
			return []mechanism{
				{id: pkcs11.CKM_ECDSA, input: inputDigest},
				{id: s.messageECDSA, input: inputMessage},
			}, nil
		}
		return nil, fmt.Errorf("keys of type %T can't be used", public)
	}
	return nil, fmt.Errorf("the hash %v can't be used; SHA-256, SHA-384 and SHA-512 can", hash)
}

// usualOptions are signer options for a public key, with a hash of its strength:
// keys that are fixed to a hash have mostly that.
func usualOptions(public crypto.PublicKey) crypto.SignerOpts {
	hash := crypto.SHA512
	switch key := public.(type) {
	case *rsa.PublicKey:
		switch bits := key.Size() * 8; {
		case bits <= 2048:
			hash = crypto.SHA256
		case bits <= 3072:
			hash = crypto.SHA384
		}
		return &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: hash}
	case *ecdsa.PublicKey:
		switch bits := key.Curve.Params().BitSize; {
		case bits <= 256:
			hash = crypto.SHA256
		case bits <= 384:
			hash = crypto.SHA384
		}
	}
	return hash
}

// checkPSS refuses all but RSASSA-PSS with a salt as long as the hash.
func checkPSS(opts crypto.SignerOpts) error {
	pss, ok := opts.(*rsa.PSSOptions)
	if !ok {
		return errors.New("RSA signatures are made with PSS only, never PKCS#1 v1.5; pass *rsa.PSSOptions")
	}
	if n := pss.SaltLength; n != rsa.PSSSaltLengthEqualsHash && n != pss.Hash.Size() {
		return errors.New("RSA-PSS signatures are made with a salt as long as the hash only; set SaltLength to rsa.PSSSaltLengthEqualsHash")
	}
	return nil
}

// allowed keeps the mechanisms that CKA_ALLOWED_MECHANISMS names. An empty
// list allows all: some tokens show one on keys without restrictions.
func allowed(plan []mechanism, list []uint) []mechanism {
	if len(list) == 0 {
		return plan
	}
	return slices.DeleteFunc(slices.Clone(plan), func(m mechanism) bool { return !slices.Contains(list, m.id) })
}

// checkAllowed refuses a plan of which CKA_ALLOWED_MECHANISMS leaves nothing.
func checkAllowed(key URI, plan []mechanism, list []uint) error {
	if len(allowed(plan, list)) > 0 {
		return nil
	}
	return newError(KindMechanism, "the key %s is restricted by its CKA_ALLOWED_MECHANISMS to others than %s", key, listMechanisms(plan))
}

// preferred puts those first that the token's mechanism list names. The others
// stay: the list of a TPM lacks mechanisms that work.
func preferred(plan []mechanism, list []uint) []mechanism {
	rank := func(m mechanism) int {
		if slices.Contains(list, m.id) {
			return 0
		}
		return 1
	}
	ordered := slices.Clone(plan)
	slices.SortStableFunc(ordered, func(a, b mechanism) int { return rank(a) - rank(b) })
	return ordered
}

// isMechanismError reports whether a CKR of C_SignInit or C_Sign means that
// another mechanism may do.
func isMechanismError(rv uint) bool {
	switch rv {
	case pkcs11.CKR_MECHANISM_INVALID, pkcs11.CKR_MECHANISM_PARAM_INVALID, pkcs11.CKR_FUNCTION_NOT_SUPPORTED,
		pkcs11.CKR_KEY_TYPE_INCONSISTENT, pkcs11.CKR_KEY_SIZE_RANGE, pkcs11.CKR_DATA_INVALID, pkcs11.CKR_DATA_LEN_RANGE:
		return true
	}
	return false
}

// mechanismNames are those of the table, as the specification spells them.
var mechanismNames = map[uint]string{
	pkcs11.CKM_RSA_PKCS_PSS:        "CKM_RSA_PKCS_PSS",
	pkcs11.CKM_SHA256_RSA_PKCS_PSS: "CKM_SHA256_RSA_PKCS_PSS",
	pkcs11.CKM_SHA384_RSA_PKCS_PSS: "CKM_SHA384_RSA_PKCS_PSS",
	pkcs11.CKM_SHA512_RSA_PKCS_PSS: "CKM_SHA512_RSA_PKCS_PSS",
	pkcs11.CKM_RSA_X_509:           "CKM_RSA_X_509",
	pkcs11.CKM_ECDSA:               "CKM_ECDSA",
	pkcs11.CKM_ECDSA_SHA256:        "CKM_ECDSA_SHA256",
	pkcs11.CKM_ECDSA_SHA384:        "CKM_ECDSA_SHA384",
	pkcs11.CKM_ECDSA_SHA512:        "CKM_ECDSA_SHA512",
}

func (m mechanism) String() string { return mechanismNames[m.id] }

func listMechanisms(plan []mechanism) string {
	names := make([]string, len(plan))
	for i, m := range plan {
		names[i] = m.String()
	}
	return strings.Join(names, ", ")
}
