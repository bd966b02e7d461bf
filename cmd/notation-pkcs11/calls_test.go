// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"crypto/x509"
	"strings"
	"testing"

	contract "github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

// newChained is a token with one key, and its chain on the token or in cert_chain.
func newChained(tb testing.TB, executable string, kind testenv.KeyType, onToken bool) *hsm {
	tb.Helper()
	h, key, chain := newCertified(tb, executable, kind)
	if !onToken {
		h.chain = h.write(tb, fullChain, chain)
	} else if err := key.ImportChain(chain); err != nil {
		tb.Fatal(err)
	}
	return h
}

// calls runs a command of the plugin and returns how often it called functions of the
// module, and how often each.
func (h *hsm) calls(tb testing.TB, command contract.Command, kind testenv.KeyType) (n int, of map[string]int) {
	tb.Helper()
	o := order{args: []string{string(command)}, timeout: timeout}
	switch command {
	case contract.CommandDescribeKey:
		o.request = describe()
	default:
		request := generate().(contract.GenerateSignatureRequest)
		if kind == testenv.EC256 {
			request.KeySpec = contract.KeySpecEC256
		}
		o.request = request
	}
	r, err := h.do(o)
	if err != nil {
		tb.Fatal(err)
	}
	if !r.command.ProcessState.Success() {
		tb.Fatalf("%s: %s", command, &r.stderr)
	}
	journal, err := r.Journal()
	if err != nil {
		tb.Fatal(err)
	}
	of = map[string]int{}
	for _, call := range journal {
		if strings.HasPrefix(call.Name, "C_") {
			n++
			of[call.Name]++
		}
	}
	return n, of
}

// With a network HSM each call is a way there and back.
func TestSignatureTakesFewCalls(t *testing.T) {
	executable := buildPlugin(t)
	for _, kind := range []testenv.KeyType{testenv.RSA2048, testenv.EC256} {
		for where, most := range map[string]map[contract.Command]int{
			"the chain on the token":  {contract.CommandGenerateSignature: 28, contract.CommandDescribeKey: 18},
			"the chain in cert_chain": {contract.CommandGenerateSignature: 24, contract.CommandDescribeKey: 18},
		} {
			t.Run(kind.Name+", "+where, func(t *testing.T) {
				h := newChained(t, executable, kind, where == "the chain on the token")
				for command, most := range most {
					if n, of := h.calls(t, command, kind); n > most || of["C_Sign"] > 1 {
						t.Errorf("%s: %d calls, want %d: %v", command, n, most, of)
					}
				}
			})
		}
	}
}

// What others have on a shared partition is not read.
func TestObjectsOfOthersCostFewCalls(t *testing.T) {
	executable := buildPlugin(t)
	for _, kind := range []testenv.KeyType{testenv.RSA2048, testenv.EC256} {
		for where, onToken := range map[string]bool{"the chain on the token": true, "the chain in cert_chain": false} {
			t.Run(kind.Name+", "+where, func(t *testing.T) {
				h := newChained(t, executable, kind, onToken)
				alone, _ := h.calls(t, contract.CommandGenerateSignature, kind)
				pki, err := testenv.NewPKI()
				if err != nil {
					t.Fatal(err)
				}
				crowd(t, h.token, pki, 1000)
				if n, of := h.calls(t, contract.CommandGenerateSignature, kind); n > alone+10 {
					t.Errorf("%d calls, and %d without the others: %v", n, alone, of)
				} else {
					t.Logf("%d calls, and %d without the others", n, alone)
				}
			})
		}
	}
}

// The key's certificate can have another name than the key, on a partition with many of
// others, too.
func TestCertificateOfAnotherNameIsFoundAmongThoseOfOthers(t *testing.T) {
	for _, kind := range []testenv.KeyType{testenv.RSA2048, testenv.EC256} {
		t.Run(kind.Name, func(t *testing.T) {
			h := newChained(t, buildPlugin(t), kind, false)
			key := h.token.Keys[0]
			pki, err := testenv.NewPKI()
			if err != nil {
				t.Fatal(err)
			}
			chain, err := pki.Chain(key.Public)
			if err != nil {
				t.Fatal(err)
			}
			h.chain = ""
			renamed := *key
			renamed.Label, renamed.ID = "renewed", []byte{0x77}
			if err := renamed.ImportChain(chain); err != nil {
				t.Fatal(err)
			}
			crowd(t, h.token, pki, 60)
			h.calls(t, contract.CommandGenerateSignature, kind) // which fails where it is not found
		})
	}
}

// crowd puts n objects of others on a token.
func crowd(t *testing.T, token *testenv.Token, pki *testenv.PKI, n int) {
	t.Helper()
	err := token.Crowd(n, func(key *testenv.Key) (*x509.Certificate, error) {
		chain, err := pki.Chain(key.Public)
		if err != nil {
			return nil, err
		}
		return chain[0], nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
