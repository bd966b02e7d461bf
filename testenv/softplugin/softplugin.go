// SPDX-License-Identifier: Apache-2.0

// Package softplugin is a signing plugin with a key in memory, for tests: as a value
// and as an executable. Start with [New].
//
// A test binary that imports it and finds its variable in the environment is that
// plugin, and runs no test.
package softplugin

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/notation-pkcs11/notation-pkcs11/testenv/pki"

	contract "github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

// Plugin is a plugin whose one key, an EC-256, is in memory. It counts what
// it is asked.
type Plugin struct {
	name  string
	key   *ecdsa.PrivateKey
	chain []*x509.Certificate
	Err   error // what signing ends with, if it is set

	Described, Signed, Closed atomic.Int64
	Checked                   func(keyID string, config map[string]string) error
	Secrets                   func(keyID string, config map[string]string) []string
}

// New returns the plugin of a signer with a P-256 key.
func New(signer *pki.Certificate) *Plugin {
	return &Plugin{name: "pkcs11", key: signer.Key, chain: signer.Chain()}
}

// GetMetadata implements contract.SignPlugin.
func (p *Plugin) GetMetadata(context.Context, *contract.GetMetadataRequest) (*contract.GetMetadataResponse, error) {
	return &contract.GetMetadataResponse{
		Name: p.name, Description: "a test's plugin", Version: "1.0.0", URL: "https://localhost",
		SupportedContractVersions: []string{contract.ContractVersion},
		Capabilities:              []contract.Capability{contract.CapabilitySignatureGenerator},
	}, nil
}

// DescribeKey implements contract.SignPlugin.
func (p *Plugin) DescribeKey(_ context.Context, req *contract.DescribeKeyRequest) (*contract.DescribeKeyResponse, error) {
	p.Described.Add(1)
	return &contract.DescribeKeyResponse{KeyID: req.KeyID, KeySpec: contract.KeySpecEC256}, nil
}

// GenerateSignature implements contract.SignPlugin.
func (p *Plugin) GenerateSignature(_ context.Context, req *contract.GenerateSignatureRequest) (*contract.GenerateSignatureResponse, error) {
	p.Signed.Add(1)
	if p.Err != nil {
		return nil, p.Err
	}
	digest := sha256.Sum256(req.Payload)
	r, s, err := ecdsa.Sign(rand.Reader, p.key, digest[:])
	if err != nil {
		return nil, err
	}
	raw := make([]byte, 64)
	r.FillBytes(raw[:32])
	s.FillBytes(raw[32:])
	response := &contract.GenerateSignatureResponse{KeyID: req.KeyID, SigningAlgorithm: contract.SignatureAlgorithmECDSA_SHA256, Signature: raw}
	for _, cert := range p.chain {
		response.CertificateChain = append(response.CertificateChain, cert.Raw)
	}
	return response, nil
}

// GenerateEnvelope implements contract.SignPlugin.
func (p *Plugin) GenerateEnvelope(context.Context, *contract.GenerateEnvelopeRequest) (*contract.GenerateEnvelopeResponse, error) {
	return nil, contract.NewUnsupportedError("generate-envelope")
}

// Check implements the action's BuiltIn.
func (p *Plugin) Check(keyID string, config map[string]string) error {
	if p.Checked == nil {
		return nil
	}
	return p.Checked(keyID, config)
}

// SecretVariables implements the action's BuiltIn.
func (p *Plugin) SecretVariables(keyID string, config map[string]string) []string {
	if p.Secrets == nil {
		return nil
	}
	return p.Secrets(keyID, config)
}

// Close implements the action's BuiltIn.
func (p *Plugin) Close() error {
	p.Closed.Add(1)
	return nil
}

// pluginVariable names the plugin that the test's executable is to be, and the
// file of its key and certificates.
const pluginVariable = "NOTATION_PKCS11_TEST_PLUGIN"

func init() {
	if os.Getenv(pluginVariable) == "" {
		return
	}
	if err := servePlugin(os.Args[1], os.Stdin, os.Stdout); err != nil {
		json.NewEncoder(os.Stderr).Encode(contract.NewGenericError(err.Error()))
		os.Exit(1)
	}
	os.Exit(0)
}

// servePlugin answers one request of the contract.
func servePlugin(command string, in io.Reader, out io.Writer) error {
	plugin, err := Read(os.Getenv(pluginVariable))
	if err != nil {
		return err
	}
	ctx := context.Background()
	var response any
	switch contract.Command(command) {
	case contract.CommandGetMetadata:
		response, err = plugin.GetMetadata(ctx, nil)
	case contract.CommandDescribeKey:
		var req contract.DescribeKeyRequest
		if err = json.NewDecoder(in).Decode(&req); err == nil {
			response, err = plugin.DescribeKey(ctx, &req)
		}
	case contract.CommandGenerateSignature:
		var req contract.GenerateSignatureRequest
		if err = json.NewDecoder(in).Decode(&req); err == nil {
			response, err = plugin.GenerateSignature(ctx, &req)
		}
	default:
		err = fmt.Errorf("unknown command %q", command)
	}
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(response)
}

// Read reads the key and the certificates of a plugin, as [Script] has written them.
func Read(file string) (*Plugin, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	block, rest := pem.Decode(content)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	var der []byte
	for block, rest = pem.Decode(rest); block != nil; block, rest = pem.Decode(rest) {
		der = append(der, block.Bytes...)
	}
	chain, err := x509.ParseCertificates(der)
	if err != nil {
		return nil, err
	}
	if os.Getenv("INPUT_PIN") != "" || os.Getenv("INPUT_REGISTRY_PASSWORD") != "" {
		return nil, errors.New("the plugin got secrets that are not for it")
	}
	return &Plugin{name: "soft", key: key.(*ecdsa.PrivateKey), chain: chain}, nil
}

// Script is an executable that is the plugin "soft" with a key.
func Script(t *testing.T, signer *pki.Certificate) []byte {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "soft.pem")
	if err := os.WriteFile(file, append(KeyPEM(t, signer.Key), testenv.EncodePEM(signer.Chain()...)...), 0o600); err != nil {
		t.Fatal(err)
	}
	return fmt.Appendf(nil, "#!/bin/sh\n%s=%q exec %q \"$@\"\n", pluginVariable, file, self)
}

// KeyPEM returns a private key in PKCS#8.
func KeyPEM(t *testing.T, key crypto.Signer) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}
