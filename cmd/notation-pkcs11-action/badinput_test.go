// SPDX-License-Identifier: Apache-2.0

//go:build unix

package main

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

// badKeyInputs are inputs that the built-in plugin refuses before the run begins,
// with what is said of them. Those of the run itself are in package action.
var badKeyInputs = []struct {
	inputs map[string]string
	says   string
}{
	{map[string]string{"key_id": "signing"}, "pkcs11:"},
	{map[string]string{"key_id": "pkcs11:token=release;label=signing"}, `unknown attribute "label"`},
	{map[string]string{"key_id": "pkcs11:token=release;object=a%zz"}, "two hexadecimal digits"},
	{map[string]string{"key_id": "pkcs11:token=release?pin-value=471147"}, "has a pin-value"},
	{map[string]string{"key_id": "pkcs11:token=re\u202elease"}, "must be written %"},
	{map[string]string{"key_id": "pkcs11:token=" + strings.Repeat("x", 20<<10)}, "longer than"},
	{map[string]string{"key_id": "pkcs11:?module-name=absent", "module": ""}, "absent"},
	{map[string]string{"key_id": "pkcs11:?module-path=/missing.so", "module": ""}, "no such file"},
	{map[string]string{"module": "/missing\x1b[2J.so"}, "no such file"},
	{map[string]string{"cert_chain": "missing.pem"}, "no such file"},
	{map[string]string{"cert_chain": "."}, "not a regular file"},
	{map[string]string{"cert_chain": "pipe"}, "not a regular file"},
	{map[string]string{"cert_chain": "/dev/zero"}, "not a regular file"},
	{map[string]string{"cert_chain": "-----BEGIN CERTIFICATE-----\nAAAA"}, "damaged"},
	{map[string]string{"cert_chain": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"}, "certificate number 1 is damaged"},
	{map[string]string{"cert_chain": "-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----"}, "private key"},
	{map[string]string{"plugin_config": "pin=471147", "pin": ""}, "pin_source=file:/path"},
	{map[string]string{"plugin_config": "modul=x"}, `unknown plugin config "modul"`},
	{map[string]string{"plugin_config": "timeout="}, `"timeout" is empty`},
	{map[string]string{"plugin_config": "timeout=soon"}, "not a duration"},
	{map[string]string{"plugin_config": "timeout=25h"}, "out of range"},
	{map[string]string{"plugin_config": "user_type=so"}, "neither user nor a number"},
	{map[string]string{"plugin_config": "pin_source=471147", "pin": ""}, "neither file:/path nor env:NAME"},
	{map[string]string{"plugin_config": "pin_source=|cat /pin", "pin": ""}, "a command, which is not run"},
}

// TestBadKeyInputs holds that each ends with the exit status 2 and a sentence, and
// that neither the token nor the registry was touched.
func TestBadKeyInputs(t *testing.T) {
	w := newWorld(t, testenv.EC256, testenv.NewRegistry)
	targets := w.push(t, "app", 1)
	if err := syscall.Mkfifo(w.path("pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	conf, _ := strings.CutPrefix(w.hsm.Env()[0], "SOFTHSM2_CONF=")
	tokens := os.DirFS(filepath.Dir(conf))
	tried, held := 0, 0
	for _, bad := range badKeyInputs {
		tried++
		ok := t.Run(fmt.Sprintf("%.80q", fmt.Sprint(bad.inputs)), func(t *testing.T) {
			before, asked := contents(t, tokens), len(w.registry.Requests())
			o := w.run(t, targets, bad.inputs)
			if o.code != 2 || !strings.Contains(o.stdout, bad.says) {
				t.Errorf("exit code %d, want 2 and %q", o.code, bad.says)
			}
			if n := len(w.registry.Requests()) - asked; n > 0 || !maps.Equal(before, contents(t, tokens)) {
				t.Errorf("%d requests, or the token has changed", n)
			}
			if o.outputs != "" || !strings.Contains(o.summary, "Wrong inputs") || w.read("report.json") != "" {
				t.Errorf("outputs %q, summary %q, report %q", o.outputs, o.summary, w.read("report.json"))
			}
			said := strings.ReplaceAll(o.everything(w), "::add-mask::"+w.token.PIN, "")
			if strings.Contains(said, w.token.PIN) || strings.Contains(said, "471147") || strings.ContainsAny(said, "\x1b\u202e") {
				t.Errorf("said %q", said)
			}
		})
		if ok {
			held++
		}
	}
	testenv.Tally(t, testenv.BadInputs, tried, held)
}

// contents are all files of a directory.
func contents(t *testing.T, folder fs.FS) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := fs.WalkDir(folder, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := fs.ReadFile(folder, path)
		all[path] = string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
