// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	contract "github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/faults"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/leak"
)

// Two PINs that are written differently in each encoding, and found nowhere by
// chance. They fit on a line, for the terminal.
const (
	rightPIN = `r%25"<&+\ä-4Qv7kz`
	wrongPIN = `w%25"<&+\ä-8Hm2xd`
)

// The PIN goes from where the user keeps it through one pipe to the module host,
// and nowhere else, whatever happens. The debug log is on in each run.
func TestPINLeavesNoOtherWay(t *testing.T) {
	testenv.Long(t, "traces each way through the plugin")
	w := newLeakWorld(t)
	for _, run := range leakRuns {
		t.Run(run.name, func(t *testing.T) { w.try(t, run) })
	}
}

// Notation's own debug log has all that it says to the plugin and hears from it.
func TestPINIsNotInNotationsDebugLog(t *testing.T) {
	w := newLeakWorld(t)
	notation := testenv.Start(t, testenv.NewNotation)
	if err := notation.InstallPlugin("pkcs11", w.executable); err != nil {
		t.Fatal(err)
	}
	registry := testenv.Start(t, testenv.NewRegistry)
	image, err := registry.PushImage(t.Context(), "app", "v1")
	if err != nil {
		t.Fatal(err)
	}
	for pin, code := range map[string]int{rightPIN: 0, wrongPIN: 1} {
		cmd := exec.Command(notation.Command, "sign", "-d", "--plugin", "pkcs11", "--id", w.key.URI(),
			"--plugin-config", "module="+w.token.Store.Module, "--plugin-config", "cert_chain="+w.chains,
			registry.Host+"/app@"+image.Digest.String())
		cmd.Env = slices.Concat(notation.Env(), w.token.Env(), []string{fromEnvironment + "=" + pin})
		var said bytes.Buffer
		cmd.Stdout, cmd.Stderr = &said, &said
		result, err := leak.Trace(t.Context(), cmd, w.finder, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := cmd.ProcessState.ExitCode(); got != code || !strings.Contains(said.String(), "generate-signature") {
			t.Errorf("exit code %d, want %d:\n%s", got, code, &said)
		}
		if taken, leaks := result.Sort(); len(leaks) > 0 || !slices.Equal(taken, []string{"environment", "pipe"}) {
			t.Errorf("the PIN took the ways %q, and leaked: %v", taken, leaks)
		}
	}
}

// leakWorld is a token with the PIN, and the executable.
type leakWorld struct {
	executable, dir, chains string
	token                   *testenv.Token
	key                     *testenv.Key
	finder                  *leak.Finder
}

func newLeakWorld(t *testing.T) *leakWorld {
	t.Helper()
	w := &leakWorld{executable: buildPlugin(t), dir: t.TempDir()}
	var err error
	if w.token, err = testenv.Start(t, testenv.NewSoftHSM).AddToken("testenv"); err != nil {
		t.Fatal(err)
	}
	if w.key, err = w.token.Generate(testenv.EC256, "signing"); err != nil {
		t.Fatal(err)
	}
	if err := w.token.ChangePIN(rightPIN); err != nil {
		t.Fatal(err)
	}
	pki, err := testenv.NewPKI()
	if err != nil {
		t.Fatal(err)
	}
	chain, err := pki.Chain(w.key.Public)
	if err != nil {
		t.Fatal(err)
	}
	w.chains = filepath.Join(w.dir, "chains.pem")
	if err := os.WriteFile(w.chains, testenv.EncodePEM(chain...), 0o600); err != nil {
		t.Fatal(err)
	}
	w.finder = leak.NewFinder(leak.Secret{Name: "the PIN", Value: rightPIN}, leak.Secret{Name: "the wrong PIN", Value: wrongPIN})
	return w
}

func (w *leakWorld) try(t *testing.T, run leakRun) {
	module, err := faults.New(t.TempDir(), w.token.Store.Module, run.rules...)
	if err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(t.TempDir(), "log")
	cmd := exec.Command(w.executable)
	cmd.Env = slices.Concat(w.token.Env(), module.Env(), run.env, []string{
		"PATH=" + os.Getenv("PATH"), "NOTATION_PKCS11_LOG=" + log, "NOTATION_PKCS11_MODULE=" + module.Path,
	})
	pin := rightPIN
	if run.wrong {
		pin = wrongPIN
	}
	settings := map[string]string{"cert_chain": w.chains}
	var terminal *os.File
	var terminalName string
	channels := []string{}
	switch run.pin {
	case fromFile:
		file := filepath.Join(t.TempDir(), "pin")
		if err := os.WriteFile(file, []byte(pin+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		settings["pin_source"] = "file:" + file
	case fromTerminal:
		var end *os.File
		terminal, end = newTerminal(t)
		defer end.Close()
		terminalName = end.Name()
	case fromVariable:
		settings["pin_source"] = "env:LEAK_TEST_PIN"
		cmd.Env = append(cmd.Env, "LEAK_TEST_PIN="+pin)
		channels = append(channels, "environment")
	default:
		cmd.Env = append(cmd.Env, fromEnvironment+"="+pin)
		channels = append(channels, "environment")
	}
	if run.pipe {
		channels = append(channels, "pipe")
	}
	w.arguments(t, cmd, run.args, settings)
	if terminal != nil {
		onTerminal(t, cmd, terminalName)
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr

	result, err := leak.Trace(t.Context(), cmd, w.finder, func() {
		if terminal != nil {
			go typePIN(terminal, pin)
		}
		if run.signal != 0 {
			signalDuringLogin(t, module, run)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if code := cmd.ProcessState.ExitCode(); code != run.code {
		t.Errorf("exit code %d, want %d: %s%s", code, run.code, &stdout, &stderr)
	}
	taken, leaks := result.Sort()
	for _, l := range leaks {
		t.Errorf("leak: %v\n%q", l, l.Data)
	}
	if !slices.Equal(taken, channels) {
		t.Errorf("the PIN took the ways %q, want %q", taken, channels)
	}
	if run.pipe && !slices.ContainsFunc(result.Processes, (*leak.Process).IsHost) {
		t.Error("no module host is known as one")
	}
	for _, p := range result.Unguarded("notation-pkcs11") {
		t.Errorf("%v is open to others", p)
	}
	for _, made := range result.Created {
		if made.Mode&0o022 != 0 || made.Path == log && made.Mode != 0o600 {
			t.Errorf("%v makes %s with the mode %o", made.Process, made.Path, made.Mode)
		}
	}
}

// arguments completes the command with what a run says: for the protocol a
// request with settings, for a command flags.
func (w *leakWorld) arguments(t *testing.T, cmd *exec.Cmd, text string, settings map[string]string) {
	t.Helper()
	args := strings.Fields(strings.NewReplacer("KEY2", "pkcs11:token=testenv;object=new", "KEY", w.key.URI(), "CHAINS", w.chains, "DIR", t.TempDir(), "SIGN", w.signScript(t)).Replace(text))
	request := contract.GenerateSignatureRequest{
		ContractVersion: contract.ContractVersion, KeyID: w.key.URI(), KeySpec: "EC-256", Hash: "SHA-256",
		Payload: []byte("payload"), PluginConfig: settings,
	}
	switch args[0] {
	case "get-plugin-metadata", "describe-key", signing:
		for _, setting := range args[1:] {
			name, value, _ := strings.Cut(setting, "=")
			if name == "key-id" {
				request.KeyID = value
			} else {
				settings[name] = value
			}
		}
		args = args[:1]
		var document any = request
		if args[0] == "describe-key" {
			document = contract.DescribeKeyRequest{ContractVersion: contract.ContractVersion, KeyID: w.key.URI(), PluginConfig: settings}
		}
		body, err := json.Marshal(document)
		if err != nil {
			t.Fatal(err)
		}
		cmd.Stdin = bytes.NewReader(body)
	default:
		if source := settings["pin_source"]; source != "" {
			args = slices.Insert(args, 1, "--pin-source", source) // a command may follow
		}
	}
	cmd.Args = append(cmd.Args[:1], args...)
}

// signScript writes a script that has the plugin sign a payload.
func (w *leakWorld) signScript(t *testing.T) string {
	t.Helper()
	request := contract.GenerateSignatureRequest{
		ContractVersion: contract.ContractVersion, KeyID: w.key.URI(), KeySpec: "EC-256", Hash: "SHA-256",
		Payload: notaryMessage("ES256"), PluginConfig: map[string]string{"cert_chain": w.chains},
	}
	document, err := json.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	file, script := filepath.Join(t.TempDir(), "request"), filepath.Join(t.TempDir(), "script")
	for path, content := range map[string]string{file: string(document), script: "exec " + shellQuote(w.executable, signing) + " <" + shellQuote(file) + "\n"} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return script
}

// signalDuringLogin waits until the module hangs in C_Login.
func signalDuringLogin(t *testing.T, module *faults.Module, run leakRun) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		calls, err := module.Journal()
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(calls, func(c faults.Call) bool { return c.Name == "C_Login" })
		if i < 0 {
			continue
		}
		pid := calls[i].PID
		if !run.toHost {
			pid = parentOf(t, pid)
		}
		if err := syscall.Kill(pid, run.signal); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Fatal("the module was not called")
}

func parentOf(t *testing.T, pid int) int {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	parent, err := strconv.Atoi(strings.Fields(rest)[1])
	if err != nil {
		t.Fatal(err)
	}
	return parent
}
