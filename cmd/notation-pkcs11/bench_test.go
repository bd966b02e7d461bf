// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	contract "github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

// A pair of commands takes turns, so that what else the machine does at the time
// concerns both. What is reported is the median of each and of their ratio.
func pair(b *testing.B, ours, peer string, run, runPeer func() error) {
	var took, tookPeer, ratios []float64
	for b.Loop() {
		var seconds [2]float64
		for i, f := range []func() error{run, runPeer} {
			start := time.Now()
			if err := f(); err != nil {
				b.Fatal(err)
			}
			seconds[i] = time.Since(start).Seconds()
		}
		took, tookPeer = append(took, seconds[0]), append(tookPeer, seconds[1])
		ratios = append(ratios, seconds[0]/seconds[1])
	}
	b.ReportMetric(0, "ns/op") // of both together, which says nothing
	b.ReportMetric(1000*median(took), ours+"-ms")
	b.ReportMetric(1000*median(tookPeer), peer+"-ms")
	b.ReportMetric(median(ratios), "ratio")
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

// benchWorld is a token with certificates, and the plugin's executable.
type benchWorld struct {
	token  *testenv.Token
	plugin string
	chains map[string]string // PEM files by key type
	env    []string
}

func newBenchWorld(b *testing.B) *benchWorld {
	b.Helper()
	hsm := testenv.Start(b, testenv.NewSoftHSM)
	token, err := hsm.AddStandardToken()
	if err != nil {
		b.Fatal(err)
	}
	pki, err := testenv.NewPKI()
	if err != nil {
		b.Fatal(err)
	}
	w := &benchWorld{token: token, plugin: buildPlugin(b), chains: map[string]string{}}
	for _, key := range token.Keys {
		chain, err := pki.Chain(key.Public)
		if err != nil {
			b.Fatal(err)
		}
		w.chains[key.Type.Name] = filepath.Join(b.TempDir(), "chain.pem")
		if err := os.WriteFile(w.chains[key.Type.Name], testenv.EncodePEM(chain...), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	w.env = append(token.Env(), "NOTATION_PKCS11_PIN="+token.PIN)
	return w
}

// The whole process of a signature against that of pkcs11-tool, OpenSC's C
// program, with the same module and key. It finds the key by CKA_ID: version 0.23
// crashes in PSS with keys that it found by label.
func BenchmarkGenerateSignature(b *testing.B) {
	w := newBenchWorld(b)
	payload := bytes.Repeat([]byte("payload "), 32)
	for _, test := range []struct {
		spec      contract.KeySpec
		hash      contract.HashAlgorithm
		digest    []byte // what pkcs11-tool signs: it doesn't hash for these mechanisms
		mechanism []string
	}{
		{contract.KeySpecRSA3072, contract.HashAlgorithmSHA384, make([]byte, 48), []string{"RSA-PKCS-PSS", "--hash-algorithm=SHA384"}},
		{contract.KeySpecEC256, contract.HashAlgorithmSHA256, make([]byte, 32), []string{"ECDSA"}},
	} {
		b.Run(string(test.spec), func(b *testing.B) {
			request, err := json.Marshal(contract.GenerateSignatureRequest{
				ContractVersion: contract.ContractVersion,
				KeyID:           "pkcs11:token=testenv;object=" + string(test.spec),
				KeySpec:         test.spec,
				Hash:            test.hash,
				Payload:         payload,
				PluginConfig:    map[string]string{"module": w.token.Store.Module, "cert_chain": w.chains[string(test.spec)]},
			})
			if err != nil {
				b.Fatal(err)
			}
			arguments := toolSigns(w.token, w.token.Store.Module, string(test.spec), test.mechanism)
			pair(b, "plugin", "pkcs11-tool",
				func() error { return w.run(request, w.plugin, string(contract.CommandGenerateSignature)) },
				func() error { return w.run(test.digest, "pkcs11-tool", arguments...) })
		})
	}
}

// toolSigns are the arguments with which pkcs11-tool signs with a key.
func toolSigns(token *testenv.Token, module, label string, mechanism []string) []string {
	return append([]string{
		"--module", module, "--token-label", token.Label, "--login", "--pin", token.PIN,
		"--sign", "--id", hex.EncodeToString(token.Key(label).ID), "--mechanism"}, mechanism...)
}

func (w *benchWorld) run(stdin []byte, name string, arguments ...string) error {
	cmd := exec.Command(name, arguments...)
	cmd.Env = append(os.Environ(), w.env...)
	cmd.Stdin = bytes.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, stderr.String())
	}
	return nil
}

// The real notation CLI with the plugin against the same with a local key file
// of the same type, on a registry on loopback.
func BenchmarkNotationSign(b *testing.B) {
	w := newBenchWorld(b)
	w.notationSigns(b, "plugin", func(*testing.B, string) (env, arguments []string) {
		return w.env, []string{"--plugin-config", "module=" + w.token.Store.Module}
	})
}

// notationSigns times notation with the plugin, in an environment and with more
// arguments for each type of key, against notation with a key file.
func (w *benchWorld) notationSigns(b *testing.B, name string, with func(b *testing.B, spec string) (env, arguments []string)) {
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
			for i, name := range []string{name, "local"} { // each its own, since listings grow
				repository := strings.ToLower(spec) + "/" + name
				desc, err := registry.PushImage(b.Context(), repository, "v1")
				if err != nil {
					b.Fatal(err)
				}
				images[i] = registry.Host + "/" + repository + "@" + desc.Digest.String()
			}
			env, arguments := with(b, spec)
			sign := func(arguments ...string) error {
				result, err := notation.Run(context.Background(), env, append([]string{"sign", "--force-referrers-tag=false"}, arguments...)...)
				if err == nil && result.ExitCode != 0 {
					err = fmt.Errorf("notation sign: %s", result.Stderr)
				}
				return err
			}
			byPlugin := append([]string{"--plugin", "pkcs11", "--id", "pkcs11:token=testenv;object=" + spec,
				"--plugin-config", "cert_chain=" + w.chains[spec], images[0]}, arguments...)
			pair(b, name, "key-file",
				func() error { return sign(byPlugin...) },
				func() error { return sign("--key", "local", images[1]) })
		})
	}
}

// localKey makes a key in memory and its certificate chain.
func localKey(b *testing.B, pki *testenv.PKI, spec string) (crypto.Signer, []*x509.Certificate) {
	b.Helper()
	var key crypto.Signer
	var err error
	if spec == "EC-256" {
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	} else {
		key, err = rsa.GenerateKey(rand.Reader, 3072)
	}
	if err != nil {
		b.Fatal(err)
	}
	chain, err := pki.Chain(key.Public())
	if err != nil {
		b.Fatal(err)
	}
	return key, chain
}
