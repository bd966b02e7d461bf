// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	contract "github.com/notaryproject/notation-plugin-framework-go/plugin"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/faults"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/wording"
)

// TestScripts runs the executable as notation and people do. Each script has a
// token of its own with a key of each type, and in its environment
//
//	MODULE   the PKCS#11 module, where faults can be put in front
//	CHAINS   a PEM file with the certificate chains of all keys
//	PIN      the token's PIN
//
// and the commands
//
//	faults RULE...            the module misbehaves (see testenv/faults)
//	called FUNCTION N         the module's function was called N times
//	request FILE KEY [k=v]... writes a generate-signature request for a key of
//	                          the token, with the module and its chain; k=v goes
//	                          into the plugin config, k= takes it out;
//	                          message=FILE has that signed
//	broken VARIANT KEY FILE   writes the chain of that name in testenv.Broken
//	answered                  exit code 0 with one JSON document on stdout alone
//	refused CODE REGEXP       exit code 1 with one JSON error on stderr alone
//	exits CODE COMMAND...     runs a command that must end with this exit code
//	inventory FILE            writes what is on the token, and the state of its PINs
//	within SECONDS            no longer since the script began, or the last within
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:   "testdata/script",
		Setup: setUpScript,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"faults":    addFaults,
			"called":    checkCalled,
			"request":   writeRequest,
			"broken":    writeBroken,
			"answered":  checkAnswered,
			"refused":   checkRefused,
			"exits":     checkExit,
			"inventory": writeInventory,
			"within":    checkWithin,
		},
		RequireUniqueNames: true,
	})
}

// script is what a script's commands share.
type script struct {
	token  *testenv.Token
	pki    *testenv.PKI
	faults *faults.Module
	since  time.Time
}

type scriptKey struct{}

func of(ts *testscript.TestScript) *script { return ts.Value(scriptKey{}).(*script) }

func setUpScript(env *testscript.Env) error {
	hsm, err := testenv.NewSoftHSM()
	if err != nil {
		return err
	}
	env.Defer(func() { hsm.Close() })
	s := &script{since: time.Now()}
	if s.token, err = hsm.AddStandardToken(); err != nil {
		return err
	}
	if s.pki, err = testenv.NewPKI(); err != nil {
		return err
	}
	var bundle []byte
	for _, key := range s.token.Keys {
		chain, err := s.pki.Chain(key.Public)
		if err != nil {
			return err
		}
		bundle = append(bundle, testenv.EncodePEM(chain...)...)
	}
	chains := filepath.Join(env.WorkDir, "chains.pem")
	if err := os.WriteFile(chains, bundle, 0o600); err != nil {
		return err
	}
	for _, variable := range append(hsm.Env(), "MODULE="+hsm.Module, "CHAINS="+chains, "PIN="+s.token.PIN) {
		name, value, _ := strings.Cut(variable, "=")
		env.Setenv(name, value)
	}
	env.Values[scriptKey{}] = s
	return nil
}

func addFaults(ts *testscript.TestScript, neg bool, rules []string) {
	m, err := faults.New(ts.MkAbs("."), of(ts).token.Store.Module, rules...)
	ts.Check(err)
	of(ts).faults = m
	for _, variable := range append(m.Env(), "MODULE="+m.Path) {
		name, value, _ := strings.Cut(variable, "=")
		ts.Setenv(name, value)
	}
	of(ts).since = time.Now()
}

func checkCalled(ts *testscript.TestScript, neg bool, args []string) {
	if want, err := strconv.Atoi(args[1]); err != nil || of(ts).faults.Calls(args[0]) != want {
		ts.Fatalf("%s was called %d times", args[0], of(ts).faults.Calls(args[0]))
	}
}

// requestHashes are the hashes that go with the key specs.
var requestHashes = map[string]contract.HashAlgorithm{
	"RSA-2048": contract.HashAlgorithmSHA256, "RSA-3072": contract.HashAlgorithmSHA384, "RSA-4096": contract.HashAlgorithmSHA512,
	"EC-256": contract.HashAlgorithmSHA256, "EC-384": contract.HashAlgorithmSHA384, "EC-521": contract.HashAlgorithmSHA512,
}

