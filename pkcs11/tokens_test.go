// SPDX-License-Identifier: Apache-2.0

//go:build linux

package pkcs11_test

import (
	"crypto"
	"errors"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
	"github.com/notation-pkcs11/notation-pkcs11/testenv"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/faults"
)

// watched is a token whose module keeps a journal and passes every call on,
// unless it is given rules. The journal is in dir.
func watched(t *testing.T, dir string, token *testenv.OwnToken, rules ...string) *quirky {
	t.Helper()
	m, err := faults.New(dir, token.Store.Module, rules...)
	if err != nil {
		t.Fatal(err)
	}
	return &quirky{m, load(t, m.Path, append(token.Env(), m.Env()...)...), token.Token}
}

// Every kind of token signs with every type of key that it has, with every
// hash, and is left as it was.
func TestEveryTokenSignsAndIsLeftAsItWas(t *testing.T) {
	for _, kind := range testenv.TokenKinds {
		t.Run(kind.Name, func(t *testing.T) {
			token := testenv.Start(t, kind.New)
			before, err := token.Inventory()
			if err != nil {
				t.Fatal(err)
			}
			var journal *quirky
			dir := t.TempDir()
			t.Run("sign", func(t *testing.T) { // which unloads the module in the end
				journal = watched(t, dir, token)
				for _, key := range token.Keys {
					t.Run(key.Type.Name, func(t *testing.T) { signEveryWay(t, journal.module, key) })
				}
			})
			if after, err := token.Inventory(); err != nil || after != before {
				t.Errorf("the token was changed (%v):\n%s\nwas\n%s", err, after, before)
			}
			checkBalance(t, journal)
			if token.TPM != nil {
				checkTPM(t, token.TPM, 0)
			}
		})
	}
}

// signEveryWay signs messages with every hash, at once, and digests where the
// token takes them.
func signEveryWay(t *testing.T, m *pkcs11.Module, key *testenv.Key) {
	k := mustOpenKey(t, m, key.URI(), pkcs11.KeyOptions{PIN: pin(t, key.Token.PIN), Sessions: 3})
	if !key.Public.(interface{ Equal(crypto.PublicKey) bool }).Equal(k.Public()) {
		t.Fatalf("another public key: %v", k.Public())
	}
	var wg sync.WaitGroup
	for _, hash := range []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512} {
		opts := options(k.Public(), hash)
		for range 2 {
			wg.Go(func() {
				signature, err := k.SignMessage(nil, []byte("message"), opts)
				if err != nil {
					t.Errorf("%v: %v", hash, err)
					return
				}
				checkSignature(t, key.Public, hash, []byte("message"), signature)
			})
		}
	}
	wg.Wait()
	for _, hash := range []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512} {
		h := hash.New()
		h.Write([]byte("message"))
		signature, err := k.Sign(nil, h.Sum(nil), options(k.Public(), hash))
		if err != nil {
			t.Errorf("digest, %v: %v", hash, err)
			continue
		}
		checkSignature(t, key.Public, hash, []byte("message"), signature)
	}
}

// checkBalance checks that whatever was begun was ended, and nothing was made.
func checkBalance(t *testing.T, q *quirky) {
	t.Helper()
	for begin, end := range map[string]string{
		"C_Initialize": "C_Finalize", "C_OpenSession": "C_CloseSession", "C_Login": "C_Logout", "C_FindObjectsInit": "C_FindObjectsFinal",
	} {
		if begun, ended := q.Calls(begin), q.Calls(end); begun == 0 || begun != ended {
			t.Errorf("%d calls of %s, %d of %s", begun, begin, ended, end)
		}
	}
	for _, writes := range []string{
		"C_CreateObject", "C_CopyObject", "C_DestroyObject", "C_SetAttributeValue", "C_GenerateKey", "C_GenerateKeyPair",
		"C_UnwrapKey", "C_DeriveKey", "C_InitToken", "C_InitPIN", "C_SetPIN", "C_SignUpdate", "C_SignFinal",
	} {
		if n := q.Calls(writes); n > 0 {
			t.Errorf("%d calls of %s", n, writes)
		}
	}
}

