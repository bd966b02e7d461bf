// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/notation-pkcs11/notation-pkcs11/internal/auditlog"
	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
	"github.com/notation-pkcs11/notation-pkcs11/plugin"
)

var update = flag.Bool("update", false, "write the golden files of this package anew")

// hostile is what a token could call itself to steer a terminal.
const hostile = "\x1b[2JRel\u202eease\nkeys"

var (
	someTokens = tokensResult{Tokens: []tokenResult{
		{Label: "Release keys", Model: "SoftHSM v2", Serial: "0123456789abcdef", URI: "pkcs11:token=Release%20keys", Initialized: true,
			PIN: "set", LoginRequired: true, Visible: &visibleResult{PublicKeys: 1, Certificates: 3}},
		{Label: "Schlüssel", Model: "Luna K7", Serial: "1", URI: "pkcs11:token=Schl%C3%BCssel", Initialized: true,
			PIN: "count-low", LoginRequired: true, Visible: &visibleResult{}},
		{Label: hostile, Model: "v1", Serial: "2", URI: "pkcs11:serial=2", Initialized: true,
			PIN: "locked", Visible: &visibleResult{PrivateKeys: 1, PublicKeys: 2}},
		{Label: "busy", URI: "pkcs11:token=busy", Initialized: true, PIN: "not-set", Problem: "no session can be opened (C_OpenSession: CKR_SESSION_COUNT)"},
		{Model: "SoftHSM v2", PIN: "not-set"},
	}}
	someKeys = keysResult{Tokens: []tokenKeysResult{{Keys: []keyResult{
		{URI: "pkcs11:token=T;object=signing", Type: "EC-256", CanSign: true,
			Warning: `the certificate "CN=Release signing" ends on 2030-01-02, in 3 days`,
			Certificate: &plugin.CertificateUse{Name: "Release signing", Subject: "CN=Release signing", SerialNumber: "1f", Source: plugin.SourceChain,
				NotBefore: time.Date(2029, 1, 2, 3, 4, 5, 0, time.UTC), NotAfter: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)},
			OtherCertificates: []plugin.CertificateUse{{Name: hostile, SerialNumber: "1e", Source: plugin.SourceToken, Why: "--cert-chain holds the one in use",
				NotBefore: time.Date(2028, 1, 2, 3, 4, 5, 0, time.UTC), NotAfter: time.Date(2031, 1, 2, 3, 4, 5, 0, time.UTC)}}},
		{URI: "pkcs11:token=T;object=old;id=%01%A7", Type: "RSA-1024", Problem: "the key is RSA-1024, which notation can't sign with"},
		{URI: "pkcs11:token=T;id=%02", Type: "RSA-3072", Problem: "the certificate expired on 2020-01-01",
			Certificate: &plugin.CertificateUse{Name: hostile, Source: plugin.SourceToken, NotAfter: time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)}},
	}}}}
	goodCheck = checkResult{FIPS140: fips140Off,
		Report: plugin.Report{Usable: true, Steps: []plugin.Step{
			{Name: "module", Outcome: plugin.OutcomeOK, Duration: 12_345_678, Found: "/lib/softhsm2.so (SoftHSM 2.6)"},
			{Name: "token", Outcome: plugin.OutcomeOK, Duration: 100_000, Found: "pkcs11:token=T"},
			{Name: "certificates", Outcome: plugin.OutcomeWarning, Duration: 1_000_000, Found: `"Lab"`, Problem: "the certificate lacks codeSigning", Advice: "Have it issued again"},
			{Name: "signature", Outcome: plugin.OutcomeOK, Duration: 2_000_000, Found: "ECDSA-SHA-256"},
		}},
		KeyAdd: []string{"key", "add", "--plugin", "pkcs11", "--id", "pkcs11:token=T;object=it's", "--plugin-config", "module=/lib/softhsm2.so", "my-key"},
	}
	badCheck = checkResult{FIPS140: fips140Off, Report: plugin.Report{Steps: []plugin.Step{
		{Name: "module", Outcome: plugin.OutcomeOK, Duration: 12_345_678, Found: "/lib/softhsm2.so"},
		failedStep("login", &pkcs11.Error{Kind: pkcs11.KindCall, Message: "the login to the token pkcs11:token=T failed", Call: "C_Login", RV: 0xa0}), // CKR_PIN_INCORRECT
		{Name: "key", Outcome: plugin.OutcomeSkipped},
	}}}
	undecidedCheck = checkResult{FIPS140: fips140Off, Report: plugin.Report{Steps: []plugin.Step{
		failedStep("token", &pkcs11.Error{Kind: pkcs11.KindTokens, Message: "several tokens match pkcs11:token=T", Todo: "Use one of these tokens in the key URI"},
			"pkcs11:serial=1", "pkcs11:serial=2"),
	}}}
	auditTime = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	auditHash = strings.Repeat("0123456789abcdef", 4)
	someAudit = auditResult{File: "audit.log", Valid: true, Summary: auditlog.Summary{
		Lines: 42, Events: map[auditlog.Event]int{auditlog.Signature: 40, auditlog.Refusal: 2}, First: &auditTime, Last: &auditTime,
		Hash: auditHash, Torn: []int{7}, Expected: 41,
	}}
	brokenAudit = auditResult{File: "audit.log", Problem: "a line was changed", Line: 3, Summary: auditlog.Summary{
		Lines: 2, Events: map[auditlog.Event]int{hostile: 2}, First: &auditTime, Last: &auditTime, Hash: auditHash,
	}}
	someImports = importCertResult{Certificates: []importedResult{
		{"CN=Release signing,O=Example", importStored}, {"CN=Root", importPresent}, {hostile, importLeftOut},
	}}
)

