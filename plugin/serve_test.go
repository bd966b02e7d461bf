// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	contract "github.com/notaryproject/notation-plugin-framework-go/plugin"
)

func ExampleServer() {
	server := &Server{
		Plugin: &Plugin{Version: "1.2.3"},
		Stdin:  strings.NewReader("{}"),
		Stdout: os.Stdout,
		Stderr: os.Stderr,
	}
	code := server.Serve(context.Background(), []string{"get-plugin-metadata"})
	fmt.Println(code)
	// Output:
	// {"name":"pkcs11","description":"Signs with keys in PKCS#11 tokens and HSMs","version":"1.2.3","url":"https://github.com/notation-pkcs11/notation-pkcs11","supportedContractVersions":["1.0"],"capabilities":["SIGNATURE_GENERATOR.RAW"]}
	// 0
}

// serve runs one command and checks that the streams keep the contract.
func serve(tb testing.TB, p contract.SignPlugin, command, input string) (code int, output []byte) {
	tb.Helper()
	var stdout, stderr bytes.Buffer
	s := &Server{Plugin: p, Stdin: strings.NewReader(input), Stdout: &stdout, Stderr: &stderr}
	code = s.Serve(context.Background(), []string{command})
	spoken, silent := &stdout, &stderr
	if code != exitSuccess {
		spoken, silent = &stderr, &stdout
	}
	if code != exitSuccess && code != exitFailure {
		tb.Errorf("got the exit code %d", code)
	}
	if silent.Len() > 0 {
		tb.Errorf("exit code %d, and on the other stream: %s", code, silent)
	}
	if line, ok := bytes.CutSuffix(spoken.Bytes(), []byte("\n")); !ok || !json.Valid(line) || bytes.Contains(line, []byte("\n")) {
		tb.Errorf("not one line of JSON: %q", spoken)
	}
	return code, spoken.Bytes()
}

// serveError runs a command that fails, and returns the error as notation reads it.
func serveError(tb testing.TB, p contract.SignPlugin, command, input string) error {
	tb.Helper()
	code, output := serve(tb, p, command, input)
	if code != exitFailure {
		tb.Fatalf("got the exit code %d and %s", code, output)
	}
	var failed contract.Error
	if err := json.Unmarshal(output, &failed); err != nil {
		tb.Fatal(err)
	}
	return &failed
}

func TestMetadataTouchesNothing(t *testing.T) {
	token := newToken(t, contract.KeySpecEC256)
	p := token.plugin()
	p.Getenv = func(name string) string {
		t.Errorf("%s was read", name)
		return ""
	}
	for _, input := range []string{"{}", `{"pluginConfig":{"unknown":"x"}}`, `{"contractVersion":"1.0","later":[1]}`} {
		if code, output := serve(t, p, "get-plugin-metadata", input); code != exitSuccess {
			t.Errorf("%s: %s", input, output)
		}
	}
	if len(token.opened) > 0 {
		t.Error("the key was opened")
	}
}

func TestServedSignatureIsTheOneOfThePlugin(t *testing.T) {
	token := newToken(t, contract.KeySpecEC384)
	req, err := json.Marshal(request(contract.KeySpecEC384))
	if err != nil {
		t.Fatal(err)
	}
	code, output := serve(t, token.plugin(), "generate-signature", " \r\n\t"+string(req)+"\n\n ")
	if code != exitSuccess {
		t.Fatal(string(output))
	}
	var response contract.GenerateSignatureResponse
	if err := json.Unmarshal(output, &response); err != nil {
		t.Fatal(err)
	}
	spec, err := specNamed(contract.KeySpecEC384)
	if err != nil {
		t.Fatal(err)
	}
	if err := verify(spec, token.key.Public(), []byte("payload"), response.Signature); err != nil {
		t.Error(err)
	}
	if len(response.CertificateChain) != 3 || response.KeyID != testKeyID {
		t.Errorf("got %+v", response)
	}
}

func TestKeyIDComesBackAsItWas(t *testing.T) {
	token := newToken(t, contract.KeySpecEC256)
	id := "PKCS11:object=a%20b&c;token=T?module-path=/a/b.so"
	code, output := serve(t, token.plugin(), "describe-key", `{"contractVersion":"1.0","keyId":"`+id+`","pluginConfig":{},"later":1}`)
	if want := `{"keyId":"` + id + `","keySpec":"EC-256"}` + "\n"; code != exitSuccess || string(output) != want {
		t.Errorf("got %s, want %s", output, want)
	}
}

