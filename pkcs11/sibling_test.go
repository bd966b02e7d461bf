// SPDX-License-Identifier: Apache-2.0

package pkcs11_test

import (
	"crypto"
	"sync"
	"testing"

	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

// A URI selects what shows each of its attributes, and what it doesn't say matters
// to nobody.
func TestWhatAURISelects(t *testing.T) {
	shown := parse(t, "pkcs11:token=T;serial=1;model=M;slot-id=3;object=a;id=%01;type=private;library-version=2.6")
	for uri, want := range map[string]bool{
		"pkcs11:":                          true,
		"pkcs11:token=T;object=a":          true,
		"pkcs11:token=T%20%20;object=a":    true, // padded
		"pkcs11:id=%01;slot-id=3":          true,
		"pkcs11:type=private":              true,
		"pkcs11:library-version=2":         true,
		"pkcs11:library-version=2.6":       true,
		"pkcs11:object=a?module-path=/x":   true, // which says where it is, and not what
		"pkcs11:token=U;object=a":          false,
		"pkcs11:object=a%20":               false,
		"pkcs11:id=%02":                    false,
		"pkcs11:type=public":               false,
		"pkcs11:library-version=2.5":       false,
		"pkcs11:library-version=26":        false,
		"pkcs11:manufacturer=V":            false, // which it doesn't show
		"pkcs11:object=a;slot-description": false,
	} {
		u, err := pkcs11.ParseURI(uri)
		if err != nil {
			if want {
				t.Error(err)
			}
			continue
		}
		if got := u.Selects(shown); got != want {
			t.Errorf("%s selects it: %v", uri, got)
		}
	}
}

// Keys of one token sign with one login, also after its sessions were lost.
func TestSiblingsShareOneLogin(t *testing.T) {
	for name, rules := range map[string][]string{
		"plain": nil, "sessions die": {"sessions-die 2"}, "one session": {"max-sessions 1"}, "always authenticate": {"always-authenticate " + testenv.UserPIN},
	} {
		t.Run(name, func(t *testing.T) {
			sessions := 2
			if len(rules) > 0 { // one alone, so that none is dead at the end
				sessions = 1
			}
			q := newQuirky(t, rules...)
			first := mustOpenKey(t, q.module, "pkcs11:token=testenv;object=EC-256", pkcs11.KeyOptions{PIN: pin(t, testenv.UserPIN), Sessions: sessions})
			other, err := first.Sibling(t.Context(), parse(t, "pkcs11:token=testenv;object=RSA-2048"), pkcs11.KeyOptions{})
			if err != nil {
				t.Fatal(err)
			}
			logins := q.Calls("C_Login")
			var signatures sync.WaitGroup
			for _, k := range []*pkcs11.Key{first, other} {
				signatures.Go(func() {
					for range 4 {
						message := []byte("message")
						signature, err := k.SignMessage(nil, message, options(k.Public(), crypto.SHA256))
						if err != nil {
							t.Error(err)
							return
						}
						checkSignature(t, k.Public(), crypto.SHA256, message, signature)
					}
				})
			}
			signatures.Wait()
			if rules == nil && (logins != 1 || q.Calls("C_Login") != 1) {
				t.Errorf("%d logins", q.Calls("C_Login"))
			}
			if err := other.Close(); err != nil { // which leaves the first one open
				t.Error(err)
			}
			if _, err := first.SignMessage(nil, []byte("message"), crypto.SHA256); err != nil {
				t.Error(err)
			}
		})
	}
}

// A sibling is of the same token.
func TestSiblingOfAnotherToken(t *testing.T) {
	hsm := testenv.Start(t, testenv.NewSoftHSM)
	token, err := hsm.AddStandardToken()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := hsm.AddToken("another"); err != nil {
		t.Fatal(err)
	}
	m := load(t, hsm.Module, hsm.Env()...)
	key := mustOpenKey(t, m, "pkcs11:token=testenv;object=EC-256", pkcs11.KeyOptions{PIN: pin(t, token.PIN)})
	for uri, kind := range map[string]pkcs11.Kind{
		"pkcs11:token=testenv;object=absent": pkcs11.KindNoKey,
		"pkcs11:token=absent;object=EC-256":  pkcs11.KindNoToken,
		"pkcs11:token=another;object=EC-256": pkcs11.KindNoToken,
		"pkcs11:object=EC-256":               pkcs11.KindTokens,
		"pkcs11:token=testenv":               pkcs11.KindKeys,
	} {
		if _, err := key.Sibling(t.Context(), parse(t, uri), pkcs11.KeyOptions{}); !pkcs11.IsKind(err, kind) {
			t.Errorf("%s: error %v, want %s", uri, err, kind)
		}
	}
}
