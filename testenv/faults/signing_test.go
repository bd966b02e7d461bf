// SPDX-License-Identifier: Apache-2.0

package faults_test

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"slices"
	"testing"

	"github.com/miekg/pkcs11"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

func validPSS(key *testenv.Key, message, signature []byte) bool {
	sum := sha256.Sum256(message)
	return rsa.VerifyPSS(rsaKey(key), crypto.SHA256, sum[:], signature, nil) == nil
}

func TestDenyMechanism(t *testing.T) {
	c := start(t, "deny-mechanism 0x1041", "deny-mechanism 0xd 0x63")
	session := c.openLoggedIn()
	_, err := c.sign(session, c.privateKey(session, "EC-256"), ecdsaDigest, digest)
	wantRV(t, "CKM_ECDSA", err, pkcs11.CKR_MECHANISM_INVALID)
	key := c.privateKey(session, "RSA-2048")
	_, err = c.sign(session, key, pss(pkcs11.CKM_RSA_PKCS_PSS, pkcs11.CKM_SHA256, pkcs11.CKG_MGF1_SHA256, 32), digest)
	wantRV(t, "CKM_RSA_PKCS_PSS", err, pkcs11.CKR_KEY_TYPE_INCONSISTENT)
	_, err = c.sign(session, key, pkcs11.NewMechanism(pkcs11.CKM_SHA256_RSA_PKCS, nil), message)
	wantOK(t, "another mechanism", err)
}

func TestPSSHash(t *testing.T) {
	c := start(t, "pss-hash 0x250")
	session := c.openLoggedIn()
	key := c.privateKey(session, "RSA-3072")
	_, err := c.sign(session, key, pss(pkcs11.CKM_RSA_PKCS_PSS, pkcs11.CKM_SHA384, pkcs11.CKG_MGF1_SHA384, 48), sum384(message))
	wantRV(t, "with SHA-384", err, pkcs11.CKR_MECHANISM_PARAM_INVALID)
	_, err = c.sign(session, key, pss(pkcs11.CKM_RSA_PKCS_PSS, pkcs11.CKM_SHA256, pkcs11.CKG_MGF1_SHA256, 32), digest)
	wantOK(t, "with SHA-256", err)
	_, err = c.sign(session, c.privateKey(session, "EC-256"), ecdsaDigest, digest)
	wantOK(t, "ECDSA", err)
}

func TestDenyAtSign(t *testing.T) {
	c := start(t, "deny-at-sign 0x1041 0x70")
	session := c.openLoggedIn()
	key := c.privateKey(session, "EC-256")
	mechanisms := []*pkcs11.Mechanism{ecdsaDigest}
	wantOK(t, "C_SignInit", c.SignInit(session, mechanisms, key))
	_, err := c.Sign(session, digest)
	wantRV(t, "C_Sign", err, pkcs11.CKR_MECHANISM_INVALID)
	wantRV(t, "C_SignInit after it", c.SignInit(session, mechanisms, key), pkcs11.CKR_OPERATION_ACTIVE)
	wantOK(t, "C_SignInit in another session", c.SignInit(c.open(), mechanisms, key))
}

func TestTokenThatSignsMessagesOnly(t *testing.T) {
	c := start(t, "message-pss", "deny-mechanism 0xd", "message-ecdsa", "deny-mechanism 0x1041")
	session := c.openLoggedIn()
	list, err := c.GetMechanismList(c.token.Slot)
	wantOK(t, "C_GetMechanismList", err)

	for _, test := range []struct {
		hash            crypto.Hash
		sum             []byte
		ckm, mgf        uint
		pss, ecdsa      uint
		rsaKey, ecdsaKy string
	}{
		{crypto.SHA256, digest, pkcs11.CKM_SHA256, pkcs11.CKG_MGF1_SHA256,
			pkcs11.CKM_SHA256_RSA_PKCS_PSS, pkcs11.CKM_ECDSA_SHA256, "RSA-2048", "EC-256"},
		{crypto.SHA384, sum384(message), pkcs11.CKM_SHA384, pkcs11.CKG_MGF1_SHA384,
			pkcs11.CKM_SHA384_RSA_PKCS_PSS, pkcs11.CKM_ECDSA_SHA384, "RSA-3072", "EC-384"},
		{crypto.SHA512, sum512(message), pkcs11.CKM_SHA512, pkcs11.CKG_MGF1_SHA512,
			pkcs11.CKM_SHA512_RSA_PKCS_PSS, pkcs11.CKM_ECDSA_SHA512, "RSA-4096", "EC-521"},
	} {
		signature, err := c.sign(session, c.privateKey(session, test.rsaKey), pss(test.pss, test.ckm, test.mgf, test.hash.Size()), message)
		wantOK(t, test.rsaKey, err)
		options := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}
		if err := rsa.VerifyPSS(rsaKey(c.token.Key(test.rsaKey)), test.hash, test.sum, signature, options); err != nil {
			t.Errorf("%s: %v", test.rsaKey, err)
		}
		signature, err = c.sign(session, c.privateKey(session, test.ecdsaKy), pkcs11.NewMechanism(test.ecdsa, nil), message)
		wantOK(t, test.ecdsaKy, err)
		if !validECDSA(c.token.Key(test.ecdsaKy), test.sum, signature) {
			t.Errorf("%s: signature is %x", test.ecdsaKy, signature)
		}
		for _, mechanism := range []uint{test.pss, test.ecdsa} {
			if !slices.ContainsFunc(list, func(m *pkcs11.Mechanism) bool { return m.Mechanism == mechanism }) {
				t.Errorf("mechanism 0x%x is not in the list", mechanism)
			}
			_, err := c.GetMechanismInfo(c.token.Slot, []*pkcs11.Mechanism{pkcs11.NewMechanism(mechanism, nil)})
			wantOK(t, "C_GetMechanismInfo", err)
		}
	}

	_, err = c.sign(session, c.privateKey(session, "EC-256"), ecdsaDigest, digest)
	wantRV(t, "CKM_ECDSA", err, pkcs11.CKR_MECHANISM_INVALID)
	wantOK(t, "C_SignInit", c.SignInit(session, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_ECDSA_SHA256, nil)},
		c.privateKey(session, "EC-256")))
	wantRV(t, "C_SignUpdate", c.SignUpdate(session, message), pkcs11.CKR_FUNCTION_NOT_SUPPORTED)
}

func sum384(data []byte) []byte { sum := sha512.Sum384(data); return sum[:] }

func sum512(data []byte) []byte { sum := sha512.Sum512(data); return sum[:] }