// failedStep is a step as [plugin.Check] has it.
func failedStep(name string, err error, candidates ...string) plugin.Step {
	problem, advice := plugin.Explain(err, plugin.Settings{})
	return plugin.Step{Name: name, Outcome: plugin.OutcomeFailed, Duration: 100_000, Problem: problem, Advice: advice, Candidates: candidates}
}

// What people see is in testdata/golden; go test -update writes it anew.
func TestScreensAreAsTheirGoldenFiles(t *testing.T) {
	for name, render := range map[string]func(screen) error{
		"tokens":         func(s screen) error { return s.tokens(someTokens) },
		"tokens-none":    func(s screen) error { return s.tokens(tokensResult{}) },
		"tokens-json":    func(s screen) error { return s.json(someTokens) },
		"keys":           func(s screen) error { return s.keys(someKeys) },
		"keys-json":      func(s screen) error { return s.json(someKeys) },
		"check":          func(s screen) error { return s.check(goodCheck) },
		"check-failed":   func(s screen) error { return s.check(badCheck) },
		"check-several":  func(s screen) error { return s.check(undecidedCheck) },
		"check-json":     func(s screen) error { return s.json(goodCheck) },
		"import":         func(s screen) error { return s.imported(someImports) },
		"audit":          func(s screen) error { return s.audit(someAudit) },
		"audit-broken":   func(s screen) error { return s.audit(brokenAudit) },
		"audit-json":     func(s screen) error { return s.json(brokenAudit) },
		"audit-coloured": func(s screen) error { s.colours = true; return s.audit(brokenAudit) },
		"error": func(s screen) error {
			s.error("the audit log can't be read", "Check that the file is an audit log")
			s.note("a remark")
			return nil
		},
		"check-coloured": func(s screen) error { s.colours = true; return s.check(badCheck) },
		"keys-coloured":  func(s screen) error { s.colours = true; return s.keys(someKeys) },
	} {
		t.Run(name, func(t *testing.T) {
			var got bytes.Buffer
			if err := render(screen{Writer: &got}); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join("testdata", "golden", name+".txt")
			if *update {
				if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.Bytes(), want) {
				t.Errorf("got:\n%s\nwant:\n%s", got.Bytes(), want)
			}
			escapes := bytes.ContainsRune(got.Bytes(), '\x1b')
			if coloured := strings.HasSuffix(name, "-coloured"); escapes != coloured || bytes.ContainsRune(got.Bytes(), '\u202e') && !strings.HasSuffix(name, "-json") {
				t.Errorf("control characters come through:\n%q", got.Bytes())
			}
		})
	}
}

