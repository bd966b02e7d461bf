// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"context"
	"crypto"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	contract "github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/notation-pkcs11/notation-pkcs11/internal/auditlog"
	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
)

// auditedToken is a softToken whose keys say what the log holds of them.
type auditedToken struct{ *softToken }

func (t auditedToken) Open(ctx context.Context, s Settings) (Key, error) {
	key, err := t.softToken.Open(ctx, s)
	if err != nil {
		return nil, err
	}
	return auditedKey{key}, nil
}

type auditedKey struct{ Key }

func (auditedKey) Shown() pkcs11.URI {
	return pkcs11.URI{}.With(pkcs11.AttrToken, "Release keys").With(pkcs11.AttrSerial, "0123")
}

func (auditedKey) Mechanisms(context.Context, crypto.SignerOpts) ([]string, error) {
	return []string{"CKM_ECDSA", "CKM_ECDSA_SHA384"}, nil
}

// auditRequest asks for a signature over what notation v1.3.2 signed with a P-384
// key, with an audit log.
func auditRequest(t *testing.T) (req *contract.GenerateSignatureRequest, log string) {
	t.Helper()
	message, err := os.ReadFile("payload/testdata/golden/v1.3.2-cose-image-ec-384")
	if err != nil {
		t.Fatal(err)
	}
	log = filepath.Join(t.TempDir(), "audit.log")
	req = request(contract.KeySpecEC384)
	req.Payload, req.PluginConfig = message, map[string]string{"audit_log": log}
	return req, log
}

// lines reads an audit log, and checks its chain.
func auditLines(t *testing.T, path string, want int) []map[string]any {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := auditlog.Verify(strings.NewReader(string(content)), ""); err != nil {
		t.Error(err)
	}
	var lines []map[string]any
	for text := range strings.Lines(string(content)) {
		var line map[string]any
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line)
	}
	if len(lines) != want {
		t.Fatalf("%d lines, want %d:\n%s", len(lines), want, content)
	}
	return lines
}

func TestSignatureIsInTheAuditLog(t *testing.T) {
	token := newToken(t, contract.KeySpecEC384)
	p := token.plugin()
	p.Opener = auditedToken{token}
	req, log := auditRequest(t)
	req.KeyID += "?module-path=/usr/lib/libhsm.so&pin-source=file:/etc/pin"
	for range 2 {
		if _, err := p.GenerateSignature(t.Context(), req); err != nil {
			t.Fatal(err)
		}
	}
	line := auditLines(t, log, 2)[1]
	thumbprint := sha256.Sum256(token.certificates[0].Raw)
	for name, want := range map[string]any{
		"event": "signature", "key": "pkcs11:token=Release%20keys;object=notation", "tokenSerial": "0123", "mechanism": "CKM_ECDSA",
		"certificate": hex.EncodeToString(thumbprint[:]), "signingTime": "2026-11-30T00:32:17Z", "reason": nil,
	} {
		if line[name] != want {
			t.Errorf("%s is %v, want %v", name, line[name], want)
		}
	}
	artifact := line["artifact"].(map[string]any)
	if artifact["digest"] != "sha256:6105d6cc76af400325e94d588ce511be5bfdbb73b437dc51eca43917d7a43e3d" || artifact["mediaType"] != "application/vnd.oci.image.manifest.v1+json" || artifact["size"] != 528.0 {
		t.Errorf("artifact %v", artifact)
	}
	if peer := line["peer"].(map[string]any); peer["uid"] != float64(os.Getuid()) || peer["pid"] != float64(os.Getppid()) {
		t.Errorf("peer %v", peer)
	}
}