func TestBadRequests(t *testing.T) {
	const good = `{"contractVersion":"1.0","keyId":"pkcs11:token=T"}`
	for _, test := range []struct {
		name    string
		command string
		input   string
		code    contract.ErrorCode
		phrases []string
	}{
		{"empty", "describe-key", "", contract.ErrorCodeValidation, []string{"not a JSON object", "--help"}},
		{"blank", "describe-key", " \n", contract.ErrorCodeValidation, []string{"not a JSON object"}},
		{"not JSON", "describe-key", "hello", contract.ErrorCodeValidation, []string{"not a JSON object"}},
		{"null", "describe-key", "null", contract.ErrorCodeValidation, []string{"not a JSON object"}},
		{"array", "describe-key", "[" + good + "]", contract.ErrorCodeValidation, []string{"not a JSON object"}},
		{"cut off", "describe-key", good[:20], contract.ErrorCodeValidation, []string{"not one JSON document", "byte 20"}},
		{"two documents", "describe-key", good + good, contract.ErrorCodeValidation, []string{"not one JSON document", "after top-level value"}},
		{"two documents for metadata", "get-plugin-metadata", "{}\n{}", contract.ErrorCodeValidation, []string{"not one JSON document"}},
		{"too deep", "describe-key", `{"later":` + strings.Repeat("[", 100000), contract.ErrorCodeValidation, []string{"not one JSON document"}},
		{"key id is a number", "describe-key", `{"contractVersion":"1.0","keyId":471147}`, contract.ErrorCodeValidation, []string{`"keyId"`, "JSON number", "a string"}},
		{"plugin config is an array", "describe-key", `{"contractVersion":"1.0","keyId":"pkcs11:","pluginConfig":["pin"]}`, contract.ErrorCodeValidation, []string{`"pluginConfig"`, "JSON array", "an object of strings"}},
		{"plugin config has a number", "describe-key", `{"contractVersion":"1.0","keyId":"pkcs11:","pluginConfig":{"pin":471147}}`, contract.ErrorCodeValidation, []string{"pluginConfig", "JSON number", "a string"}},
		{"payload is a number", "generate-signature", `{"contractVersion":"1.0","payload":471147}`, contract.ErrorCodeValidation, []string{`"payload"`, "base64"}},
		{"expiry is negative", "generate-envelope", `{"expiryDurationInSeconds":-471147}`, contract.ErrorCodeValidation, []string{`"expiryDurationInSeconds"`, "JSON number", "0 or more"}},
		{"payload is not base64", "generate-signature", `{"contractVersion":"1.0","payload":"*"}`, contract.ErrorCodeValidation, []string{`"payload"`, "base64"}},
		{"no contract version", "describe-key", `{"keyId":"pkcs11:"}`, contract.ErrorCodeValidation, []string{"contractVersion"}},
		{"other contract version", "describe-key", `{"contractVersion":"1.1","keyId":"pkcs11:"}`, contract.ErrorCodeUnsupportedContractVersion, []string{`"1.1"`, "1.0"}},
		{"no key id", "describe-key", `{"contractVersion":"1.0"}`, contract.ErrorCodeValidation, []string{"keyId"}},
		{"envelope", "generate-envelope", `{"contractVersion":"1.0"}`, contract.ErrorCodeValidation, []string{"generate-envelope is not supported", "SIGNATURE_GENERATOR.RAW"}},
		{"verification", "verify-signature", `{}`, contract.ErrorCodeValidation, []string{"verify-signature is not supported"}},
		{"unknown command", "sign\x1b[0m", "{}", contract.ErrorCodeValidation, []string{`unknown command "sign\x1b[0m"`, "describe-key, generate-envelope", "notation-pkcs11 --help"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			token := newToken(t, contract.KeySpecEC256)
			err := serveError(t, token.plugin(), test.command, test.input)
			checkError(t, err, test.code, test.phrases...)
			if strings.Contains(err.Error(), "471147") {
				t.Errorf("a value is in the error: %v", err)
			}
			if len(token.opened) > 0 {
				t.Error("the key was opened")
			}
		})
	}
}