// checkTPM checks what a TPM remembers.
func checkTPM(t *testing.T, tpm *testenv.TPM, wrongPINs int) {
	t.Helper()
	if n, err := tpm.WrongPINs(); n != wrongPINs || err != nil {
		t.Errorf("the TPM counted %d wrong PINs, want %d, %v", n, wrongPINs, err)
	}
	if left, err := tpm.Leftovers(); len(left) > 0 || err != nil {
		t.Errorf("left in the TPM's memory: %v, %v", left, err)
	}
}

// Which mechanisms a kind of token has, with the others denied one by one: the
// signature is right, or refused, and never wrong.
func TestMechanismsOfEveryToken(t *testing.T) {
	const pss, message, raw, ecdsaDigested, ecdsaMessage = rsaPSS, sha256PSS, rsaX509, ecdsaDigest, ecdsaSHA256
	keys := map[string]string{pss: "RSA-2048", message: "RSA-2048", raw: "RSA-2048", ecdsaDigested: "EC-256", ecdsaMessage: "EC-256"}
	have := map[string]map[string]bool{
		"SoftHSM": {pss: true, message: true, raw: true, ecdsaDigested: true, ecdsaMessage: false},
		"TPM":     {pss: true, message: true, raw: true, ecdsaDigested: true, ecdsaMessage: true},
		"p11-kit": {pss: true, message: false, raw: true, ecdsaDigested: true, ecdsaMessage: false},
	}
	for _, kind := range testenv.TokenKinds {
		t.Run(kind.Name, func(t *testing.T) {
			token := testenv.Start(t, kind.New)
			for mechanism, label := range keys {
				t.Run(mechanism, func(t *testing.T) {
					var others []string
					for other := range keys {
						if other != mechanism {
							others = append(others, "deny-mechanism "+other)
						}
					}
					err := watched(t, t.TempDir(), token, others...).signWith(t, label, pkcs11.KeyOptions{PIN: pin(t, token.PIN)})
					switch works := have[kind.Name][mechanism]; {
					case works && err != nil:
						t.Error(err)
					case !works && !pkcs11.IsKind(err, pkcs11.KindMechanism):
						t.Errorf("error %v, want kind %s", err, pkcs11.KindMechanism)
					}
				})
			}
		})
	}
}

