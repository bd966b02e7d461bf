// SPDX-License-Identifier: Apache-2.0

package plugin_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"log"
	"os"
	"strings"

	contract "github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
	"github.com/notation-pkcs11/notation-pkcs11/plugin"
	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

// inProcess opens keys with the module in this process. That is enough for a
// program that dies with its module; others use package host.
type inProcess struct{}

func (inProcess) Open(ctx context.Context, s plugin.Settings) (plugin.Key, error) {
	module, err := pkcs11.Load(s.Module, pkcs11.Options{})
	if err != nil {
		return nil, err
	}
	token, err := module.Token(s.URI)
	if err != nil {
		module.Close()
		return nil, err
	}
	key, err := token.Key(ctx, s.URI, pkcs11.KeyOptions{PIN: s.PIN, Certificates: s.Certificates})
	if err != nil {
		module.Close()
		return nil, err
	}
	return inProcessKey{key, module}, nil
}

type inProcessKey struct {
	*pkcs11.Key
	module *pkcs11.Module
}

func (k inProcessKey) SignMessage(_ context.Context, message []byte, opts crypto.SignerOpts) ([]byte, error) {
	return k.Key.SignMessage(rand.Reader, message, opts)
}

func (k inProcessKey) Certificates(context.Context) ([]*x509.Certificate, error) {
	return k.Key.Certificates()
}

func (k inProcessKey) OwnCertificates(context.Context) ([]*x509.Certificate, error) {
	return k.Key.OwnCertificates()
}

func (k inProcessKey) Close() error {
	if err := k.Key.Close(); err != nil {
		return err
	}
	return k.module.Close()
}

// A program signs with the plugin as notation does, without a process between.
func ExamplePlugin() {
	hsm, token, chain := exampleKey()
	defer hsm.Close()
	defer os.Remove(chain)

	p := plugin.Plugin{
		Version: "1.2.3",
		Opener:  inProcess{},
		Getenv:  func(name string) string { return map[string]string{"NOTATION_PKCS11_PIN": token.PIN}[name] },
	}
	config := map[string]string{"module": hsm.Module, "cert_chain": chain}
	described, err := p.DescribeKey(context.Background(), &contract.DescribeKeyRequest{
		ContractVersion: contract.ContractVersion,
		KeyID:           "pkcs11:token=testenv;object=EC-384",
		PluginConfig:    config,
	})
	if err != nil {
		log.Fatal(err)
	}
	signed, err := p.GenerateSignature(context.Background(), &contract.GenerateSignatureRequest{
		ContractVersion: contract.ContractVersion,
		KeyID:           described.KeyID,
		KeySpec:         described.KeySpec,
		Hash:            contract.HashAlgorithmSHA384,
		Payload:         []byte("what notation wants signed"),
		PluginConfig:    config,
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(described.KeySpec, signed.SigningAlgorithm)
	fmt.Println(len(signed.Signature), "bytes of r||s,", len(signed.CertificateChain), "certificates")
	// Output:
	// EC-384 ECDSA-SHA-384
	// 96 bytes of r||s, 3 certificates
}

// exampleKey makes a token, and a file with the certificate chain of one of its
// keys.
func exampleKey() (hsm *testenv.SoftHSM, token *testenv.Token, chainFile string) {
	hsm, err := testenv.NewSoftHSM()
	if err != nil {
		log.Fatal(err)
	}
	if token, err = hsm.AddStandardToken(); err != nil {
		log.Fatal(err)
	}
	for _, variable := range hsm.Env() {
		name, value, _ := strings.Cut(variable, "=")
		if err := os.Setenv(name, value); err != nil {
			log.Fatal(err)
		}
	}
	pki, err := testenv.NewPKI()
	if err != nil {
		log.Fatal(err)
	}
	chain, err := pki.Chain(token.Key("EC-384").Public)
	if err != nil {
		log.Fatal(err)
	}
	file, err := os.CreateTemp("", "chain-*.pem")
	if err != nil {
		log.Fatal(err)
	}
	defer file.Close()
	if _, err := file.Write(testenv.EncodePEM(chain...)); err != nil {
		log.Fatal(err)
	}
	return hsm, token, file.Name()
}

// An executable serves notation with one call.
func ExampleServer() {
	server := plugin.Server{
		Plugin: &plugin.Plugin{Version: "1.2.3", Opener: inProcess{}},
		Stdin:  strings.NewReader("{}"),
		Stdout: os.Stdout,
		Stderr: os.Stderr,
	}
	code := server.Serve(context.Background(), []string{"get-plugin-metadata"})
	fmt.Println("\nexit code", code)
	// Output:
	// {"name":"pkcs11","description":"Signs with keys in PKCS#11 tokens and HSMs","version":"1.2.3","url":"https://github.com/notation-pkcs11/notation-pkcs11","supportedContractVersions":["1.0"],"capabilities":["SIGNATURE_GENERATOR.RAW"]}
	//
	// exit code 0
}

// The key id wins over plugin config, and that over the environment.
func ExampleParseSettings() {
	environment := map[string]string{"NOTATION_PKCS11_MODULE": "/usr/lib/a.so", "NOTATION_PKCS11_TIMEOUT": "30s"}
	s, err := plugin.ParseSettings("pkcs11:token=Release;object=signing",
		map[string]string{"module": "/usr/lib/b.so"},
		func(name string) string { return environment[name] }, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(s.Module, s.Timeout)

	_, err = plugin.ParseSettings("pkcs11:token=Release", map[string]string{"pin": "1234"}, os.Getenv, nil)
	var refused *contract.Error
	fmt.Println(errors.As(err, &refused), refused.ErrCode)
	// Output:
	// /usr/lib/b.so 30s
	// true VALIDATION_ERROR
}
