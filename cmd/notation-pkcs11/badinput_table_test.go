// SPDX-License-Identifier: Apache-2.0

//go:build unix

package main

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	contract "github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

// document is a request, changed: what is nil goes out.
func document(changes map[string]any) string {
	request := map[string]any{
		"contractVersion": "1.0", "keyId": badKey, "pluginConfig": map[string]string{},
		"keySpec": "EC-256", "hashAlgorithm": "SHA-256", "payload": "cGF5bG9hZA==",
	}
	maps.Copy(request, changes)
	maps.DeleteFunc(request, func(_ string, value any) bool { return value == nil })
	text, err := json.Marshal(request)
	if err != nil {
		panic(err)
	}
	return string(text)
}

func read(text string) func() io.Reader {
	return func() io.Reader { return strings.NewReader(text) }
}

// endless is a request of that many bytes.
func endless(size int64) func() io.Reader {
	return func() io.Reader {
		return io.MultiReader(strings.NewReader(`{"contractVersion":"1.0","keyId":"`), io.LimitReader(repeat('x'), size))
	}
}

type repeat byte

func (r repeat) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(r)
	}
	return len(p), nil
}

// badStreams are no requests of any command.
var badStreams = map[string]struct {
	stdin func() io.Reader
	says  string
}{
	"empty":                {nil, "not a JSON object"},
	"blank":                {read(" \n"), "not a JSON object"},
	"not JSON":             {read("hello"), "not a JSON object"},
	"null":                 {read("null"), "not a JSON object"},
	"an array":             {read("[" + document(nil) + "]"), "not a JSON object"},
	"a string":             {read(`"{}"`), "not a JSON object"},
	"NUL":                  {read("\x00" + document(nil)), "not a JSON object"},
	"byte order mark":      {read("\ufeff" + document(nil)), "not a JSON object"},
	"UTF-16":               {read("{\x00}\x00"), "not one JSON document"},
	"two objects":          {read(document(nil) + document(nil)), "not one JSON document"},
	"bytes after it":       {read(document(nil) + "\x00"), "not one JSON document"},
	"cut off":              {read(document(nil)[:30]), "not one JSON document"},
	"10,000 deep":          {read(`{"later":` + strings.Repeat("[", 10_001) + strings.Repeat("]", 10_001) + "}"), "not one JSON document"},
	"100 MiB":              {endless(100 << 20), "longer than"},
	"more than the bound":  {endless(4 << 20), "longer than"},
	"a control character":  {read("{\"keyId\":\"\x01\"}"), "not one JSON document"},
	"a number that is bad": {read(`{"later":01}`), "not one JSON document"},
}

