// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"slices"
	"testing"
)

func TestVariablesThatMayHoldThePINAreNamed(t *testing.T) {
	for name, c := range map[string]struct {
		keyID  string
		config map[string]string
		env    map[string]string
		want   string // beside NOTATION_PKCS11_PIN
	}{
		"none":             {keyID: "pkcs11:token=t"},
		"config":           {keyID: "pkcs11:token=t", config: map[string]string{"pin_source": "env:MY_PIN"}, want: "MY_PIN"},
		"URI":              {keyID: "pkcs11:token=t?pin-source=env:MY_PIN&module-path=/m.so", want: "MY_PIN"},
		"URI with escapes": {keyID: "pkcs11:object=pin-source=?pin-source=env%3aMY_PIN", want: "MY_PIN"},
		"variable":         {keyID: "pkcs11:token=t", env: map[string]string{"NOTATION_PKCS11_PIN_SOURCE": "env:MY_PIN"}, want: "MY_PIN"},
		"a file":           {keyID: "pkcs11:token=t", config: map[string]string{"pin_source": "file:/pin"}},
		"no URI":           {keyID: "soft", config: map[string]string{"pin_source": "env:MY_PIN"}, want: "MY_PIN"},
	} {
		want := []string{"NOTATION_PKCS11_PIN"}
		if c.want != "" {
			want = append(want, c.want)
		}
		if got := SecretVariables(c.keyID, c.config, func(name string) string { return c.env[name] }); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}
