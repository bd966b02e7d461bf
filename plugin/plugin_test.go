// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"maps"
	"math/big"
	"slices"
	"testing"
	"time"

	contract "github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
)

// The checks here are written against the standard library, as notation's are,
// and not with this package's own.
func TestSignatureOfEachKeyTypeVerifies(t *testing.T) {
	want := map[contract.KeySpec]struct {
		algorithm contract.SignatureAlgorithm
		hash      crypto.Hash
	}{
		contract.KeySpecRSA2048: {"RSASSA-PSS-SHA-256", crypto.SHA256},
		contract.KeySpecRSA3072: {"RSASSA-PSS-SHA-384", crypto.SHA384},
		contract.KeySpecRSA4096: {"RSASSA-PSS-SHA-512", crypto.SHA512},
		contract.KeySpecEC256:   {"ECDSA-SHA-256", crypto.SHA256},
		contract.KeySpecEC384:   {"ECDSA-SHA-384", crypto.SHA384},
		contract.KeySpecEC521:   {"ECDSA-SHA-512", crypto.SHA512},
	}
	for _, spec := range slices.Sorted(maps.Keys(testKeys)) {
		t.Run(string(spec), func(t *testing.T) {
			t.Parallel()
			token := newToken(t, spec)
			slices.Reverse(token.certificates)
			p := token.plugin()

			described, err := p.DescribeKey(t.Context(), &contract.DescribeKeyRequest{ContractVersion: "1.0", KeyID: testKeyID})
			if err != nil {
				t.Fatal(err)
			}
			if described.KeySpec != spec || described.KeyID != testKeyID {
				t.Errorf("got %+v", described)
			}

			req := request(spec)
			response, err := p.GenerateSignature(t.Context(), req)
			if err != nil {
				t.Fatal(err)
			}
			if response.KeyID != testKeyID || response.SigningAlgorithm != want[spec].algorithm {
				t.Errorf("got key id %q and algorithm %q", response.KeyID, response.SigningAlgorithm)
			}
			slices.Reverse(token.certificates)
			if !slices.EqualFunc(response.CertificateChain, token.certificates, func(der []byte, cert *x509.Certificate) bool {
				return bytes.Equal(der, cert.Raw)
			}) {
				t.Error("the chain is not leaf, intermediate, root")
			}
			h := want[spec].hash.New()
			h.Write(req.Payload)
			switch public := token.key.Public().(type) {
			case *rsa.PublicKey:
				opts := &rsa.PSSOptions{SaltLength: want[spec].hash.Size()}
				if err := rsa.VerifyPSS(public, want[spec].hash, h.Sum(nil), response.Signature, opts); err != nil {
					t.Error(err)
				}
			case *ecdsa.PublicKey:
				size := (public.Curve.Params().BitSize + 7) / 8
				if len(response.Signature) != 2*size {
					t.Fatalf("got %d bytes", len(response.Signature))
				}
				r, s := response.Signature[:size], response.Signature[size:]
				if !ecdsa.Verify(public, h.Sum(nil), new(big.Int).SetBytes(r), new(big.Int).SetBytes(s)) {
					t.Error("the signature doesn't verify")
				}
			}
			if token.closed != 2 {
				t.Errorf("the key was closed %d times of 2", token.closed)
			}
		})
	}
}

func TestDescribeKeyWantsThePublicHalfOnly(t *testing.T) {
	token := newToken(t, contract.KeySpecEC256)
	p := token.plugin()
	if _, err := p.DescribeKey(t.Context(), &contract.DescribeKeyRequest{ContractVersion: "1.0", KeyID: testKeyID}); err != nil {
		t.Fatal(err)
	}
	if _, err := p.GenerateSignature(t.Context(), request(contract.KeySpecEC256)); err != nil {
		t.Fatal(err)
	}
	if !token.opened[0].PublicOnly || token.opened[1].PublicOnly {
		t.Errorf("PublicOnly is %v, %v; want true, false", token.opened[0].PublicOnly, token.opened[1].PublicOnly)
	}
}

func TestRequestsThatNoKeyCanAnswerOpenNone(t *testing.T) {
	for _, test := range []struct {
		name    string
		change  func(*contract.GenerateSignatureRequest)
		code    contract.ErrorCode
		phrases []string
	}{
		{"no contract version", func(r *contract.GenerateSignatureRequest) { r.ContractVersion = "" }, contract.ErrorCodeValidation, []string{"contractVersion"}},
		{"other contract version", func(r *contract.GenerateSignatureRequest) { r.ContractVersion = "2.0" }, contract.ErrorCodeUnsupportedContractVersion, []string{`"2.0"`, "1.0"}},
		{"no key id", func(r *contract.GenerateSignatureRequest) { r.KeyID = "" }, contract.ErrorCodeValidation, []string{"keyId"}},
		{"key id is no URI", func(r *contract.GenerateSignatureRequest) { r.KeyID = "mykey" }, contract.ErrorCodeValidation, []string{"pkcs11:"}},
		{"no payload", func(r *contract.GenerateSignatureRequest) { r.Payload = nil }, contract.ErrorCodeValidation, []string{"payload"}},
		{"unknown key spec", func(r *contract.GenerateSignatureRequest) { r.KeySpec = "RSA-1024" }, contract.ErrorCodeValidation, []string{`"RSA-1024"`, "RSA-2048"}},
		{"hash of another key spec", func(r *contract.GenerateSignatureRequest) { r.Hash = "SHA-512" }, contract.ErrorCodeValidation, []string{`"SHA-512"`, "SHA-256"}},
		{"unknown plugin config", func(r *contract.GenerateSignatureRequest) { r.PluginConfig = map[string]string{"slot": "0"} }, contract.ErrorCodeValidation, []string{`"slot"`, "module"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			token := newToken(t, contract.KeySpecEC256)
			req := request(contract.KeySpecEC256)
			test.change(req)
			_, err := token.plugin().GenerateSignature(t.Context(), req)
			checkError(t, err, test.code, test.phrases...)
			if len(token.opened) > 0 {
				t.Error("the key was opened")
			}
		})
	}
}