func TestEveryTokenCountsOneTryOfAWrongPIN(t *testing.T) {
	for _, kind := range testenv.TokenKinds {
		t.Run(kind.Name, func(t *testing.T) {
			token := testenv.Start(t, kind.New)
			var q *quirky
			dir := t.TempDir()
			t.Run("sign", func(t *testing.T) {
				q = watched(t, dir, token)
				err := q.signWith(t, "EC-256", pkcs11.KeyOptions{PIN: pin(t, "wrong-pin")})
				if err == nil || !strings.Contains(err.Error(), "C_Login: CKR_PIN_INCORRECT") {
					t.Errorf("error %v", err)
				}
			})
			if n := q.Calls("C_Login"); n != 1 {
				t.Errorf("%d logins", n)
			}
			if token.TPM == nil {
				return
			}
			checkTPM(t, token.TPM, 1)
			// The right PIN still works, which is another session's login.
			t.Run("right PIN", func(t *testing.T) {
				if err := watched(t, t.TempDir(), token).signWith(t, "EC-256", pkcs11.KeyOptions{PIN: pin(t, token.PIN)}); err != nil {
					t.Error(err)
				}
			})
			if err := token.TPM.ResetWrongPINs(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestEveryTokenShowsPublicKeysWithoutLogin(t *testing.T) {
	for _, kind := range testenv.TokenKinds {
		t.Run(kind.Name, func(t *testing.T) {
			token := testenv.Start(t, kind.New)
			m := load(t, token.Store.Module, token.Env()...)
			for _, key := range token.Keys {
				u := parse(t, key.URI())
				found, err := m.Token(u)
				if err != nil {
					t.Fatal(err)
				}
				public, err := found.PublicKey(t.Context(), u, pkcs11.KeyOptions{PIN: noPIN(t)})
				if err != nil {
					t.Errorf("%s: %v", key.Label, err)
					continue
				}
				if !key.Public.(interface{ Equal(crypto.PublicKey) bool }).Equal(public) {
					t.Errorf("%s: another public key", key.Label)
				}
			}
		})
	}
}

// A TPM's flags don't tell that a try is left or none: its answer does, and a
// locked one is locked for the right PIN, too.
func TestTPMLocksAfterThreeWrongPINs(t *testing.T) {
	tpm := testenv.Start(t, testenv.NewTPM)
	token, err := tpm.AddToken("T")
	if err != nil {
		t.Fatal(err)
	}
	key, err := token.Generate(testenv.EC256, "k")
	if err != nil {
		t.Fatal(err)
	}
	m := load(t, token.Store.Module, token.Env()...)
	for _, try := range []struct{ pin, wants string }{
		{"wrong", "CKR_PIN_INCORRECT"}, {"wrong", "CKR_PIN_INCORRECT"}, {"wrong", "CKR_PIN_INCORRECT"}, {token.PIN, "CKR_PIN_LOCKED"},
	} {
		if _, err := openKey(t, m, key.URI(), pkcs11.KeyOptions{PIN: pin(t, try.pin)}); err == nil || !strings.Contains(err.Error(), "C_Login: "+try.wants) {
			t.Errorf("error %v, want %s", err, try.wants)
		}
	}
	checkTPM(t, tpm, 3)
	if err := tpm.ResetWrongPINs(); err != nil {
		t.Fatal(err)
	}
	mustOpenKey(t, m, key.URI(), pkcs11.KeyOptions{PIN: pin(t, token.PIN)})
}

func TestEveryTokenGeneratesKeysThatOnlySign(t *testing.T) {
	for _, kind := range testenv.TokenKinds {
		t.Run(kind.Name, func(t *testing.T) {
			token := testenv.Start(t, kind.New)
			m := load(t, token.Store.Module, token.Env()...)
			u := parse(t, "pkcs11:token=testenv;object=new;id=%01%00")
			found, err := m.Token(u)
			if err != nil {
				t.Fatal(err)
			}
			s, err := found.Open(t.Context(), pkcs11.SessionOptions{PIN: pin(t, token.PIN), Write: true})
			if err != nil {
				t.Fatal(err)
			}
			if token.TPM != nil {
				_, err := s.Generate(u, "rsa:2048")
				var failed *pkcs11.Error
				if !errors.As(err, &failed) || failed.Kind != pkcs11.KindKey || !strings.Contains(failed.Todo, "Generate an EC key") {
					t.Errorf("RSA: error %v", err)
				}
			}
			made, err := s.Generate(u, "ec:p384")
			if errClose := s.Close(); err != nil || errClose != nil {
				t.Fatal(err, errClose)
			}
			k := mustOpenKey(t, m, made.URI.String(), pkcs11.KeyOptions{PIN: pin(t, token.PIN)})
			signature, err := k.SignMessage(nil, []byte("message"), crypto.SHA384)
			if err != nil {
				t.Fatal(err)
			}
			checkSignature(t, made.Public, crypto.SHA384, []byte("message"), signature)
			inventory, err := token.Inventory()
			if err != nil || !regexp.MustCompile(`(?m)Private Key Object.*\n  label: +new\n(  .*\n)*?  Usage: +sign\n`).MatchString(inventory) {
				t.Errorf("the key may do more than sign, or is not there (%v):\n%s", err, inventory)
			}
		})
	}
}