// badMembers are changes of a good request, by the commands that read them.
var badMembers = []struct {
	name    string
	command string // empty: describe-key and generate-signature
	changes map[string]any
	code    contract.ErrorCode
	says    string
	login   bool
}{
	{"no contract version", "", map[string]any{"contractVersion": nil}, invalid, "contractVersion", false},
	{"contract version 2.0", "", map[string]any{"contractVersion": "2.0"}, contract.ErrorCodeUnsupportedContractVersion, `2\.0.*1\.0`, false},
	{"contract version acts", "", map[string]any{"contractVersion": "\x1b[2J"}, contract.ErrorCodeUnsupportedContractVersion, "x1b", false},
	{"long contract version", "", map[string]any{"contractVersion": strings.Repeat("1", 1<<20)}, contract.ErrorCodeUnsupportedContractVersion, "…", false},
	{"contract version is a number", "", map[string]any{"contractVersion": 1.0}, invalid, `"contractVersion".*number`, false},
	{"no key id", "", map[string]any{"keyId": nil}, invalid, "keyId", false},
	{"empty key id", "", map[string]any{"keyId": ""}, invalid, "keyId", false},
	{"key id is a number", "", map[string]any{"keyId": 471147}, invalid, `"keyId".*number`, false},
	{"key id is an object", "", map[string]any{"keyId": map[string]string{}}, invalid, `"keyId".*object`, false},
	{"key id has a NUL", "", map[string]any{"keyId": badKey + "\x00"}, invalid, `%00`, false},
	{"key id is no UTF-8", "", map[string]any{"keyId": json.RawMessage("\"pkcs11:token=\xff\"")}, invalid, `"token"`, false},
	{"key id has half a surrogate", "", map[string]any{"keyId": json.RawMessage(`"pkcs11:token=\ud800"`)}, invalid, `"token"`, false},
	{"long key id", "", map[string]any{"keyId": "pkcs11:token=" + strings.Repeat("x", 1<<20)}, invalid, "longer than", false},
	{"plugin config is an array", "", map[string]any{"pluginConfig": []string{"module"}}, invalid, `"pluginConfig".*array`, false},
	{"plugin config is a string", "", map[string]any{"pluginConfig": "module"}, invalid, `"pluginConfig".*string`, false},
	{"plugin config has a number", "", map[string]any{"pluginConfig": map[string]any{"timeout": 5}}, invalid, "pluginConfig.*number", false},
	{"plugin config has null for a path", "", map[string]any{"pluginConfig": map[string]any{"module": nil}}, invalid, `"module" is empty`, false},
	{"no key spec", "generate-signature", map[string]any{"keySpec": nil}, invalid, "keySpec", false},
	{"unknown key spec", "generate-signature", map[string]any{"keySpec": "RSA-1024"}, invalid, `keySpec "RSA-1024".*RSA-2048`, false},
	{"key spec acts", "generate-signature", map[string]any{"keySpec": "\x1b[2J\u202e"}, invalid, "x1b", false},
	{"key spec of another key", "generate-signature", map[string]any{"keySpec": "EC-384", "hashAlgorithm": "SHA-384"}, invalid, "EC-384.*EC-256", true},
	{"key spec is a number", "generate-signature", map[string]any{"keySpec": 256}, invalid, `"keySpec".*number`, false},
	{"no hash", "generate-signature", map[string]any{"hashAlgorithm": nil}, invalid, "hashAlgorithm", false},
	{"hash of another key spec", "generate-signature", map[string]any{"hashAlgorithm": "SHA-512"}, invalid, "SHA-512.*SHA-256", false},
	{"unknown hash", "generate-signature", map[string]any{"hashAlgorithm": "MD5"}, invalid, `"MD5".*SHA-256`, false},
	{"no payload", "generate-signature", map[string]any{"payload": nil}, invalid, "payload", false},
	{"empty payload", "generate-signature", map[string]any{"payload": ""}, invalid, "payload", false},
	{"payload is a number", "generate-signature", map[string]any{"payload": 471147}, invalid, `"payload".*base64`, false},
	{"payload is not base64", "generate-signature", map[string]any{"payload": "*"}, invalid, `"payload".*base64`, false},
	{"expiry is negative", "generate-envelope", map[string]any{"expiryDurationInSeconds": -1}, invalid, `"expiryDurationInSeconds".*0 or more`, false},
	{"envelope", "generate-envelope", nil, invalid, "not supported", false},
	{"verification", "verify-signature", nil, invalid, "not supported", false},
	{"metadata with a wrong plugin config", "get-plugin-metadata", map[string]any{"pluginConfig": 5}, invalid, `"pluginConfig".*number`, false},
}

