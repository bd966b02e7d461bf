// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/notation-pkcs11/notation-pkcs11/internal/auditlog"
	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

// A run that is the command of an agent signs by it, with neither the module nor the
// PIN.
func TestRunSignsByAnAgent(t *testing.T) {
	plugin := filepath.Join(t.TempDir(), "notation-pkcs11")
	if output, err := exec.Command("go", "build", "-o", plugin, "../notation-pkcs11").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	w := newWorld(t, testenv.EC256, testenv.NewRegistry)
	images := w.push(t, "app", 12)
	cmd := w.command(t.Context(), images, map[string]string{"pin": "", "module": ""})
	cmd.Path, cmd.Args = plugin, []string{plugin, "agent", w.key.URI(), "--module", w.hsm.Module, "--audit-log", w.path("audit.log"), "--", os.Args[0]}
	cmd.Env = append(cmd.Env, "NOTATION_PKCS11_PIN="+w.token.PIN)
	o := w.finish(t, cmd)
	if n := o.report.Count(); o.code != 0 || n.Verified != len(images) {
		t.Fatalf("exit code %d, %+v: %s", o.code, n, o.stderr)
	}
	s, err := auditlog.Verify(strings.NewReader(w.read("audit.log")), "")
	if err != nil || s.Events[auditlog.Signature] != len(images) {
		t.Errorf("%+v, %v", s, err)
	}
}
