// SPDX-License-Identifier: Apache-2.0

//go:build unix

package action

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"unicode"

	"github.com/notaryproject/notation-go/dir"
	"github.com/notaryproject/notation-go/verifier/trustpolicy"

	"github.com/notation-pkcs11/notation-pkcs11/action/report"
	"github.com/notation-pkcs11/notation-pkcs11/testenv"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/pki"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/runner"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/signed"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/softplugin"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/wording"
)

// badInput is inputs that are wrong, with what is said of them. The word DIR in a
// value is the directory of the files of badFiles.
type badInput struct {
	inputs map[string]string
	says   string
	args   []string
}

// hush is the secret of all runs of the matrix.
const hush = "hush-471147"

// TestBadInputs gives the action everything that is wrong. It says so, and what
// about it, with the exit status 2; no request is sent, the key's plugin is not
// asked, nothing is written, and no secret is shown.
func TestBadInputs(t *testing.T) {
	testenv.Long(t, "starts a run for each bad input")
	w := newRunWorld(t)
	reference, _ := w.image(t, "app", "v1")
	files := t.TempDir()
	notation := writeBadFiles(t, files, w)
	tried, held := 0, 0
	for _, bad := range badInputs(notation) {
		tried++
		ok := testenv.Holds(t, bad.name(), func(t *testing.T) {
			env := map[string]string{
				"INPUT_TARGET_ARTIFACT_REFERENCE": reference, "INPUT_REPORT": "",
				"INPUT_REGISTRY_USERNAME": "me", "INPUT_REGISTRY_PASSWORD": hush, variablePIN: hush,
			}
			for name, value := range bad.inputs {
				env["INPUT_"+strings.ToUpper(name)] = strings.ReplaceAll(value, "DIR", files)
			}
			var args []string
			for _, arg := range bad.args {
				args = append(args, strings.ReplaceAll(arg, "DIR", files))
			}
			notationDir, named := bad.inputs["notation"]
			w.notationDir = ""
			if named {
				w.notationDir = filepath.Join(files, notationDir)
			}
			asked := w.plugin.Described.Load() + w.plugin.Signed.Load()
			before, filesBefore := tree(t, w.dir), tree(t, files)
			r := w.run(t, env, args...)
			if r.code != exitUsage || !strings.Contains(r.log, bad.says) {
				t.Errorf("exit code %d, want %d and %q", r.code, exitUsage, bad.says)
			}
			if n := w.plugin.Described.Load() + w.plugin.Signed.Load() - asked; n > 0 || len(r.requests) > 0 {
				t.Errorf("%d requests to the plugin, %v to the registry", n, r.requests)
			}
			if !strings.Contains(r.summary, "Wrong inputs") || strings.Contains(r.summary, hush) || strings.ContainsAny(r.summary, "\x1b\u202e") {
				t.Errorf("summary %q", r.summary)
			}
			if err := os.RemoveAll(w.path("summary")); err != nil {
				t.Fatal(err)
			}
			if !maps.Equal(before, tree(t, w.dir)) || !maps.Equal(filesBefore, tree(t, files)) {
				t.Error("files have changed")
			}
			checkLogOfRefusal(t, r.log)
		})
		if ok {
			held++
		}
	}
	testenv.Tally(t, testenv.BadInputs, tried, held)
}

// name names the case.
func (b badInput) name() string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(b.inputs)) {
		parts = append(parts, fmt.Sprintf("%s=%q", name, report.Bounded(b.inputs[name], 60)))
	}
	return strings.Join(append(parts, b.args...), " ")
}

// checkLogOfRefusal checks that the log of a refused run has errors and the hint,
// nothing that acts in them, and no secret.
func checkLogOfRefusal(t *testing.T, log string) {
	t.Helper()
	errors := 0
	for line := range strings.Lines(log) {
		line = strings.TrimSuffix(line, "\n")
		if strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) || len(line) > 3*8<<10 {
			t.Errorf("the log has the line %.300q", line)
		}
		switch c, isCommand := runner.ParseCommand(line); {
		case isCommand && c.Name == "add-mask":
			continue
		case isCommand && c.Name == "error" && c.Data != "":
			errors++
			if flaws := wording.Error(c.Data); len(flaws) > 0 {
				t.Errorf("%.300q: %s", c.Data, strings.Join(flaws, "; "))
			}
		case isCommand || line != "note: nothing was signed or verified" && !strings.HasPrefix(line, "hint: Run notation-pkcs11-action --help, or read https://"):
			t.Errorf("the log has the line %.300q", line)
		}
		if strings.Contains(line, hush) {
			t.Errorf("a secret is in the line %q", line)
		}
	}
	if errors == 0 {
		t.Error("the log has no error")
	}
}