// badSettings are values of settings. Each is given in all ways that there are.
var badSettings = []struct {
	key, variable string
	values        []badValue
}{
	{"module", "NOTATION_PKCS11_MODULE", []badValue{
		{"DIR/missing.so", invalid, "no such file", false},
		{"/absent\x1b[2J.so", invalid, "x1b", false},
		{"DIR", invalid, "not a regular file", false},
		{"DIR/pipe", invalid, "not a regular file", false},
		{"/dev/null", invalid, "not a regular file", false},
		{"DIR/empty", invalid, "DIR/empty", false},
		{"DIR/text", invalid, "DIR/text", false},
		{"DIR/loop", invalid, "DIR/loop", false},
		{"DIR/other-machine.so", invalid, "DIR/other-machine.so", false},
		{"DIR/cut.so", invalid, "DIR/cut.so", false},
		{"DIR/no-module.so", invalid, "not a PKCS#11 module|no PKCS#11 module|C_GetFunctionList", false},
		{"DIR/open.so", invalid, "chmod o-w", false},
		{"DIR/open/module.so", invalid, "chmod o-w", false},
		{"relative/module.so", invalid, "relative/module.so", false},
		{strings.Repeat("/x", 3000), invalid, "", false},
	}},
	{"pin_source", "NOTATION_PKCS11_PIN_SOURCE", []badValue{
		{"471147", invalid, "neither file:/path nor env:NAME", false},
		{"|cat DIR/pin", invalid, "a command, which is not run", false},
		{"file://elsewhere/pin", invalid, "another host", false},
		{"env:", invalid, "neither file:/path nor env:NAME", false},
		{"env:A=B", invalid, "neither file:/path nor env:NAME", false},
		{"http://localhost/pin", invalid, "neither file:/path nor env:NAME", false},
		{"env:NOT_SET", denied, "empty or not set", false},
		{"file:DIR/missing", denied, "no such file", false},
		{"file:DIR", denied, "not a regular file", false},
		{"file:DIR/pipe", denied, "not a regular file", false},
		{"file:/dev/zero", denied, "not a regular file", false},
		{"file:DIR/empty", denied, "it is empty", false},
		{"file:DIR/line-end", denied, "it is empty", false},
		{"file:DIR/large", denied, "longer than", false},
		{"file:DIR/open-pin", denied, "chmod 600", false},
		{"file:DIR/link-to-open-pin", denied, "chmod 600", false},
		{"file:DIR/world-writable-pin", denied, "chmod o-w", false},
		{"file:DIR/loop", denied, "symbolic links", false},
	}},
	{"cert_chain", "NOTATION_PKCS11_CERT_CHAIN", []badValue{
		{"DIR/missing", invalid, "no such file", false},
		{"DIR", invalid, "not a regular file", false},
		{"DIR/pipe", invalid, "not a regular file", false},
		{"/dev/zero", invalid, "not a regular file", false},
		{"DIR/empty", invalid, "no certificate in PEM", false},
		{"DIR/text", invalid, "no certificate in PEM", false},
		{"DIR/store.p12", invalid, "openssl pkcs12 -in .*store\\.p12 -nokeys", false},
		{"DIR/large", invalid, "longer than", false},
		{"DIR/damaged.pem", invalid, "damaged", false},
		{"DIR/cut.pem", invalid, "damaged", false},
		{"DIR/cut-der.pem", invalid, "certificate number 1 is damaged", false},
		{"DIR/key.pem", invalid, "private key", false},
		{"DIR/crl.pem", invalid, `"X509 CRL"`, false},
		{"DIR/acting.pem", invalid, "x1b", false},
		{"DIR/many.pem", invalid, "more than 100", false},
		{"DIR/loop", invalid, "symbolic links", false},
	}},
	{"timeout", "NOTATION_PKCS11_TIMEOUT", []badValue{
		{"soon", invalid, "not a duration", false},
		{"5", invalid, "not a duration", false},
		{"5 s", invalid, "not a duration", false},
		{"0s", invalid, "out of range", false},
		{"-1s", invalid, "out of range", false},
		{"2h", invalid, "out of range", false},
		{"9999999999999h", invalid, "not a duration", false},
		{"\x1b[2J", invalid, "x1b", false},
		{strings.Repeat("9", 5000) + "s", invalid, "…", false},
	}},
	{"init_args", "", []badValue{
		{"configdir='/nowhere'", general, "CKR_ARGUMENTS_BAD", false}, // SoftHSM takes none
	}},
	{"user_type", "", []badValue{
		{"so", invalid, "neither user nor a number", false},
		{"0", invalid, "can't use keys", false},
		{"2", invalid, "can't use keys", false},
		{"-1", invalid, "neither user nor a number", false},
		{"0x", invalid, "neither user nor a number", false},
		{"0x100000000", invalid, "neither user nor a number", false},
		{"1e3", invalid, "neither user nor a number", false},
		{" user", invalid, "neither user nor a number", false},
		{"0x80000001", denied, "CKR_USER_TYPE_INVALID", true},
	}},
}

// badValue is a value of a setting, and how a command of the contract refuses it.
type badValue struct {
	value string
	code  contract.ErrorCode
	says  string
	login bool
}

