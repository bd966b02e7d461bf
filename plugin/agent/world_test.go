// SPDX-License-Identifier: Apache-2.0

//go:build linux || darwin

package agent

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
	"github.com/notation-pkcs11/notation-pkcs11/plugin"
)

// softVault is a token in this process, which does to signatures what the test says.
type softVault struct {
	key      *ecdsa.PrivateKey
	openings atomic.Int64
	turns    chan struct{} // one at a time
	// during is called for each signature.
	during func(ctx context.Context) error
}

func newSoftVault(t *testing.T) *softVault {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &softVault{key: key, turns: make(chan struct{}, 1), during: func(context.Context) error { return nil }}
}

func (v *softVault) Open(ctx context.Context, pin pkcs11.PINFunc) ([]Key, error) {
	v.openings.Add(1)
	if _, err := pin(ctx, pkcs11.TokenInfo{Label: "T", Serial: "1"}); err != nil {
		return nil, err
	}
	return []Key{softKey{v}}, nil
}

func (v *softVault) Admit(context.Context, plugin.Settings) (Key, error) { return nil, nil }

type softKey struct{ vault *softVault }

func (k softKey) Public() crypto.PublicKey { return k.vault.key.Public() }

func (k softKey) SignMessage(ctx context.Context, message []byte, opts crypto.SignerOpts) ([]byte, error) {
	if err := k.vault.during(ctx); err != nil {
		return nil, err
	}
	h := opts.HashFunc().New()
	h.Write(message)
	return k.vault.key.Sign(rand.Reader, h.Sum(nil), opts)
}

func (k softKey) Turn(ctx context.Context) (end func(), err error) {
	select {
	case k.vault.turns <- struct{}{}:
		return func() { <-k.vault.turns }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (k softKey) SignInTurn(ctx context.Context, message []byte, opts crypto.SignerOpts) ([]byte, error) {
	return k.SignMessage(ctx, message, opts)
}

func (k softKey) OwnCertificates(context.Context) ([]*x509.Certificate, error) { return nil, nil }
func (k softKey) Certificates(context.Context) ([]*x509.Certificate, error)    { return nil, nil }
func (k softKey) Mechanisms(context.Context, crypto.SignerOpts) ([]string, error) {
	return []string{"CKM_ECDSA"}, nil
}
func (k softKey) Shown() pkcs11.URI { return mustURI("pkcs11:token=T;serial=1;object=a;type=private") }
func (k softKey) Probed() bool      { return false }
func (k softKey) Close() error      { return nil }

func mustURI(s string) pkcs11.URI {
	uri, err := pkcs11.ParseURI(s)
	if err != nil {
		panic(err)
	}
	return uri
}

func settingsFor(t *testing.T, uri, socket string) plugin.Settings {
	t.Helper()
	s, err := plugin.ParseSettings(uri, nil, func(name string) string {
		return map[string]string{Variable: socket, "NOTATION_PKCS11_PIN": "1234"}[name]
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// serve serves a token until the test ends, and returns the socket.
func serve(t *testing.T, v *softVault, change ...func(*Server)) string {
	t.Helper()
	token, err := OpenToken(t.Context(), v, settingsFor(t, "pkcs11:token=T;object=a", ""), nil)
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Tokens: []*Token{token}, Version: "1.2.3", Timeout: time.Minute}
	for _, f := range change {
		f(s)
	}
	socket, err := Listen(filepath.Join(closedDir(t), "socket"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- s.Serve(ctx, socket.UnixListener) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := socket.Close(); err != nil {
			t.Error(err)
		}
	})
	return socket.Path
}

// message is what notation has signed.
func message() []byte {
	header := fmt.Sprintf(`{"alg":"ES256","crit":["io.cncf.notary.signingScheme"],"cty":"application/vnd.cncf.notary.payload.v1+json","io.cncf.notary.signingScheme":"notary.x509","io.cncf.notary.signingTime":%q}`,
		time.Now().UTC().Format(time.RFC3339))
	payload := fmt.Sprintf(`{"targetArtifact":{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:%064x","size":1}}`, 1)
	return []byte(base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(payload)))
}

// sign signs by the agent, as the plugin does.
func sign(ctx context.Context, t *testing.T, socket string) error {
	t.Helper()
	return signMessage(ctx, t, socket, message())
}

func signMessage(ctx context.Context, t *testing.T, socket string, message []byte) error {
	t.Helper()
	key, err := Client{}.Open(ctx, settingsFor(t, "pkcs11:token=T;object=a", socket))
	if err != nil {
		return err
	}
	defer key.Close()
	signature, err := key.SignMessage(ctx, message, crypto.SHA256)
	if err != nil {
		return err
	}
	h := crypto.SHA256.New()
	h.Write(message)
	if !ecdsa.VerifyASN1(key.Public().(*ecdsa.PublicKey), h.Sum(nil), signature) {
		return fmt.Errorf("the signature doesn't verify")
	}
	return nil
}