// tree describes all files of a directory.
func tree(t *testing.T, folder string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		all[path] = fmt.Sprint(info.Mode(), info.Size(), info.ModTime())
		if entry.IsDir() {
			all[path] = info.Mode().String()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// badInputs are all of them.
func badInputs(notation []badInput) []badInput {
	var all []badInput
	acting := []string{"\x1b[2J::error::x", "::add-mask::x\n::stop-commands::x", "x\x00y", "\xff\xfe", "\u202ex", strings.Repeat("9", 1<<20)}
	for _, name := range slices.Sorted(maps.Keys(wrongValues)) {
		for _, value := range slices.Concat(wrongValues[name], acting) {
			all = append(all, badInput{inputs: map[string]string{name: value}, says: name + ": "})
		}
	}
	for _, c := range contradictions {
		inputs := maps.Clone(c.inputs)
		if _, ok := inputs["registry_username"]; ok {
			inputs["registry_password"] = ""
		}
		all = append(all, badInput{inputs: inputs, says: c.says})
	}
	for name, says := range badCertificates {
		all = append(all,
			badInput{inputs: map[string]string{"trusted_certificates": "DIR/" + name}, says: "trusted_certificates"},
			badInput{inputs: map[string]string{"trusted_certificates": "DIR/" + name, "mode": "verify"}, says: says},
			badInput{inputs: map[string]string{"timestamp_url": "http://tsa.example", "timestamp_root_cert": "DIR/" + name}, says: "timestamp_root_cert"},
			badInput{inputs: map[string]string{"timestamp_root_cert": "DIR/" + name, "mode": "verify"}, says: says},
			badInput{inputs: map[string]string{"crl_files": "DIR/" + name}, says: "crl_files: "},
		)
	}
	for name, says := range badPolicies {
		all = append(all,
			badInput{inputs: policyInputs(map[string]string{"trust_policy": "DIR/policies/" + name}), says: says},
			badInput{inputs: policyInputs(map[string]string{"trust_policy": "DIR/policies/" + name, "mode": "verify", "trust_store": "DIR/store"}), says: says},
		)
	}
	all = append(all,
		badInput{inputs: map[string]string{"trusted_certificates": "-----BEGIN CERTIFICATE-----\nx"}, says: "trusted_certificates"},
		badInput{inputs: map[string]string{"trusted_certificates": "-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----"}, says: "a PEM block of the type EC PRIVATE KEY"},
		badInput{inputs: map[string]string{"trusted_identities": "CN=nobody"}, says: "trusted_identities"},
		badInput{inputs: map[string]string{"trusted_identities": "x509.subject: CN=only"}, says: "trusted_identities"},
		badInput{inputs: map[string]string{"trusted_identities": "*\nx509.subject: C=DE, ST=Berlin, O=acme"}, says: "trusted_identities"},
		badInput{inputs: policyInputs(map[string]string{}), says: "nothing to verify against"},
		badInput{inputs: policyInputs(map[string]string{"trusted_identities": "*"}), says: "trusted_identities"},
		badInput{inputs: policyInputs(map[string]string{"verification_level": "audit"}), says: "verification_level"},
		badInput{inputs: map[string]string{"trust_policy": "DIR/policies/good.json"}, says: "trusted_certificates and trust_policy or trust_store are both set"},
		badInput{inputs: map[string]string{"trust_store": "DIR/store"}, says: "trusted_certificates and trust_policy or trust_store are both set"},
		badInput{inputs: map[string]string{"timestamp_url": "tsa.example", "timestamp_root_cert": "DIR/root.pem"}, says: "timestamp_url: "},
		badInput{inputs: map[string]string{"timestamp_url": "file:///etc/passwd", "timestamp_root_cert": "DIR/root.pem"}, says: "timestamp_url: "},
		badInput{inputs: map[string]string{"report": "DIR/missing/report.json"}, says: "report: "},
		badInput{inputs: map[string]string{"report": "DIR/directory"}, says: "report: "},
		badInput{inputs: map[string]string{"plugin_name": "absent"}, says: `no plugin "absent" is installed`},
	)
	for name, says := range badStores {
		all = append(all, badInput{inputs: policyInputs(map[string]string{"trust_policy": "DIR/policies/good.json", "trust_store": "DIR/" + name}), says: says})
	}
	for _, args := range [][]string{
		{"--unknown"}, {"positional"}, {"--mode"}, {"--recursive=maybe"}, {"--concurrency", "0"}, {"--mode", "Sign"}, {"--timeout=\x1b[2J"},
		{"sign", "--key-id", "soft"}, {"-x"}, {"--", "a"}, {"--pin"}, {"--target-artifact-reference", ""}, {"--plugin-config", "novalue"},
	} {
		all = append(all, badInput{args: args, says: "::error"})
	}
	return append(all, notation...)
}

// policyInputs are those of a run that trusts by a policy.
func policyInputs(inputs map[string]string) map[string]string {
	all := map[string]string{"trusted_certificates": "", "trusted_identities": ""}
	maps.Copy(all, inputs)
	return all
}

// badCertificates are files that hold no certificate to trust, with what is wrong.
var badCertificates = map[string]string{
	"missing":        "no such file",
	"directory":      "directory",
	"pipe":           "not a regular file",
	"empty":          "neither a PEM nor a DER certificate",
	"text":           "neither a PEM nor a DER certificate",
	"cut.pem":        "",
	"cut.der":        "neither a PEM nor a DER certificate",
	"two-damaged":    "blocks of PEM, of which",
	"key.pem":        "use a file with certificates alone",
	"leaf.pem":       "",
	"large":          "longer than",
	"link-to-no-end": "",
	"1001.pem":       "more than 1000",
}

// badStores are directories that are no trust stores of badPolicies' good one.
var badStores = map[string]string{
	"missing":      "no directory x509",
	"text":         "no directory x509",
	"directory":    "no directory x509",
	"store":        `trust store "acme"`,
	"store-file":   "no directory x509",
	"store-empty":  "no x509 certificates",
	"store-broken": "",
	"store-link":   "",
}

// badPolicies are trust policies that are none, with what is said of them.
var badPolicies = map[string]string{
	"missing.json": "no such file", "directory": "not a regular file", "pipe": "not a regular file", "large.json": "longer than",
	"empty.json": "line 1", "null.json": "version", "text.json": "line 1", "cut.json": "line ", "trailing.json": "after top-level value",
	"version.json": "version", "statements.json": "zero trust policy statements", "twice.json": "same name", "nameless.json": "name",
	"level.json": "level", "override.json": "", "stores.json": "trust stor", "kind.json": "trust store", "up.json": "trust store",
	"identity.json": "identit", "wildcard.json": "wildcard", "scopes.json": "scope", "overlap.json": "scope", "types.json": "unmarshal",
}

// writeBadFiles writes all of these into a directory. It returns the inputs that
// are wrong in notation's own directory.
func writeBadFiles(t *testing.T, files string, w *runWorld) []badInput {
	t.Helper()
	put := func(name, content string) { testenv.PutFile(t, filepath.Join(files, name), content) }
	pipe := func(name string) {
		if err := syscall.Mkfifo(filepath.Join(files, name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	folder := func(name string) {
		if err := os.MkdirAll(filepath.Join(files, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	link := func(to, name string) {
		if err := os.Symlink(to, filepath.Join(files, name)); err != nil {
			t.Fatal(err)
		}
	}
	root, key := pki.PemOf(w.root), string(softplugin.KeyPEM(t, w.signer.Key))
	put("root.pem", root)
	put("empty", "")
	put("text", "hello")
	put("cut.pem", root[:len(root)/2])
	put("cut.der", string(w.root.Cert.Raw[:100]))
	put("two-damaged", root+root[:len(root)/2]+"\n"+root)
	put("key.pem", root+key)
	put("leaf.pem", pki.PemOf(w.signer))
	put("large", strings.Repeat("x", 1<<20+1))
	put("1001.pem", strings.Repeat(root, 1000+1))
	folder("directory")
	pipe("pipe")
	link("link-to-no-end", "link-to-no-end")

	put("store-file/x509", "")
	put("store/x509/ca/other/root.pem", root)
	folder("store-empty/x509/ca/acme")
	put("store-broken/x509/ca/acme/root.pem", "hello")
	folder("store-link/x509/ca")
	link(filepath.Join(files, "store/x509/ca/other"), "store-link/x509/ca/acme")

	good := signed.PolicyJSON(t, signed.Statement(nil))
	put("policies/good.json", good)
	folder("policies/directory")
	pipe("policies/pipe")
	put("policies/large.json", strings.Repeat(" ", 4<<20+1))
	for name, content := range map[string]string{
		"empty": "", "null": "null", "text": "hello", "cut": good[:len(good)/2], "trailing": good + "{}", "types": `{"version":1}`,
		"version": strings.Replace(good, "1.0", "9.9", 1), "statements": `{"version":"1.0","trustPolicies":[]}`,
	} {
		put("policies/"+name+".json", content)
	}
	statement := func(name string, changes ...func(*trustpolicy.TrustPolicy)) {
		var statements []trustpolicy.TrustPolicy
		for _, change := range changes {
			statements = append(statements, signed.Statement(change))
		}
		put("policies/"+name+".json", signed.PolicyJSON(t, statements...))
	}
	same := func(*trustpolicy.TrustPolicy) {}
	statement("twice", same, same)
	statement("nameless", func(s *trustpolicy.TrustPolicy) { s.Name = "" })
	statement("level", func(s *trustpolicy.TrustPolicy) { s.SignatureVerification.VerificationLevel = "lax" })
	statement("override", func(s *trustpolicy.TrustPolicy) {
		s.SignatureVerification.Override = map[trustpolicy.ValidationType]trustpolicy.ValidationAction{"integrity": "skip"}
	})
	statement("stores", func(s *trustpolicy.TrustPolicy) { s.TrustStores = nil })
	statement("kind", func(s *trustpolicy.TrustPolicy) { s.TrustStores = []string{"friends:acme"} })
	statement("up", func(s *trustpolicy.TrustPolicy) { s.TrustStores = []string{"ca:../../etc"} })
	statement("identity", func(s *trustpolicy.TrustPolicy) { s.TrustedIdentities = []string{"x509.subject: CN=only"} })
	statement("wildcard", func(s *trustpolicy.TrustPolicy) {
		s.TrustedIdentities = append(s.TrustedIdentities, "x509.subject: C=DE, ST=x, O=y")
	})
	statement("scopes", func(s *trustpolicy.TrustPolicy) { s.RegistryScopes = []string{"https://registry.example/app"} })
	statement("overlap", same, func(s *trustpolicy.TrustPolicy) { s.Name = "other" })

	var bad []badInput
	for _, n := range []struct{ name, keys, says string }{
		{"missing", "", "no such file"},
		{"text", "hello", "invalid character"},
		{"empty", "-", "unexpected end"},
		{"none", `{"keys":[]}`, "there is no key"},
		{"other", `{"keys":[{"name":"\u001b[2Jother","id":"x","pluginName":"pkcs11"}]}`, `there is no key "release"`},
		{"twice", `{"keys":[{"name":"release","id":"1","pluginName":"pkcs11"},{"name":"release","id":"2","pluginName":"pkcs11"}]}`, "several keys"},
		{"default", `{"default":"x","keys":[{"name":"release","id":"1","pluginName":"pkcs11"}]}`, "the default is"},
		{"bare", `{"keys":[{"name":"release"}]}`, "neither files nor a plugin"},
		{"absent", `{"keys":[{"name":"release","id":"1","pluginName":"absent"}]}`, "no plugin"},
		{"up", `{"keys":[{"name":"release","id":"1","pluginName":"../../bin"}]}`, "plugin"},
		{"files", `{"keys":[{"name":"release","keyPath":"/missing.key","certPath":"/missing.crt"}]}`, "/missing."},
		{"mixed", `{"keys":[{"name":"release","keyPath":"` + files + `/key.pem","certPath":"` + files + `/root.pem"}]}`, "key_name: "},
		{"swapped", `{"keys":[{"name":"release","keyPath":"` + files + `/root.pem","certPath":"` + files + `/key.pem"}]}`, "key_name: "},
		{"pipes", `{"keys":[{"name":"release","keyPath":"` + files + `/pipe","certPath":"` + files + `/pipe"}]}`, "not a regular file"},
		{"large", `{"keys":[` + strings.Repeat(" ", 1<<20) + `]}`, "longer than"},
	} {
		if n.keys != "" {
			put("notation-"+n.name+"/"+dir.PathSigningKeys, strings.TrimPrefix(n.keys, "-"))
		}
		inputs := map[string]string{"notation": "notation-" + n.name, "key_id": "", "key_name": "release"}
		bad = append(bad, badInput{inputs: inputs, says: n.says})
	}
	folder("notation-pipe")
	pipe("notation-pipe/" + dir.PathSigningKeys)
	folder("notation-link")
	link(filepath.Join(files, "policies/good.json"), "notation-link/"+dir.PathTrustPolicy)
	put("notation-two/"+dir.PathTrustPolicy, `{"version":"1.0"}`)
	put("notation-two/trustpolicy.oci.json", `{"version":"1.1"}`)
	return append(bad,
		badInput{inputs: map[string]string{"notation": "notation-pipe", "key_id": "", "key_name": "release"}, says: "not a regular file"},
		badInput{inputs: policyInputs(map[string]string{"notation": "notation-link"}), says: "not a regular file"},
		badInput{inputs: policyInputs(map[string]string{"notation": "notation-missing"}), says: "nothing to verify against"},
		badInput{inputs: policyInputs(map[string]string{"notation": "notation-two"}), says: "trustpolicy.json differ"},
	)
}