func TestWrongNumberOfArguments(t *testing.T) {
	for _, args := range [][]string{nil, {"describe-key", "pkcs11:"}, {""}} {
		var stderr bytes.Buffer
		s := &Server{Plugin: &Plugin{}, Stdin: strings.NewReader("{}"), Stdout: io.Discard, Stderr: &stderr}
		if code := s.Serve(t.Context(), args); code != exitFailure || !strings.Contains(stderr.String(), "--help") {
			t.Errorf("%q: got %d, %s", args, code, &stderr)
		}
	}
}

func TestIsCommand(t *testing.T) {
	for name, want := range map[string]bool{
		"get-plugin-metadata": true, "describe-key": true, "generate-signature": true,
		"generate-envelope": true, "verify-signature": true, "keys": false, "": false,
	} {
		if IsCommand(name) != want {
			t.Errorf("%q: got %v", name, !want)
		}
	}
}

// endless is a request that never ends; it counts what was taken of it.
type endless struct{ taken int }

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	e.taken += len(p)
	return len(p), nil
}

func TestHugeRequestIsRefusedEarly(t *testing.T) {
	in := &endless{}
	var stderr bytes.Buffer
	s := &Server{Plugin: &Plugin{}, Stdin: in, Stdout: io.Discard, Stderr: &stderr}
	if code := s.Serve(t.Context(), []string{"describe-key"}); code != exitFailure {
		t.Errorf("got the exit code %d", code)
	}
	if !strings.Contains(stderr.String(), `"VALIDATION_ERROR"`) || !strings.Contains(stderr.String(), "longer than 4194304 bytes") {
		t.Error(stderr.String())
	}
	if in.taken > 2*maxRequest {
		t.Errorf("%d bytes were read", in.taken)
	}
}

func TestLongestRequestIsServed(t *testing.T) {
	token := newToken(t, contract.KeySpecEC256)
	input := `{"contractVersion":"1.0","keyId":"pkcs11:token=T"}`
	input += strings.Repeat(" ", maxRequest-len(input))
	if code, output := serve(t, token.plugin(), "describe-key", input); code != exitSuccess {
		t.Error(string(output))
	}
}

// broken is a stream that fails.
type broken struct{}

func (broken) Read([]byte) (int, error)  { return 0, errors.New("input/output error") }
func (broken) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

func TestAnswerThatCannotBeWrittenIsAnError(t *testing.T) {
	var stderr bytes.Buffer
	s := &Server{Plugin: &Plugin{}, Stdin: strings.NewReader("{}"), Stdout: broken{}, Stderr: &stderr}
	if code := s.Serve(t.Context(), []string{"get-plugin-metadata"}); code != exitFailure {
		t.Errorf("got the exit code %d", code)
	}
	if !strings.Contains(stderr.String(), `"ERROR"`) || !strings.Contains(stderr.String(), "no space left on device") {
		t.Error(stderr.String())
	}
	s.Stderr = broken{}
	if code := s.Serve(t.Context(), []string{"get-plugin-metadata"}); code != exitFailure {
		t.Errorf("got the exit code %d", code)
	}
}

func TestRequestThatCannotBeReadIsAnError(t *testing.T) {
	var stderr bytes.Buffer
	s := &Server{Plugin: &Plugin{}, Stdin: broken{}, Stdout: io.Discard, Stderr: &stderr}
	if code := s.Serve(t.Context(), []string{"describe-key"}); code != exitFailure || !strings.Contains(stderr.String(), "input/output error") {
		t.Errorf("got %d, %s", code, &stderr)
	}
}

func TestInterruptionEndsTheWaitForARequest(t *testing.T) {
	in, writer := io.Pipe() // on which nothing is ever written
	defer writer.Close()
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(10*time.Millisecond, func() { cancel(errors.New("interrupt signal received")) })
	var stderr bytes.Buffer
	s := &Server{Plugin: &Plugin{}, Stdin: in, Stdout: io.Discard, Stderr: &stderr}
	if code := s.Serve(ctx, []string{"describe-key"}); code != exitFailure || !strings.Contains(stderr.String(), "interrupt signal received") {
		t.Errorf("got %d, %s", code, &stderr)
	}
}

func TestPanicIsAnErrorOfTheContract(t *testing.T) {
	token := newToken(t, contract.KeySpecEC256)
	token.open = func(context.Context, Settings) error {
		var certs []int
		_ = certs[len(token.opened)]
		return nil
	}
	err := serveError(t, token.plugin(), "describe-key", `{"contractVersion":"1.0","keyId":"pkcs11:token=T"}`)
	checkError(t, err, contract.ErrorCodeGeneric, "internal error", "index out of range", "/issues")
	if strings.Contains(err.Error(), "goroutine") {
		t.Errorf("the stack is in the error: %v", err)
	}
}

