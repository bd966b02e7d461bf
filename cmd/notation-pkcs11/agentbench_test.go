// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	contract "github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/faults"
)

// startBenchAgent starts an agent with a key, and returns its socket.
func (w *benchWorld) startBenchAgent(b *testing.B, label, module string) string {
	b.Helper()
	dir, err := os.MkdirTemp("", "b")
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(w.plugin, "agent", "pkcs11:token=testenv;object="+label, "--module", module,
		"--socket", filepath.Join(dir, "s"), "--output", "json")
	cmd.Env = append(os.Environ(), w.env...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
		os.RemoveAll(dir)
	})
	var started agentResult
	if err := json.NewDecoder(out).Decode(&started); err != nil {
		b.Fatal(err)
	}
	return started.Socket
}

// The whole process of a signature by an agent against that of pkcs11-tool, as
// BenchmarkGenerateSignature without one.
func BenchmarkAgentGenerateSignature(b *testing.B) {
	w := newBenchWorld(b)
	for _, test := range []struct {
		spec      contract.KeySpec
		hash      contract.HashAlgorithm
		jose      string
		digest    []byte
		mechanism []string
	}{
		{contract.KeySpecRSA3072, contract.HashAlgorithmSHA384, "PS384", make([]byte, 48), []string{"RSA-PKCS-PSS", "--hash-algorithm=SHA384"}},
		{contract.KeySpecEC256, contract.HashAlgorithmSHA256, "ES256", make([]byte, 32), []string{"ECDSA"}},
	} {
		b.Run(string(test.spec), func(b *testing.B) {
			request, err := json.Marshal(contract.GenerateSignatureRequest{
				ContractVersion: contract.ContractVersion,
				KeyID:           "pkcs11:token=testenv;object=" + string(test.spec),
				KeySpec:         test.spec,
				Hash:            test.hash,
				Payload:         notaryMessage(test.jose),
				PluginConfig:    map[string]string{"cert_chain": w.chains[string(test.spec)]},
			})
			if err != nil {
				b.Fatal(err)
			}
			withAgent := *w
			withAgent.env = append(w.token.Env(), "NOTATION_PKCS11_AGENT="+w.startBenchAgent(b, string(test.spec), w.token.Store.Module))
			arguments := toolSigns(w.token, w.token.Store.Module, string(test.spec), test.mechanism)
			pair(b, "agent", "pkcs11-tool",
				func() error { return withAgent.run(request, w.plugin, string(contract.CommandGenerateSignature)) },
				func() error { return w.run(test.digest, "pkcs11-tool", arguments...) })
		})
	}
}

// The real notation CLI with the plugin and an agent against the same with a local
// key file of the same type, as BenchmarkNotationSign without an agent.
func BenchmarkAgentNotationSign(b *testing.B) {
	w := newBenchWorld(b)
	w.notationSigns(b, "agent", func(b *testing.B, spec string) (env, arguments []string) {
		return append(w.token.Env(), "NOTATION_PKCS11_AGENT="+w.startBenchAgent(b, spec, w.token.Store.Module)), nil
	})
}

// The whole process of a signature by an agent against that of pkcs11-tool, with a
// module that adds 5 ms to each call, as BenchmarkFarToken without an agent.
func BenchmarkAgentFarToken(b *testing.B) {
	executable := buildPlugin(b)
	for _, test := range []struct {
		key       testenv.KeyType
		jose      string
		mechanism []string
	}{
		{testenv.RSA2048, "PS256", []string{"RSA-PKCS-PSS", "--hash-algorithm=SHA256"}},
		{testenv.EC256, "ES256", []string{"ECDSA"}},
	} {
		b.Run(test.key.Name, func(b *testing.B) {
			h := newChained(b, executable, test.key, true)
			far, err := faults.New(b.TempDir(), h.token.Store.Module, "delay-calls 5")
			if err != nil {
				b.Fatal(err)
			}
			request := generate().(contract.GenerateSignatureRequest)
			request.KeySpec, request.Payload = contract.KeySpec(test.key.Name), notaryMessage(test.jose)
			document, err := json.Marshal(request)
			if err != nil {
				b.Fatal(err)
			}
			w := &benchWorld{token: h.token, plugin: executable, env: append(append(h.token.Env(), far.Env()...), "NOTATION_PKCS11_PIN="+h.token.PIN)}
			withAgent := &benchWorld{env: append(h.token.Env(), "NOTATION_PKCS11_AGENT="+w.startBenchAgent(b, "signing", far.Path))}
			arguments := toolSigns(h.token, far.Path, "signing", test.mechanism)
			pair(b, "agent", "pkcs11-tool",
				func() error { return withAgent.run(document, executable, string(contract.CommandGenerateSignature)) },
				func() error { return w.run(make([]byte, 32), "pkcs11-tool", arguments...) })
		})
	}
}