func TestKeySpecOfAnotherKeyIsRefused(t *testing.T) {
	token := newToken(t, contract.KeySpecEC256)
	_, err := token.plugin().GenerateSignature(t.Context(), request(contract.KeySpecEC384))
	checkError(t, err, contract.ErrorCodeValidation, "EC-384", "EC-256")
	if token.signatures != 0 || token.closed != 1 {
		t.Errorf("%d signatures were asked for and the key was closed %d times", token.signatures, token.closed)
	}
}

func TestBadChainCostsNoSignature(t *testing.T) {
	token := newToken(t, contract.KeySpecEC256)
	token.certificates = token.certificates[:1]
	_, err := token.plugin().GenerateSignature(t.Context(), request(contract.KeySpecEC256))
	checkError(t, err, contract.ErrorCodeValidation, "issuer")
	if token.signatures != 0 || token.closed != 1 {
		t.Errorf("%d signatures were asked for and the key was closed %d times", token.signatures, token.closed)
	}
}

func TestErrorAtCloseDoesNotSpoilTheSignature(t *testing.T) {
	token := newToken(t, contract.KeySpecEC256)
	token.close = func() error { return errors.New("C_Finalize crashed") }
	if _, err := token.plugin().GenerateSignature(t.Context(), request(contract.KeySpecEC256)); err != nil {
		t.Error(err)
	}
}

func TestTimeout(t *testing.T) {
	hang := func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	}
	for _, where := range []string{"open", "certificates", "sign"} {
		t.Run(where, func(t *testing.T) {
			token := newToken(t, contract.KeySpecEC256)
			switch where {
			case "open":
				token.open = func(ctx context.Context, _ Settings) error { return hang(ctx) }
			case "certificates":
				token.list = hang
			case "sign":
				token.sign = hang
			}
			req := request(contract.KeySpecEC256)
			req.PluginConfig = map[string]string{"timeout": "10ms"}
			start := time.Now()
			_, err := token.plugin().GenerateSignature(t.Context(), req)
			checkError(t, err, contract.ErrorCodeTimeout, "10ms", "NOTATION_PKCS11_TIMEOUT")
			if took := time.Since(start); took > 2*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

func TestInterruptionNamesItsCause(t *testing.T) {
	token := newToken(t, contract.KeySpecEC256)
	ctx, cancel := context.WithCancelCause(t.Context())
	token.sign = func(ctx context.Context) error {
		cancel(errors.New("terminated signal received"))
		<-ctx.Done()
		return ctx.Err()
	}
	_, err := token.plugin().GenerateSignature(ctx, request(contract.KeySpecEC256))
	checkError(t, err, contract.ErrorCodeGeneric, "interrupted: terminated signal received")
	if token.closed != 1 {
		t.Error("the key was not closed")
	}
}

func TestSettingsReachTheOpener(t *testing.T) {
	token := newToken(t, contract.KeySpecEC256)
	p := token.plugin()
	p.Getenv = func(name string) string {
		return map[string]string{"NOTATION_PKCS11_LOG": "/tmp/log", "NOTATION_PKCS11_MODULE_LOG": "/tmp/module.log", "NOTATION_PKCS11_PIN": "1234"}[name]
	}
	req := request(contract.KeySpecEC256)
	req.PluginConfig = map[string]string{"module": "/usr/lib/libhsm.so", "init_args": "configdir='sql:/etc/pki/nssdb'"}
	if _, err := p.GenerateSignature(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	s := token.opened[0]
	pin, err := s.PIN(t.Context(), pkcs11.TokenInfo{})
	if err != nil {
		t.Fatal(err)
	}
	if s.Module != "/usr/lib/libhsm.so" || s.InitArgs != "configdir='sql:/etc/pki/nssdb'" || s.Log != "/tmp/log" || s.ModuleLog != "/tmp/module.log" || string(pin.Reveal()) != "1234" || s.Timeout != time.Minute {
		t.Errorf("got %+v", s)
	}
}

func TestCertificatesThatCannotBeReadAreAnError(t *testing.T) {
	token := newToken(t, contract.KeySpecEC256)
	token.list = func(context.Context) error {
		return &pkcs11.Error{Kind: pkcs11.KindCall, Message: "the certificates can't be read", Call: "C_FindObjectsInit", RV: ckrDeviceRemoved}
	}
	_, err := token.plugin().GenerateSignature(t.Context(), request(contract.KeySpecEC256))
	checkError(t, err, contract.ErrorCodeGeneric, "C_FindObjectsInit: CKR_DEVICE_REMOVED", "Plug the token in")
	if token.signatures != 0 || token.closed != 1 {
		t.Errorf("%d signatures were asked for and the key was closed %d times", token.signatures, token.closed)
	}
}

func TestClockOfThePluginDecidesOnValidity(t *testing.T) {
	token := newToken(t, contract.KeySpecEC256)
	p := token.plugin()
	p.Now = func() time.Time { return time.Now().AddDate(50, 0, 0) }
	_, err := p.GenerateSignature(t.Context(), request(contract.KeySpecEC256))
	checkError(t, err, contract.ErrorCodeValidation, "it expired")
}