// badURIs are key ids that can't be read, or select no key or several.
var badURIs = []badValue{
	{"file:/key", invalid, `"pkcs11:"`, false},
	{"token=T", invalid, `"pkcs11:"`, false},
	{"pkcs11:token=T;label=key", invalid, `unknown attribute "label"`, false},
	{"pkcs11:token=T?module=x", invalid, `unknown attribute "module"`, false},
	{"pkcs11:x-vendor=1", invalid, `"x-vendor"`, false},
	{"pkcs11:module-path=%2Fm.so", invalid, "wrong part", false},
	{"pkcs11:?token=T", invalid, "wrong part", false},
	{"pkcs11:object=k;object=k", invalid, `"object" twice`, false},
	{"pkcs11:token", invalid, "without a value", false},
	{"pkcs11:;", invalid, "without a value", false},
	{"pkcs11:object=a%zz", invalid, "two hexadecimal digits", false},
	{"pkcs11:object=a%4", invalid, "cut off", false},
	{"pkcs11:token=My Token", invalid, "%20", false},
	{"pkcs11:object=a/b", invalid, "%2F", false},
	{"pkcs11:object=\x1b[2J", invalid, "%1B", false},
	{"pkcs11:slot-id=first", invalid, `"slot-id"`, false},
	{"pkcs11:slot-id=99999999999999999999", invalid, `"slot-id"`, false},
	{"pkcs11:type=rsa", invalid, `"type"`, false},
	{"pkcs11:type=cert;token=testenv", invalid, "cert", true},
	{"pkcs11:library-version=two", invalid, `"library-version"`, false},
	{"pkcs11:?module-path=", invalid, "it is empty", false},
	{"pkcs11:?module-name=/lib/m.so", invalid, "it is a path", false},
	{"pkcs11:?module-name=absent", invalid, "absent", false},
	{"pkcs11:?module-path=DIR/missing.so", invalid, "no such file", false},
	{"pkcs11:?pin-source=471147", invalid, "pin-source of the key URI", false},
	{badKey + "?pin-source=file:DIR/missing", denied, "no such file", false},
	{"pkcs11:token=T?pin-value=471147", invalid, "has a pin-value", false},
	{"pkcs11:token=T;pin-value=471147", invalid, "has a pin-value", false},
	{"pkcs11:token=absent", invalid, "no token .* matches pkcs11:token=absent", false},
	{"pkcs11:serial=0", invalid, "no token .* matches", false},
	{"pkcs11:slot-id=18446744073709551615", invalid, "no token .* matches", false},
	{"pkcs11:token=testenv", invalid, "several private keys match", true},
	{"pkcs11:token=testenv;object=absent", invalid, "no private key matches", true},
	{"pkcs11:token=testenv;object=EC-256;id=%00", invalid, "no private key matches", true},
}

// badCommands are command lines of people.
var badCommands = []struct {
	args  []string
	says  string
	login bool
}{
	{[]string{"sign"}, "unknown command", false},
	{[]string{"\x1b[2J"}, "x1b", false},
	{[]string{"--unknown"}, "unknown flag", false},
	{[]string{"describe-key", badKey}, "unknown command", false},
	{[]string{"tokens", "extra"}, "extra|argument", false},
	{[]string{"tokens", "--output", "xml"}, `unknown --output "xml"; use one of text, json`, false},
	{[]string{"tokens", "--pin", "471147"}, "unknown flag", false},
	{[]string{"tokens", "--timeout"}, "needs an argument", false},
	{[]string{"keys", badKey, badKey}, "argument", false},
	{[]string{"check"}, "takes one PKCS#11 URI", false},
	{[]string{"check", "EC-256"}, "doesn't begin with", false},
	{[]string{"generate-key", badKey}, "type", false},
	{[]string{"generate-key", badKey, "--type", "rsa:1024"}, "rsa:2048", false},
	{[]string{"generate-key", badKey, "--type", "ec:p256"}, "EC-256", true}, // it is there
	{[]string{"generate-key", "pkcs11:token=testenv", "--type", "ec:p256"}, "object", true},
	{[]string{"generate-key", "pkcs11:token=absent;object=k", "--type", "ec:p256"}, "no token", false},
	{[]string{"csr", badKey}, "subject", false},
	{[]string{"csr", badKey, "--subject", ""}, "subject", false},
	{[]string{"csr", badKey, "--subject", "EC-256"}, "distinguished name", false},
	{[]string{"csr", badKey, "--subject", "UID=a"}, `"UID"`, false},
	{[]string{"csr", badKey, "--subject", "CN=a\x1b[2J"}, "control character", false},
	{[]string{"csr", badKey, "--subject", `CN=a\00`}, "control character", false},
	{[]string{"csr", badKey, "--subject", "CN=\xff"}, "not UTF-8", false},
	{[]string{"csr", badKey, "--subject", "CN=a", "--output-file", "DIR/text"}, "not overwritten", false},
	{[]string{"csr", badKey, "--subject", "CN=a", "--output-file", "DIR/loop"}, "not overwritten", false},
	{[]string{"csr", badKey, "--subject", "CN=a", "--output-file", "DIR/text/below"}, "not a directory", false},
	{[]string{"csr", badKey, "--subject", "CN=a", "--output-file", "DIR/missing/request.pem"}, "no such file", false},
	{[]string{"self-sign", badKey, "--subject", "CN=a", "--days", "5", "--import", "--output-file", "DIR/missing/certificate.pem"}, "no such file", false},
	{[]string{"self-sign", badKey, "--subject", "CN=a"}, "days", false},
	{[]string{"self-sign", badKey, "--subject", "CN=a", "--days", "0"}, "days", false},
	{[]string{"self-sign", badKey, "--subject", "CN=a", "--days", "-5"}, "days", false},
	{[]string{"self-sign", badKey, "--subject", "CN=a", "--days", "1000000"}, "days", false},
	{[]string{"self-sign", badKey, "--subject", "CN=a", "--days", "many"}, "days", false},
	{[]string{"self-sign", badKey, "--subject", "CN=a", "--days", "5", "--output-file", "DIR/text"}, "not overwritten", false},
	{[]string{"import-cert", badKey}, "argument", false},
	{[]string{"import-cert", badKey, "DIR/missing"}, "no such file", false},
	{[]string{"import-cert", badKey, "DIR/pipe"}, "not a regular file", false},
	{[]string{"import-cert", badKey, "DIR/text"}, "no certificate in PEM", false},
	{[]string{"import-cert", badKey, "DIR/key.pem"}, "private key", false},
	{[]string{"import-cert", badKey, "DIR/root.pem"}, "nothing was stored", true},
}

