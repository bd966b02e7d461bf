// SPDX-License-Identifier: Apache-2.0

package action

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/softplugin"
)

// Without a home, notation takes .notation in the current directory for its own. A
// checkout could say there whom to trust, and which programs to run.
func TestCheckoutIsNoConfigurationDirectory(t *testing.T) {
	w := newRunWorld(t)
	reference, _ := w.image(t, "app", "v1")
	checkout := t.TempDir()
	t.Chdir(checkout)
	for name, content := range map[string]string{
		".notation/trustpolicy.json":                 `{"version":"1.0","trustPolicies":[{"name":"any","registryScopes":["*"],"signatureVerification":{"level":"skip"}}]}`,
		".notation/truststore/x509/ca/acme/root.pem": string(testenv.EncodePEM(w.root.Cert)),
		".notation/signingkeys.json":                 `{"keys":[{"name":"theirs","id":"x","pluginName":"theirs"}]}`,
		".notation/plugins/theirs/notation-theirs":   "#!/bin/sh\ntouch ran\n",
		"theirs/notation-theirs":                     "#!/bin/sh\ntouch ran\n",
	} {
		path := filepath.Join(checkout, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("HOME", "")
	t.Setenv("XDG_CONFIG_HOME", "")
	const policy = `{"version":"1.0","trustPolicies":[{"name":"any","registryScopes":["*"],"signatureVerification":{"level":"strict"},"trustStores":["ca:acme"],"trustedIdentities":["*"]}]}`
	for name, inputs := range map[string]map[string]string{
		"policy": {"INPUT_MODE": "verify"},
		"store":  {"INPUT_MODE": "verify", "INPUT_TRUST_POLICY": policy},
		"key":    {"INPUT_MODE": "sign", "INPUT_KEY_NAME": "theirs"},
		"plugin": {"INPUT_MODE": "sign", "INPUT_KEY_ID": "x", "INPUT_PLUGIN_NAME": "theirs"},
	} {
		inputs["INPUT_TARGET_ARTIFACT_REFERENCE"] = reference
		var log bytes.Buffer
		a := Action{
			BuiltIn: func(BuiltInOptions) BuiltIn { return softplugin.New(w.signer) },
			Stdout:  &log, Stderr: &log,
			Getenv:   func(name string) string { return inputs[name] },
			Unsetenv: func(string) error { return nil },
			CacheDir: w.path("cache"),
		}
		if code := a.Main(t.Context(), nil); code != exitUsage || !strings.Contains(log.String(), "HOME is not set") {
			t.Errorf("%s: exit code %d\n%s", name, code, &log)
		}
	}
	if _, err := os.Stat("ran"); err == nil {
		t.Error("a program of the checkout ran")
	}
}