// Colour doesn't move a column: without it the screen is the same.
func TestColoursKeepTheColumns(t *testing.T) {
	var plainText, coloured bytes.Buffer
	for _, s := range []screen{{&plainText, false}, {&coloured, true}} {
		for _, err := range []error{s.check(badCheck), s.check(goodCheck), s.tokens(someTokens), s.keys(someKeys), s.imported(someImports)} {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	stripped := coloured.String()
	for _, code := range []string{"\x1b[0m", "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[39m"} {
		stripped = strings.ReplaceAll(stripped, code, "")
	}
	trim := func(s string) string { // a coloured cell without text keeps its row's end
		lines := strings.Split(s, "\n")
		for i := range lines {
			lines[i] = strings.TrimRight(lines[i], " ")
		}
		return strings.Join(lines, "\n")
	}
	if trim(stripped) != trim(plainText.String()) {
		t.Errorf("with colours:\n%s\nwithout:\n%s", stripped, plainText.String())
	}
}

func TestColoursAreForTerminalsAlone(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "output"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if newScreen(f).colours || newScreen(&bytes.Buffer{}).colours {
		t.Error("colours in a file")
	}
}

func TestForeignTextIsVisible(t *testing.T) {
	for text, want := range map[string]string{
		"":           "-",
		"-":          `"-"`,
		"Release":    "Release",
		"Schlüssel":  "Schlüssel",
		" padded":    `" padded"`,
		"a\tb":       `"a\tb"`,
		"\x1b[31m":   `"\x1b[31m"`,
		"\u202eevil": `"\u202eevil"`,
		"\xff":       `"\xff"`,
	} {
		if got := visible(text); got != want {
			t.Errorf("%q is shown as %s, want %s", text, got, want)
		}
	}
}

func TestShellLinesCanBePasted(t *testing.T) {
	got := shellQuote("notation", "", "it's", "a;b", "$HOME", "module=/lib/x.so", "ü")
	if want := `notation '' 'it'\''s' 'a;b' '$HOME' module=/lib/x.so 'ü'`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestAdviceNamesFlags(t *testing.T) {
	for text, want := range map[string]string{
		"with the plugin config module, or with X":                       "with --module, or with X",
		"the plugin config pin_source=file:/path or pin_source=env:NAME": "--pin-source=file:/path or --pin-source=env:NAME",
		`plugin config "timeout": "x" is not a duration`:                 `--timeout: "x" is not a duration`,
		"none is on the token, and cert_chain is not set":                "none is on the token, and --cert-chain is not set",
		"2 in cert_chain)": "2 in --cert-chain)",
		"the file \"/etc/cert_chain.pem\" and the modules of the module's timeout": "the file \"/etc/cert_chain.pem\" and the modules of the module's timeout",
	} {
		if got := asFlags(text); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestProposedNamesNeedNoQuotes(t *testing.T) {
	for uri, want := range map[string]string{
		"pkcs11:object=release-2.0": "release-2.0", "pkcs11:object=a%20b": "my-key", "pkcs11:object=-x": "my-key", "pkcs11:id=%01": "my-key",
	} {
		u, err := pkcs11.ParseURI(uri)
		if err != nil {
			t.Fatal(err)
		}
		if got := keyName(u); got != want {
			t.Errorf("%s: %s", uri, got)
		}
	}
}
