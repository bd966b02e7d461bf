// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
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
			arguments := append([]string{
				"--module", w.token.Store.Module, "--token-label", w.token.Label, "--login", "--pin", w.token.PIN,
				"--sign", "--id", w.id(string(test.spec)), "--mechanism"}, test.mechanism...)
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
	registry := testenv.Start(b, testenv.NewRegistry)
	pki, err := testenv.NewPKI()
	if err != nil {
		b.Fatal(err)
	}
	for _, spec := range []string{"RSA-3072", "EC-256"} {
		b.Run(spec, func(b *testing.B) {
			notation := testenv.Start(b, testenv.NewNotation)
			if err := notation.InstallPlugin("pkcs11", w.plugin); err != nil {
				b.Fatal(err)
			}
			signer, chain := localKey(b, pki, spec)
			if err := notation.AddKeyFile("local", signer, chain); err != nil {
				b.Fatal(err)
			}
			var images [2]string
			for i, name := range []string{"agent", "local"} {
				repository := strings.ToLower(spec) + "/" + name
				desc, err := registry.PushImage(b.Context(), repository, "v1")
				if err != nil {
					b.Fatal(err)
				}
				images[i] = registry.Host + "/" + repository + "@" + desc.Digest.String()
			}
			env := append(w.token.Env(), "NOTATION_PKCS11_AGENT="+w.startBenchAgent(b, spec, w.token.Store.Module))
			sign := func(arguments ...string) error {
				result, err := notation.Run(context.Background(), env, append([]string{"sign", "--force-referrers-tag=false"}, arguments...)...)
				if err == nil && result.ExitCode != 0 {
					err = fmt.Errorf("notation sign: %s", result.Stderr)
				}
				return err
			}
			pair(b, "agent", "key-file",
				func() error {
					return sign("--plugin", "pkcs11", "--id", "pkcs11:token=testenv;object="+spec, "--plugin-config", "cert_chain="+w.chains[spec], images[0])
				},
				func() error { return sign("--key", "local", images[1]) })
		})
	}
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
			arguments := append([]string{
				"--module", far.Path, "--token-label", h.token.Label, "--login", "--pin", h.token.PIN,
				"--sign", "--id", hex.EncodeToString(h.token.Keys[0].ID), "--mechanism"}, test.mechanism...)
			pair(b, "agent", "pkcs11-tool",
				func() error { return withAgent.run(document, executable, string(contract.CommandGenerateSignature)) },
				func() error { return w.run(make([]byte, 32), "pkcs11-tool", arguments...) })
		})
	}
}
