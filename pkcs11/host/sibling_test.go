// SPDX-License-Identifier: Apache-2.0

//go:build linux

package host_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"testing"

	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
	"github.com/notation-pkcs11/notation-pkcs11/pkcs11/host"
)

// Several keys of a token are in one process, with one login.
func TestSiblingsHaveOneHost(t *testing.T) {
	f := newFixture(t)
	c := config(f.Path)
	c.Describe = true
	first, err := host.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	uri := c.URI.With(pkcs11.AttrObject, "RSA-2048")
	second, err := first.Sibling(t.Context(), uri)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := first.Sibling(t.Context(), uri.With(pkcs11.AttrObject, "absent")); !pkcs11.IsKind(err, pkcs11.KindNoKey) {
		t.Errorf("error %v", err)
	}
	digest := sha256.Sum256([]byte("message"))
	signature, err := second.SignMessage(t.Context(), []byte("message"), &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256})
	if err != nil || rsa.VerifyPSS(second.Public().(*rsa.PublicKey), crypto.SHA256, digest[:], signature, nil) != nil {
		t.Errorf("the sibling: %v", err)
	}
	if err := second.Close(); err != nil { // which leaves the first one open
		t.Error(err)
	}
	signature, err = first.SignMessage(t.Context(), []byte("message"), crypto.SHA256)
	if err != nil || !ecdsa.VerifyASN1(first.Public().(*ecdsa.PublicKey), digest[:], signature) {
		t.Errorf("the first key: %v", err)
	}
	for k, label := range map[*host.Key]string{first: "EC-256", second: "RSA-2048"} {
		if object, _ := k.Shown().Value(pkcs11.AttrObject); object != label {
			t.Errorf("%s shows %v", label, k.Shown())
		}
		for _, attribute := range []string{pkcs11.AttrSerial, pkcs11.AttrSlotDescription, pkcs11.AttrLibraryVersion} {
			if value, _ := k.Shown().Value(attribute); value == "" {
				t.Errorf("%s doesn't show its %s: %v", label, attribute, k.Shown())
			}
		}
	}
	if starts, logins := f.Calls("C_Initialize"), f.Calls("C_Login"); starts != 1 || logins != 1 {
		t.Errorf("%d starts of the module, %d logins", starts, logins)
	}
	names, err := second.Mechanisms(t.Context(), &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256})
	if err != nil || len(names) == 0 || names[0] != "CKM_RSA_PKCS_PSS" {
		t.Errorf("mechanisms %v, %v", names, err)
	}
}
