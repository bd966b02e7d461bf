// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/asn1"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// describe names a public key as KeyType.Name does.
func describe(t *testing.T, public crypto.PublicKey) string {
	t.Helper()
	switch public := public.(type) {
	case *rsa.PublicKey:
		return "RSA-" + big.NewInt(int64(public.N.BitLen())).String()
	case *ecdsa.PublicKey:
		return "EC-" + big.NewInt(int64(public.Params().BitSize)).String()
	case ed25519.PublicKey:
		return "Ed25519"
	}
	t.Fatalf("unexpected public key type %T", public)
	return ""
}

func TestStandardTokenHasOneKeyOfEachType(t *testing.T) {
	hsm := Start(t, NewSoftHSM)
	token, err := hsm.AddStandardToken()
	if err != nil {
		t.Fatal(err)
	}
	if len(token.Keys) != len(KeyTypes) {
		t.Fatalf("%d keys, want %d", len(token.Keys), len(KeyTypes))
	}
	for i, key := range token.Keys {
		if got := describe(t, key.Public); got != KeyTypes[i].Name || key.Label != KeyTypes[i].Name {
			t.Errorf("key %d is %s with label %q, want %s", i, got, key.Label, KeyTypes[i].Name)
		}
		exported, err := token.export(key.ID)
		if err != nil {
			t.Fatal(err)
		}
		if !exported.(interface{ Equal(crypto.PublicKey) bool }).Equal(key.Public) {
			t.Errorf("%s: the public key of the token is another than the cached one", key.Label)
		}
	}
}

// The tool asks the module for each private key's attributes: "never
// extractable" and "local" are CKA_NEVER_EXTRACTABLE and CKA_LOCAL.
func TestPrivateKeysNeverLeaveTheToken(t *testing.T) {
	hsm := Start(t, NewSoftHSM)
	token, err := hsm.AddStandardToken()
	if err != nil {
		t.Fatal(err)
	}
	out, err := token.tool("--login", "--pin", token.PIN, "--list-objects", "--type", "privkey")
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(string(out), "sensitive, always sensitive, never extractable, local"); got != len(KeyTypes) {
		t.Errorf("%d keys can't be extracted, want %d:\n%s", got, len(KeyTypes), out)
	}
}

func TestKeysSign(t *testing.T) {
	hsm := Start(t, NewSoftHSM)
	token, err := hsm.AddStandardToken()
	if err != nil {
		t.Fatal(err)
	}
	key := token.Key("EC-256")
	dir := t.TempDir()
	digest := make([]byte, 32)
	in, out := filepath.Join(dir, "digest"), filepath.Join(dir, "signature")
	if err := os.WriteFile(in, digest, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := token.tool("--login", "--pin", token.PIN, "--sign", "--mechanism", "ECDSA",
		"--id", "04", "--input-file", in, "--output-file", out); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	half := len(raw) / 2
	der, err := asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(raw[:half]), new(big.Int).SetBytes(raw[half:])})
	if err != nil {
		t.Fatal(err)
	}
	if !ecdsa.VerifyASN1(key.Public.(*ecdsa.PublicKey), digest, der) {
		t.Error("the signature does not fit the public key")
	}
}

func TestTokenMakesKeysThatNotationCanNotUse(t *testing.T) {
	hsm := Start(t, NewSoftHSM)
	token, err := hsm.AddToken("odd keys")
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []KeyType{RSA1024, EC224, Ed25519} {
		key, err := token.Generate(kind, kind.Name)
		if err != nil {
			t.Fatal(err)
		}
		if got := describe(t, key.Public); got != kind.Name {
			t.Errorf("%s key is %s", kind.Name, got)
		}
	}
	if got, want := token.Keys[0].URI(), "pkcs11:token=odd%20keys;object=RSA-1024"; got != want {
		t.Errorf("URI %s, want %s", got, want)
	}
}