// badInputs are all of them.
func badInputs() []badInput {
	var all []badInput
	add := func(bad badInput, command string) {
		bad.args = append([]string{command}, bad.args...)
		bad.name = command + ": " + bad.name
		all = append(all, bad)
	}
	for name, s := range badStreams {
		for _, command := range []string{"get-plugin-metadata", "describe-key", "generate-signature", "generate-envelope"} {
			add(badInput{name: name, stdin: s.stdin, code: invalid, says: s.says}, command)
		}
	}
	for _, m := range badMembers {
		commands := []string{m.command}
		if m.command == "" {
			commands = []string{"describe-key", "generate-signature"}
		}
		for _, command := range commands {
			add(badInput{name: m.name, stdin: read(document(m.changes)), code: m.code, says: m.says, login: m.login}, command)
		}
	}
	for _, u := range badURIs {
		stdin := read(document(map[string]any{"keyId": u.value}))
		add(badInput{name: u.value, stdin: stdin, code: u.code, says: u.says, login: u.login}, "generate-signature")
		add(badInput{name: u.value, args: []string{u.value, "--subject", "CN=a"}, says: u.says, login: u.login}, "csr")
	}
	for _, s := range badSettings {
		for _, v := range append(s.values, badValue{"", invalid, `"` + s.key + `" is empty`, false}) {
			name := fmt.Sprintf("%s=%.40q", s.key, v.value)
			config := read(document(map[string]any{"pluginConfig": map[string]string{s.key: v.value}}))
			add(badInput{name: name, stdin: config, code: v.code, says: v.says, login: v.login}, "generate-signature")
			if v.value == "" {
				continue // which is none in the environment
			}
			if s.variable != "" {
				variable := s.variable + "=" + v.value
				add(badInput{name: name + " in the environment", stdin: read(document(nil)), env: []string{variable}, code: v.code, says: v.says, login: v.login}, "generate-signature")
			}
			add(badInput{name: name, args: []string{badKey, "--" + flagName(s.key), v.value}, says: v.says, login: v.login}, "keys")
		}
	}
	for _, key := range []string{"modul", "MODULE", "", "pin-source", "\x1b[2J", strings.Repeat("x", 1<<20)} {
		config := read(document(map[string]any{"pluginConfig": map[string]string{key: "x"}}))
		add(badInput{name: fmt.Sprintf("config %.40q", key), stdin: config, code: invalid, says: "; use one of module"}, "describe-key")
	}
	pin := read(document(map[string]any{"pluginConfig": map[string]string{"pin": "471147"}}))
	add(badInput{name: "a PIN in the config", stdin: pin, code: invalid, says: "pin_source=file:/path"}, "describe-key")
	for _, log := range []string{"DIR", "DIR/missing/log", "DIR/pipe", "/dev/null"} {
		add(badInput{name: "log " + log, stdin: read(document(nil)), env: []string{"NOTATION_PKCS11_LOG=" + log}, code: invalid, says: "debug log"}, "describe-key")
		add(badInput{name: "module log " + log, stdin: read(document(nil)), env: []string{"NOTATION_PKCS11_MODULE_LOG=" + log}, code: invalid, says: "module log"}, "describe-key")
		add(badInput{name: "audit log " + log, stdin: read(document(nil)), env: []string{"NOTATION_PKCS11_AUDIT_LOG=" + log}, code: invalid, says: "audit log"}, "describe-key")
	}
	wrong := badInput{name: "a wrong PIN", stdin: read(document(nil)), env: []string{"NOTATION_PKCS11_PIN=471147"}, code: denied, says: "CKR_PIN_INCORRECT", login: true}
	add(wrong, "generate-signature")
	none := badInput{name: "no PIN", stdin: read(document(nil)), env: []string{"NOTATION_PKCS11_PIN="}, code: denied, says: "no PIN for the token"}
	add(none, "generate-signature")
	for _, c := range badCommands {
		// A command of the contract ignores nothing that follows it.
		bad := badInput{name: fmt.Sprintf("%.80q", c.args), args: c.args, says: c.says, login: c.login}
		if c.args[0] == "describe-key" {
			bad.code = invalid
		}
		all = append(all, bad)
	}
	for i := range all {
		all[i].says = strings.ReplaceAll(all[i].says, "DIR/", "/")
		all[i].args = slices.Clone(all[i].args)
	}
	return all
}

