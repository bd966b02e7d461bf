// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/notation-pkcs11/notation-pkcs11/internal/auditlog"
	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

// Whatever notation signs in either envelope, the log has by its digest.
func TestWhatNotationSignsIsInTheAuditLog(t *testing.T) {
	hsm := testenv.Start(t, testenv.NewSoftHSM)
	token, err := hsm.AddStandardToken()
	if err != nil {
		t.Fatal(err)
	}
	notation := notationFor(t, buildPlugin(t), token)
	registry := testenv.Start(t, testenv.NewRegistry)
	log := filepath.Join(t.TempDir(), "audit.log")
	env := append(token.Env(), "NOTATION_PKCS11_AUDIT_LOG="+log)
	var digests []string
	for _, key := range token.Keys {
		for format := range envelopeTypes {
			repository := strings.ToLower(key.Type.Name) + "/" + format
			image, err := registry.PushImage(t.Context(), repository, "v1")
			if err != nil {
				t.Fatal(err)
			}
			mustRun(t, notation, env, "sign", "--key", key.Type.Name, "--signature-format", format, "--expiry", "24h", "--user-metadata", "build=<42>",
				registry.Host+"/"+repository+"@"+image.Digest.String())
			digests = append(digests, image.Digest.String())
		}
	}
	content, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	if s, err := auditlog.Verify(strings.NewReader(string(content)), ""); err != nil || s.Events[auditlog.Signature] != len(digests) || s.Lines != len(digests) {
		t.Errorf("%+v, %v, for %d signatures", s, err, len(digests))
	}
	for i, text := range strings.Split(strings.TrimSpace(string(content)), "\n") {
		var line struct {
			Artifact  auditlog.Artifact
			Mechanism string
			Peer      auditlog.Peer
		}
		if err := json.Unmarshal([]byte(text), &line); err != nil || line.Artifact.Digest != digests[i] || !strings.HasPrefix(line.Mechanism, "CKM_") {
			t.Errorf("line %d: %v: %s", i+1, err, text)
		}
		if path := line.Peer.Executable; path != "" && filepath.Base(path) != "notation" { // it is known on Linux alone
			t.Errorf("line %d: asked by %s", i+1, path)
		}
	}
}