func writeRequest(ts *testscript.TestScript, neg bool, args []string) {
	config := map[string]string{"module": ts.Getenv("MODULE"), "cert_chain": ts.Getenv("CHAINS")}
	message := "payload"
	for _, setting := range args[2:] {
		name, value, _ := strings.Cut(setting, "=")
		if name == "message" {
			message = strings.TrimSpace(ts.ReadFile(value))
			continue
		}
		config[name] = value
		if value == "" {
			delete(config, name)
		}
	}
	document, err := json.Marshal(contract.GenerateSignatureRequest{
		ContractVersion: contract.ContractVersion,
		KeyID:           "pkcs11:token=testenv;object=" + args[1],
		KeySpec:         contract.KeySpec(args[1]),
		Hash:            requestHashes[args[1]],
		Payload:         []byte(message),
		PluginConfig:    config,
	})
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), document, 0o600))
}

func writeBroken(ts *testscript.TestScript, neg bool, args []string) {
	s := of(ts)
	variants := slices.Concat(testenv.Broken, testenv.Harmless)
	v := slices.IndexFunc(variants, func(v testenv.Variant) bool { return v.Name == args[0] })
	k := slices.IndexFunc(s.token.Keys, func(k *testenv.Key) bool { return k.Label == args[1] })
	if v < 0 || k < 0 {
		ts.Fatalf("no variant %q, or no key %q", args[0], args[1])
	}
	chain, err := variants[v].Bundle(s.pki, s.token.Keys[k].Public)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), testenv.EncodePEM(chain...), 0o600))
}

// oneDocument decodes what must be one JSON document and nothing else.
func oneDocument(ts *testscript.TestScript, stream string, into any) {
	decoder := json.NewDecoder(strings.NewReader(ts.ReadFile(stream)))
	if err := decoder.Decode(into); err != nil {
		ts.Fatalf("%s is not JSON: %v", stream, err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		ts.Fatalf("%s has more than one JSON document", stream)
	}
}

func checkEmpty(ts *testscript.TestScript, stream string) {
	if text := ts.ReadFile(stream); text != "" {
		ts.Fatalf("%s has %q", stream, text)
	}
}

func checkAnswered(ts *testscript.TestScript, neg bool, args []string) {
	checkEmpty(ts, "stderr")
	var answer map[string]any
	oneDocument(ts, "stdout", &answer)
}

func checkRefused(ts *testscript.TestScript, neg bool, args []string) {
	checkEmpty(ts, "stdout")
	var refusal contract.Error
	oneDocument(ts, "stderr", &refusal)
	if string(refusal.ErrCode) != args[0] {
		ts.Fatalf("code %s, want %s: %s", refusal.ErrCode, args[0], refusal.Message)
	}
	if !regexp.MustCompile(args[1]).MatchString(refusal.Message) {
		ts.Fatalf("message %q doesn't match %s", refusal.Message, args[1])
	}
	if flaws := wording.Pair(wording.Message(refusal.Message)); len(flaws) > 0 {
		ts.Fatalf("message %q: %s", refusal.Message, strings.Join(flaws, "; "))
	}
	if pin := ts.Getenv("PIN"); strings.Contains(refusal.Message, pin) {
		ts.Fatalf("the message has the PIN")
	}
}

func checkExit(ts *testscript.TestScript, neg bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	code := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		code = exit.ExitCode()
	}
	if code != want {
		ts.Fatalf("exit code %d, want %d", code, want)
	}
	if stderr := ts.ReadFile("stderr"); strings.HasPrefix(stderr, "error: ") {
		if flaws := wording.Output(stderr); len(flaws) > 0 {
			ts.Fatalf("%s", strings.Join(flaws, "; "))
		}
	}
}

func writeInventory(ts *testscript.TestScript, neg bool, args []string) {
	inventory, err := of(ts).token.Inventory()
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(inventory), 0o600))
}

func checkWithin(ts *testscript.TestScript, neg bool, args []string) {
	seconds, err := strconv.ParseFloat(args[0], 64)
	ts.Check(err)
	if took := time.Since(of(ts).since); took.Seconds() > seconds {
		ts.Fatalf("took %v", took)
	}
	of(ts).since = time.Now()
}