// writeBadFiles writes the files that the inputs name.
func writeBadFiles(t *testing.T, folder, module string) {
	t.Helper()
	pki, err := testenv.NewPKI()
	if err != nil {
		t.Fatal(err)
	}
	library, err := os.ReadFile(module)
	if err != nil {
		t.Fatal(err)
	}
	other := slices.Clone(library)
	const machine = 18 // ELF: e_machine
	other[machine] = map[string]byte{"amd64": 0xb7, "arm64": 0x3e}[runtime.GOARCH]
	root := testenv.EncodePEM(pki.Root)
	block := func(kind string, content []byte) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: content})
	}
	for name, content := range map[string][]byte{
		"empty": nil, "text": []byte("hello"), "line-end": []byte("\r\n"), "large": bytes.Repeat([]byte("x"), 2<<20),
		"other-machine.so": other, "cut.so": library[:100], "open.so": library, "open/module.so": library, "no-module.so": noModule(t),
		"pin": []byte("471147"), "open-pin": []byte("471147"), "world-writable-pin": []byte("471147"),
		"root.pem": root, "store.p12": append([]byte{0x30, 0x81, 0x80, 2, 1, 3}, make([]byte, 125)...), "damaged.pem": slices.Concat(root, root[:len(root)/2], []byte("\n"), root), "cut.pem": root[:len(root)/2],
		"cut-der.pem": block("CERTIFICATE", pki.Root.Raw[:100]), "key.pem": slices.Concat(root, block("EC PRIVATE KEY", []byte{1})),
		"crl.pem": block("X509 CRL", []byte{1}), "acting.pem": []byte("-----BEGIN \x1b[2J-----\nAAAA\n-----END \x1b[2J-----\n"), "many.pem": bytes.Repeat(root, 101),
	} {
		path := filepath.Join(folder, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, content, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	in := func(name string) string { return filepath.Join(folder, name) }
	err = errors.Join(
		os.Chmod(in("open-pin"), 0o644), os.Chmod(in("world-writable-pin"), 0o622), os.Symlink("open-pin", in("link-to-open-pin")), os.Symlink("loop", in("loop")),
		os.Chmod(in("open.so"), 0o666), os.Chmod(in("open"), 0o777), syscall.Mkfifo(in("pipe"), 0o600),
	)
	if err != nil {
		t.Fatal(err)
	}
}

// noModule is a library that is no PKCS#11 module.
func noModule(t *testing.T) []byte {
	t.Helper()
	found, err := filepath.Glob("/lib/*-linux-gnu/libm.so.6")
	if err != nil || len(found) == 0 {
		t.Fatal("there is no /lib/*-linux-gnu/libm.so.6")
	}
	content, err := os.ReadFile(found[0])
	if err != nil {
		t.Fatal(err)
	}
	return content
}
