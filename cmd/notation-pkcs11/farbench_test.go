// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"encoding/json"
	"testing"

	contract "github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/faults"
)

// The whole process of a signature against that of pkcs11-tool, with a module that adds
// 5 ms to each call as a network HSM may, and how many calls the plugin makes.
func BenchmarkFarToken(b *testing.B) {
	executable := buildPlugin(b)
	for _, test := range []struct {
		key       testenv.KeyType
		digest    []byte
		mechanism []string
	}{
		{testenv.RSA2048, make([]byte, 32), []string{"RSA-PKCS-PSS", "--hash-algorithm=SHA256"}},
		{testenv.EC256, make([]byte, 32), []string{"ECDSA"}},
	} {
		b.Run(test.key.Name, func(b *testing.B) {
			h := newChained(b, executable, test.key, true)
			signing, _ := h.calls(b, contract.CommandGenerateSignature, test.key)
			describing, _ := h.calls(b, contract.CommandDescribeKey, test.key)
			far, err := faults.New(b.TempDir(), h.token.Store.Module, "delay-calls 5")
			if err != nil {
				b.Fatal(err)
			}
			request := generate().(contract.GenerateSignatureRequest)
			request.KeySpec = contract.KeySpec(test.key.Name)
			request.PluginConfig = map[string]string{"module": far.Path}
			document, err := json.Marshal(request)
			if err != nil {
				b.Fatal(err)
			}
			w := &benchWorld{token: h.token, env: append(append(h.token.Env(), far.Env()...), "NOTATION_PKCS11_PIN="+h.token.PIN)}
			arguments := toolSigns(h.token, far.Path, "signing", test.mechanism)
			pair(b, "plugin", "pkcs11-tool",
				func() error { return w.run(document, executable, string(contract.CommandGenerateSignature)) },
				func() error { return w.run(test.digest, "pkcs11-tool", arguments...) })
			b.ReportMetric(float64(signing), "calls/signature")
			b.ReportMetric(float64(describing), "calls/description")
		})
	}
}