func TestKeyThatSaysNothingOfItselfIsInTheAuditLog(t *testing.T) {
	req, log := auditRequest(t)
	if _, err := newToken(t, contract.KeySpecEC384).plugin().GenerateSignature(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	if line := auditLines(t, log, 1)[0]; line["event"] != "signature" || line["mechanism"] != nil || line["tokenSerial"] != nil {
		t.Errorf("%v", line)
	}
}

// Without a log the plugin signs what it is given, as ever.
func TestWithAnAuditLogOnlyPayloadsAreSigned(t *testing.T) {
	token := newToken(t, contract.KeySpecEC384)
	req, log := auditRequest(t)
	req.Payload = []byte("payload")
	_, err := token.plugin().GenerateSignature(t.Context(), req)
	checkError(t, err, contract.ErrorCodeValidation, "no Notary Project payload", "0x70", "audit_log")
	if len(token.opened) > 0 {
		t.Error("the key was opened")
	}
	if line := auditLines(t, log, 1)[0]; line["event"] != "refusal" || !strings.Contains(line["reason"].(string), "no Notary Project payload") || line["artifact"] != nil {
		t.Errorf("%v", line)
	}
	req.PluginConfig = nil
	if _, err := token.plugin().GenerateSignature(t.Context(), req); err != nil {
		t.Error(err)
	}
}

func TestPayloadForAnotherKeyIsRefusedWithAnAuditLog(t *testing.T) {
	token := newToken(t, contract.KeySpecEC256)
	req, log := auditRequest(t)
	req.KeySpec, req.Hash = contract.KeySpecEC256, contract.HashAlgorithmSHA256
	_, err := token.plugin().GenerateSignature(t.Context(), req)
	checkError(t, err, contract.ErrorCodeValidation, "ES384", "P-256")
	if line := auditLines(t, log, 1)[0]; line["event"] != "refusal" || token.signatures > 0 {
		t.Errorf("%d signatures, %v", token.signatures, line)
	}
}

func TestWhatFailsIsInTheAuditLog(t *testing.T) {
	wrongPIN := &pkcs11.Error{Kind: pkcs11.KindCall, Message: "the login failed", Call: "C_Login", RV: 0xA0}
	for name, row := range map[string]struct {
		open, sign error
		tamper     bool
		event      string
		described  int // lines of a description
	}{
		"a wrong PIN":               {open: wrongPIN, event: "login-failure", described: 1},
		"no PIN":                    {open: &pkcs11.Error{Kind: pkcs11.KindNoPIN, Message: "none"}, event: "login-failure", described: 1},
		"a PIN that is locked":      {open: &pkcs11.Error{Kind: pkcs11.KindPINLocked, Message: "locked"}, event: "login-failure", described: 1},
		"no such key":               {open: &pkcs11.Error{Kind: pkcs11.KindNoKey, Message: "none"}, event: "refusal"},
		"a login at the signature":  {sign: wrongPIN, event: "login-failure"},
		"a token that fails":        {sign: &pkcs11.Error{Kind: pkcs11.KindCall, Message: "failed", Call: "C_Sign", RV: 5}, event: "refusal"},
		"a signature that is wrong": {tamper: true, event: "refusal"},
	} {
		token := newToken(t, contract.KeySpecEC384)
		token.open = func(context.Context, Settings) error { return row.open }
		token.sign = func(context.Context) error { return row.sign }
		if row.tamper {
			token.tamper = func(s []byte) []byte { return s[1:] }
		}
		req, log := auditRequest(t)
		p := token.plugin()
		_, err := p.GenerateSignature(t.Context(), req)
		var told *contract.Error
		if !errors.As(err, &told) {
			t.Errorf("%s: error %v", name, err)
			continue
		}
		line := auditLines(t, log, 1)[0]
		if line["event"] != row.event || line["reason"] != told.Message || line["artifact"] == nil {
			t.Errorf("%s: error %q, line %v", name, told.Message, line)
		}
		_, _ = p.DescribeKey(t.Context(), &contract.DescribeKeyRequest{ContractVersion: contract.ContractVersion, KeyID: req.KeyID, PluginConfig: req.PluginConfig})
		auditLines(t, log, 1+row.described)
	}
}

// The token has signed; nobody gets it.
func TestSignatureWhoseLineCannotBeWrittenIsNotGivenOut(t *testing.T) {
	token := newToken(t, contract.KeySpecEC384)
	req, log := auditRequest(t)
	p := token.plugin()
	token.sign = func(context.Context) error { return os.Remove(log) }
	response, err := p.GenerateSignature(t.Context(), req)
	checkError(t, err, contract.ErrorCodeGeneric, "was deleted or moved", "is not given out", log)
	if response != nil || token.signatures != 1 {
		t.Errorf("%d signatures, response %v", token.signatures, response)
	}
	token.open = func(context.Context, Settings) error {
		return &pkcs11.Error{Kind: pkcs11.KindNoPIN, Message: "none is configured"}
	}
	_, err = p.GenerateSignature(t.Context(), req)
	checkError(t, err, contract.ErrorCodeAccessDenied, "none is configured", "The log has no line for this failure", "was deleted or moved")
}

func TestAuditLogThatCannotBeOpenedStopsBeforeTheKey(t *testing.T) {
	token := newToken(t, contract.KeySpecEC384)
	req, _ := auditRequest(t)
	req.PluginConfig["audit_log"] = "/dev/full"
	_, err := token.plugin().GenerateSignature(t.Context(), req)
	checkError(t, err, contract.ErrorCodeValidation, "nothing was signed: the audit log /dev/full can't be opened: it is not a regular file")
	_, err = token.plugin().DescribeKey(t.Context(), &contract.DescribeKeyRequest{ContractVersion: contract.ContractVersion, KeyID: req.KeyID, PluginConfig: req.PluginConfig})
	checkError(t, err, contract.ErrorCodeValidation, "/dev/full")
	if len(token.opened) > 0 {
		t.Error("the key was opened")
	}
}

func TestAuditLogOfConfigBeforeEnvironment(t *testing.T) {
	variables := environment(map[string]string{"NOTATION_PKCS11_AUDIT_LOG": "/environment"})
	for want, config := range map[string]map[string]string{"/config": {"audit_log": "/config"}, "/environment": nil} {
		if s, err := ParseSettings("pkcs11:token=T", config, variables, nil); err != nil || s.AuditLog != want {
			t.Errorf("audit log %q, want %q; %v", s.AuditLog, want, err)
		}
	}
}

// A check makes a signature too, and logs in.
func TestCheckIsInTheAuditLog(t *testing.T) {
	log := filepath.Join(t.TempDir(), "audit.log")
	p := newProbe(t, contract.KeySpecEC256)
	check := func() Report {
		s, err := ParseSettings(testKeyID, map[string]string{"audit_log": log}, environment(nil), nil)
		if err != nil {
			t.Fatal(err)
		}
		return Check(t.Context(), p, s, time.Now())
	}
	if r := check(); !r.Usable {
		t.Errorf("%+v", r)
	}
	p.fails["login"] = &pkcs11.Error{Kind: pkcs11.KindCall, Message: "the login failed", Call: "C_Login", RV: 0xA0}
	check()
	lines := auditLines(t, log, 2)
	if lines[0]["event"] != "probe" || lines[0]["mechanism"] != "CKM_FIRST" || lines[0]["artifact"] != nil || lines[1]["event"] != "login-failure" {
		t.Errorf("%v", lines)
	}
	p.fails["login"] = nil
	if err := os.Chmod(log, 0o620); err != nil {
		t.Fatal(err)
	}
	r := check()
	if step := r.Steps[len(r.Steps)-1]; r.Usable || step.Outcome != OutcomeFailed || !strings.Contains(step.Problem, "chmod g-w") {
		t.Errorf("%+v", r)
	}
}
