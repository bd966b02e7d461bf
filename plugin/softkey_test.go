// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"sync"
	"testing"

	contract "github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

// softToken opens a key in memory and can be told to misbehave. Tokens of the
// real kind are tested where the executable is.
type softToken struct {
	key          crypto.Signer
	certificates []*x509.Certificate

	open   func(context.Context, Settings) error // before anything else
	list   func(context.Context) error           // before Certificates
	sign   func(context.Context) error           // before SignMessage
	tamper func(signature []byte) []byte
	close  func() error

	opened     []Settings
	signatures int
	closed     int
}

func (t *softToken) Open(ctx context.Context, s Settings) (Key, error) {
	t.opened = append(t.opened, s)
	if t.open != nil {
		if err := t.open(ctx, s); err != nil {
			return nil, err
		}
	}
	return softKey{t}, nil
}

type softKey struct{ *softToken }

func (k softKey) Public() crypto.PublicKey { return k.key.Public() }

func (k softKey) SignMessage(ctx context.Context, message []byte, opts crypto.SignerOpts) ([]byte, error) {
	k.signatures++
	if k.sign != nil {
		if err := k.sign(ctx); err != nil {
			return nil, err
		}
	}
	signature, err := crypto.SignMessage(k.key, rand.Reader, message, opts)
	if k.tamper != nil {
		signature = k.tamper(signature)
	}
	return signature, err
}

func (k softKey) Certificates(ctx context.Context) ([]*x509.Certificate, error) {
	if k.list != nil {
		if err := k.list(ctx); err != nil {
			return nil, err
		}
	}
	return k.certificates, nil
}

func (k softKey) OwnCertificates(ctx context.Context) ([]*x509.Certificate, error) {
	return k.Certificates(ctx)
}

func (k softKey) Close() error {
	k.closed++
	if k.softToken.close != nil {
		return k.softToken.close()
	}
	return nil
}

// plugin returns a plugin for the token with an empty environment.
func (t *softToken) plugin() *Plugin {
	return &Plugin{Version: "1.2.3", Opener: t, Getenv: func(string) string { return "" }}
}

const testKeyID = "pkcs11:token=Release%20keys;object=notation"

// newToken returns a token with a key and its certificate chain.
func newToken(tb testing.TB, spec contract.KeySpec) *softToken {
	tb.Helper()
	key := testKeys[spec]()
	return &softToken{key: key, certificates: newChain(tb, key.Public())}
}

func newChain(tb testing.TB, public crypto.PublicKey) []*x509.Certificate {
	tb.Helper()
	chain, err := testPKI().Chain(public)
	if err != nil {
		tb.Fatal(err)
	}
	return chain
}

var testPKI = sync.OnceValue(func() *testenv.PKI {
	pki, err := testenv.NewPKI()
	if err != nil {
		panic(err)
	}
	return pki
})

// testKeys has one key of each type, made when it is first wanted.
var testKeys = map[contract.KeySpec]func() crypto.Signer{
	contract.KeySpecRSA2048: sync.OnceValue(newRSA(2048)),
	contract.KeySpecRSA3072: sync.OnceValue(newRSA(3072)),
	contract.KeySpecRSA4096: sync.OnceValue(newRSA(4096)),
	contract.KeySpecEC256:   sync.OnceValue(newEC(elliptic.P256())),
	contract.KeySpecEC384:   sync.OnceValue(newEC(elliptic.P384())),
	contract.KeySpecEC521:   sync.OnceValue(newEC(elliptic.P521())),
}

func newRSA(bits int) func() crypto.Signer {
	return func() crypto.Signer {
		key, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			panic(err)
		}
		return key
	}
}

func newEC(curve elliptic.Curve) func() crypto.Signer {
	return func() crypto.Signer {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			panic(err)
		}
		return key
	}
}

// request is a generate-signature request that fits a key.
func request(spec contract.KeySpec) *contract.GenerateSignatureRequest {
	known, err := specNamed(spec)
	if err != nil {
		panic(err)
	}
	return &contract.GenerateSignatureRequest{
		ContractVersion: contract.ContractVersion,
		KeyID:           testKeyID,
		KeySpec:         spec,
		Hash:            known.hashName,
		Payload:         []byte("payload"),
	}
}