func TestTokensOfOneLabelAreTwoTokens(t *testing.T) {
	hsm := Start(t, NewSoftHSM)
	first, err := hsm.AddToken("twin")
	if err != nil {
		t.Fatal(err)
	}
	second, err := hsm.AddToken("twin")
	if err != nil {
		t.Fatal(err)
	}
	if first.Serial == second.Serial || first.Slot == second.Slot {
		t.Errorf("serial %s and %s, slot %d and %d: want two tokens", first.Serial, second.Serial, first.Slot, second.Slot)
	}
	a, err := first.Generate(EC256, "key")
	if err != nil {
		t.Fatal(err)
	}
	b, err := second.Generate(EC256, "key")
	if err != nil {
		t.Fatal(err)
	}
	if a.Public.(*ecdsa.PublicKey).Equal(b.Public) {
		t.Error("the tokens have the same key")
	}
}

func TestKeysOfOneLabelAndID(t *testing.T) {
	hsm := Start(t, NewSoftHSM)
	token, err := hsm.AddToken("twins")
	if err != nil {
		t.Fatal(err)
	}
	first, err := token.Generate(EC256, "key")
	if err != nil {
		t.Fatal(err)
	}
	second, err := token.Generate(EC256, "key")
	if err != nil {
		t.Fatal(err)
	}
	if second.Public.(*ecdsa.PublicKey).Equal(first.Public) {
		t.Error("the public key exported for the second is the first's")
	}
	if err := second.SetID(first.ID); err != nil {
		t.Fatal(err)
	}
	out, err := token.tool("--login", "--pin", token.PIN, "--list-objects")
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(string(out), "ID:         01"); got != 4 {
		t.Errorf("%d objects with CKA_ID 01, want both halves of two keys:\n%s", got, out)
	}
}

func TestChangePIN(t *testing.T) {
	hsm := Start(t, NewSoftHSM)
	token, err := hsm.AddToken("pin")
	if err != nil {
		t.Fatal(err)
	}
	if err := token.ChangePIN("another-pin"); err != nil {
		t.Fatal(err)
	}
	if _, err := token.tool("--login", "--pin", "another-pin", "--list-objects"); err != nil {
		t.Errorf("new PIN: %v", err)
	}
	if _, err := token.tool("--login", "--pin", UserPIN, "--list-objects"); err == nil {
		t.Error("the old PIN still opens the token")
	}
}

func TestCertificatesOnTheToken(t *testing.T) {
	hsm := Start(t, NewSoftHSM)
	token, err := hsm.AddStandardToken()
	if err != nil {
		t.Fatal(err)
	}
	pki, err := NewPKI()
	if err != nil {
		t.Fatal(err)
	}
	key := token.Key("EC-384")
	if _, err := pki.Certify(key); err != nil {
		t.Fatal(err)
	}
	out, err := token.tool("--list-objects", "--type", "cert")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"EC-384", LeafName, IntermediateName, RootName} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q among the token's certificates:\n%s", want, out)
		}
	}
}

func TestStoreIsGoneAfterClose(t *testing.T) {
	hsm, err := NewSoftHSM()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := hsm.AddStandardToken(); err != nil {
		t.Error(err)
	}
	if err := hsm.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(hsm.dir); !os.IsNotExist(err) {
		t.Errorf("%s is still there: %v", hsm.dir, err)
	}
}

// What happens to a copy doesn't happen to the token that it is of.
func TestCopyOfATokenIsATokenOfItsOwn(t *testing.T) {
	token, err := Start(t, NewSoftHSM).AddToken("testenv")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := token.Generate(EC256, "signing"); err != nil {
		t.Fatal(err)
	}
	before, err := token.Inventory()
	if err != nil {
		t.Fatal(err)
	}
	other, err := Start(t, NewSoftHSM).AddCopy(token)
	if err != nil {
		t.Fatal(err)
	}
	if copied, err := other.Inventory(); err != nil || copied != before {
		t.Errorf("the token has\n%s\nand its copy\n%s\n%v", before, copied, err)
	}
	if _, err := other.Generate(EC256, "another"); err != nil {
		t.Fatal(err)
	}
	if after, err := token.Inventory(); err != nil || after != before || len(token.Keys) != 1 {
		t.Errorf("the token had\n%s\nand has\n%s\n%v", before, after, err)
	}
	if other.Keys[0].Token != other {
		t.Error("the key is another token's")
	}
}
