// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"strings"
	"testing"

	"github.com/notation-pkcs11/notation-pkcs11/internal/auditlog"
	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

// A run signs many artifacts at once; each has a line of its own.
func TestRunKeepsAnAuditLog(t *testing.T) {
	w := newWorld(t, testenv.EC256, testenv.NewRegistry)
	images := w.push(t, "app", 12)
	for run := range 2 {
		o := w.run(t, images, map[string]string{"audit_log": w.path("audit.log")})
		if n := o.report.Count(); o.code != 0 || n.Verified != len(images) {
			t.Fatalf("exit code %d, %+v", o.code, n)
		}
		content := w.read("audit.log")
		if s, err := auditlog.Verify(strings.NewReader(content), ""); err != nil || s.Lines != (run+1)*len(images) || s.Events[auditlog.Signature] != s.Lines {
			t.Errorf("%+v, %v", s, err)
		}
		for _, image := range images {
			_, digest, _ := strings.Cut(image, "@")
			if n := strings.Count(content, digest); n != run+1 {
				t.Errorf("%s is in %d lines", image, n)
			}
		}
		if n := strings.Count(content, `"mechanism":"CKM_ECDSA"`); n != (run+1)*len(images) {
			t.Errorf("%d lines have the mechanism:\n%s", n, content)
		}
		if n := strings.Count(content, `"tokenSerial":"`); n != (run+1)*len(images) {
			t.Errorf("%d lines have the token:\n%s", n, content)
		}
	}
}

// What can't be logged is a wrong input, before anything is signed or sent.
func TestAuditLogThatCannotBeKeptIsAWrongInput(t *testing.T) {
	w := newWorld(t, testenv.EC256, testenv.NewRegistry)
	image := w.push(t, "app", 1)
	if err := os.WriteFile(w.path("other.log"), []byte("hello\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	before := len(w.registry.Requests())
	for path, says := range map[string]string{
		"/dev/full": "not a regular file", w.path("no/audit.log"): "no such file", w.path("other.log"): "not an audit log",
	} {
		o := w.run(t, image, map[string]string{"audit_log": path})
		if o.code != 2 || !strings.Contains(o.stdout+o.stderr, says) || !strings.Contains(o.stdout+o.stderr, path) {
			t.Errorf("%s: exit code %d\n%s", path, o.code, o.stderr)
		}
	}
	o := w.run(t, image, map[string]string{"audit_log": w.path("audit.log"), "plugin_name": "other", "pin": "", "module": ""})
	if o.code != 2 || !strings.Contains(o.stdout+o.stderr, "audit_log is for the built-in plugin pkcs11; remove it") {
		t.Errorf("another plugin: exit code %d\n%s", o.code, o.stderr)
	}
	if after := len(w.registry.Requests()); after != before {
		t.Errorf("%d requests", after-before)
	}
}