func TestMessagesCannotSteerATerminal(t *testing.T) {
	token := newToken(t, contract.KeySpecEC256)
	token.open = func(context.Context, Settings) error { return errors.New("label \x1b[2J\n::error::\u202e") }
	err := serveError(t, token.plugin(), "describe-key", `{"contractVersion":"1.0","keyId":"pkcs11:token=T"}`)
	checkError(t, err, contract.ErrorCodeGeneric, `label \x1b[2J\x0a::error::\u202e`)
}

// What other plugins of the framework return keeps its code as well.
func TestErrorsOfAnyPluginKeepTheirCode(t *testing.T) {
	err := serveError(t, failing{}, "describe-key", "{}")
	checkError(t, err, contract.ErrorCodeThrottled, "wrapped: slow down")
}

type failing struct{ contract.SignPlugin }

func (failing) DescribeKey(context.Context, *contract.DescribeKeyRequest) (*contract.DescribeKeyResponse, error) {
	return nil, fmt.Errorf("wrapped: %w", contract.NewError(contract.ErrorCodeThrottled, "slow down"))
}

// FuzzServe holds that whatever comes in, what goes out keeps the contract.
func FuzzServe(f *testing.F) {
	token := newToken(f, contract.KeySpecEC256)
	good, err := json.Marshal(request(contract.KeySpecEC256))
	if err != nil {
		f.Fatal(err)
	}
	for _, command := range []string{"get-plugin-metadata", "describe-key", "generate-signature", "generate-envelope", "verify-signature", "sign"} {
		for _, input := range []string{
			"", "{}", "null", "[]", "\xff", `{"\ud800":1}`, `{"keyId":"a","keyId":"b","KEYID":"c"}`, "{}{}",
			`{"contractVersion":"2.0"}`, `{"contractVersion":"1.0","keyId":"pkcs11:id=%01?pin-value=1"}`,
			`{"contractVersion":"1.0","keyId":"pkcs11:","pluginConfig":{"timeout":"1ns","user_type":"0x1"}}`,
			`{"contractVersion":"1.0","keyId":"pkcs11:","keySpec":"EC-256","hashAlgorithm":"SHA-256","payload":"AA=="}`,
			string(good),
		} {
			f.Add(command, []byte(input))
		}
	}
	codes := []contract.ErrorCode{
		contract.ErrorCodeValidation, contract.ErrorCodeUnsupportedContractVersion, contract.ErrorCodeAccessDenied,
		contract.ErrorCodeTimeout, contract.ErrorCodeThrottled, contract.ErrorCodeGeneric,
	}
	spec, err := specNamed(contract.KeySpecEC256)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, command string, input []byte) {
		code, output := serve(t, token.plugin(), command, string(input))
		token.opened = nil // of millions of runs
		if code != exitSuccess {
			var failed contract.Error
			if err := json.Unmarshal(output, &failed); err != nil || !slices.Contains(codes, failed.ErrCode) || failed.Message == "" {
				t.Errorf("got %s", output)
			}
			if failed.Message != printable(failed.Message) || strings.HasPrefix(failed.Message, "internal error") {
				t.Errorf("got the message %q", failed.Message)
			}
			return
		}
		if command == string(contract.CommandGetMetadata) {
			return
		}
		var key struct{ ContractVersion, KeyID string }
		if err := json.Unmarshal(input, &key); err != nil || key.ContractVersion != contract.ContractVersion {
			t.Fatalf("%s is served, %v", input, err)
		}
		var answer contract.GenerateSignatureResponse
		if err := json.Unmarshal(output, &answer); err != nil || answer.KeyID != key.KeyID {
			t.Fatalf("%s is answered with %s, %v", input, output, err)
		}
		if command != string(contract.CommandGenerateSignature) {
			return
		}
		var asked contract.GenerateSignatureRequest
		if err := json.Unmarshal(input, &asked); err != nil {
			t.Fatalf("%s is served, %v", input, err)
		}
		if asked.KeySpec != spec.name || asked.Hash != spec.hashName || answer.SigningAlgorithm != spec.algorithm {
			t.Errorf("%s is answered with %s", input, output)
		}
		if err := verify(spec, token.key.Public(), asked.Payload, answer.Signature); err != nil {
			t.Errorf("%s is answered with %s: %v", input, output, err)
		}
	})
}
