// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"crypto"
	"os"
	"strings"
	"testing"
)

func TestEveryKindOfTokenHoldsKeysAndCertificates(t *testing.T) {
	for _, kind := range TokenKinds {
		t.Run(kind.Name, func(t *testing.T) {
			token := Start(t, kind.New)
			if len(token.Keys) < 4 || token.Label != StandardLabel {
				t.Fatalf("token %q with %d keys", token.Label, len(token.Keys))
			}
			pki, err := NewPKI()
			if err != nil {
				t.Fatal(err)
			}
			for _, key := range token.Keys {
				public, err := token.export(key.ID)
				if err != nil {
					t.Fatal(err)
				}
				if !key.Public.(interface{ Equal(crypto.PublicKey) bool }).Equal(public) {
					t.Errorf("%s: another public key", key.Label)
				}
			}
			chain, err := pki.Chain(token.Keys[0].Public)
			if err != nil {
				t.Fatal(err)
			}
			if err := token.Keys[0].ImportChain(chain); err != nil {
				t.Fatal(err)
			}
			out, err := token.tool("--list-objects", "--type", "cert")
			if err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(string(out), "Certificate Object"); n != len(chain) {
				t.Errorf("%d certificates, want %d:\n%s", n, len(chain), out)
			}
		})
	}
}

func TestTPMCountsWrongPINs(t *testing.T) {
	tpm := Start(t, NewTPM)
	token, err := tpm.AddToken("T")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := token.tool("--login", "--pin", "wrong", "--list-objects"); err == nil {
		t.Fatal("logged in")
	}
	if n, err := tpm.WrongPINs(); n != 1 || err != nil {
		t.Errorf("%d wrong PINs, %v", n, err)
	}
	if err := tpm.ResetWrongPINs(); err != nil {
		t.Fatal(err)
	}
	if n, err := tpm.WrongPINs(); n != 0 || err != nil {
		t.Errorf("%d wrong PINs, %v", n, err)
	}
}

func TestTPMShowsWhatIsLeftInIt(t *testing.T) {
	tpm := Start(t, NewTPM)
	if left, err := tpm.Leftovers(); len(left) > 0 || err != nil {
		t.Errorf("leftovers %v, %v", left, err)
	}
	if _, err := tpm.tool("tpm2_createprimary", "--quiet"); err != nil {
		t.Fatal(err)
	}
	if left, err := tpm.Leftovers(); len(left) != 1 || err != nil {
		t.Errorf("leftovers %v, %v", left, err)
	}
}

func TestServerThatWentAwayShowsNoToken(t *testing.T) {
	hsm := Start(t, NewSoftHSM)
	token, err := hsm.AddToken("T")
	if err != nil {
		t.Fatal(err)
	}
	server := Start(t, func() (*P11Kit, error) { return NewP11Kit(token) })
	if serials, err := server.serials(); len(serials) != 1 || err != nil {
		t.Errorf("tokens %v, %v", serials, err)
	}
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	// pkcs11-tool takes no slot for a failure.
	if serials, err := server.serials(); err == nil || !strings.Contains(err.Error(), "No slots") {
		t.Errorf("tokens %v, %v", serials, err)
	}
}

func TestTokensAreGoneAfterClose(t *testing.T) {
	for _, kind := range TokenKinds {
		token, err := kind.New()
		if err != nil {
			t.Fatal(err)
		}
		dir := token.Store.dir
		if err := token.Close(); err != nil {
			t.Errorf("%s: %v", kind.Name, err)
		}
		if _, err := os.Stat(dir); !os.IsNotExist(err) {
			t.Errorf("%s: %s is still there: %v", kind.Name, dir, err)
		}
	}
}
