// SPDX-License-Identifier: Apache-2.0

//go:build snapshot

package packaging

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

// Windows' executables run under wine, which stands for Windows: what they do there with
// a module of windows/token.c, which is compiled for Windows, is what they do on Linux.
// Starting takes wine long, so nothing here is timed.
func TestWindowsExecutablesRun(t *testing.T) {
	w := newWindows(t)
	t.Run("metadata", w.testMetadata)
	t.Run("notation signs", w.testNotationSigns)
	t.Run("action signs and verifies", w.testActionSigns)
	t.Run("noise", w.testNoise)
	t.Run("hang", w.testHang)
	t.Run("crash", w.testCrash)
	t.Run("wrong PIN", w.testWrongPIN)
	t.Run("no module", w.testNoModule)
	w.noHostIsLeft(t)
}

// Where Debian's wine64 is.
const (
	wine       = "/usr/lib/wine/wine64"
	wineServer = "/usr/lib/wine/wineserver64"
)

// windows is a prefix of wine's, with a token in it that has one key.
type windows struct {
	prefix         string
	plugin, action string // paths of the executables
	token          string // directory of the module and its files
	pki            *testenv.PKI
}

const windowsPIN = "4711"

func newWindows(t *testing.T) *windows {
	t.Helper()
	paths := executables(t, "windows_amd64")
	w := &windows{prefix: filepath.Join(t.TempDir(), "prefix"), plugin: paths[0], action: paths[1], token: t.TempDir()}
	t.Cleanup(func() {
		for _, flag := range []string{"-k", "-w"} { // end what runs in this prefix, and wait for it
			cmd := exec.Command(wineServer, flag)
			cmd.Env = w.env()
			if out, err := cmd.CombinedOutput(); err != nil && flag == "-w" {
				t.Errorf("%s: %v\n%s", cmd, err, out)
			}
		}
	})
	if result := w.run(t, nil, "", "wineboot", "--init"); result.code != 0 {
		t.Fatalf("wineboot: exit status %d\n%s%s", result.code, result.stdout, result.stderr)
	}
	compileForWindows(t, "windows/prng.c", filepath.Join(w.prefix, "drive_c/windows/system32/bcryptprimitives.dll"), "-ladvapi32")
	headers := strings.TrimSpace(output(t, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/miekg/pkcs11"))
	compileForWindows(t, "windows/token.c", w.path("token.dll"), "-isystem", headers)

	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	if w.pki, err = testenv.NewPKI(); err != nil {
		t.Fatal(err)
	}
	chain, err := w.pki.Chain(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		"modulus.bin":  key.N.FillBytes(make([]byte, key.Size())),
		"exponent.bin": key.D.FillBytes(make([]byte, key.Size())),
		"leaf.der":     chain[0].Raw,
		"issuer.der":   chain[1].Raw,
		"root.der":     chain[2].Raw,
		"root.pem":     testenv.EncodePEM(chain[2]),
	} {
		testenv.PutFile(t, w.path(name), string(content))
	}
	return w
}

func compileForWindows(t *testing.T, source, library string, flags ...string) {
	t.Helper()
	args := append([]string{"-std=gnu11", "-O1", "-Wall", "-Werror", "-shared", "-o", library, source}, flags...)
	if out, err := exec.CommandContext(t.Context(), "x86_64-w64-mingw32-gcc", args...).CombinedOutput(); err != nil {
		t.Fatalf("compile %s: %v\n%s", source, err, out)
	}
}

func (w *windows) path(name string) string { return filepath.Join(w.token, name) }

// windowsPath is what Windows calls a path: drive Z: is the root of this machine.
func windowsPath(path string) string { return "Z:" + strings.ReplaceAll(path, "/", `\`) }

// env is all that a program under wine starts with.
func (w *windows) env() []string {
	return []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + w.token, "WINEPREFIX=" + w.prefix, "WINEDEBUG=-all", "WINEDLLOVERRIDES=mscoree,mshtml=",
		"TOKEN_DIR=" + windowsPath(w.token), "TOKEN_PIN=" + windowsPIN,
	}
}

type windowsResult struct {
	code           int
	stdout, stderr string
}

// run runs a program of Windows with more variables and an input.
func (w *windows) run(t *testing.T, env []string, input string, args ...string) windowsResult {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, wine, args...)
	cmd.Env = append(w.env(), env...)
	cmd.Stdin = strings.NewReader(input)
	cmd.WaitDelay = time.Minute // programs of wine's own may hold the streams
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || ctx.Err() != nil) {
		t.Fatalf("%s: %v\n%s%s", cmd, err, &stdout, &stderr)
	}
	return windowsResult{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// windowsKey is the URI of the key.
const windowsKey = "pkcs11:token=Release;object=signing"

// sign has the plugin sign, as notation would have it do. A fault is one of the module's.
func (w *windows) sign(t *testing.T, fault, pin string, config map[string]string) windowsResult {
	t.Helper()
	if config == nil {
		config = map[string]string{}
	}
	if config["module"] == "" {
		config["module"] = windowsPath(w.path("token.dll"))
	}
	request, err := json.Marshal(map[string]any{
		"contractVersion": "1.0", "keyId": windowsKey, "pluginConfig": config,
		"keySpec": "RSA-2048", "hashAlgorithm": "SHA-256", "payload": []byte("payload"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(w.path("calls.txt")); err != nil {
		t.Fatal(err)
	}
	return w.run(t, []string{"TOKEN_FAULT=" + fault, "NOTATION_PKCS11_PIN=" + pin}, string(request), w.plugin, "generate-signature")
}

// calls is how often the module's function was called since the last [windows.sign].
func (w *windows) calls(t *testing.T, function string) int {
	t.Helper()
	content, err := os.ReadFile(w.path("calls.txt"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(content)) {
		if strings.TrimSpace(line) == function {
			n++
		}
	}
	return n
}

// refused checks that the plugin failed with a code and a message that has all texts.
func (r windowsResult) refused(t *testing.T, code string, texts ...string) {
	t.Helper()
	var answer struct{ ErrorCode, ErrorMessage string }
	if err := json.Unmarshal([]byte(r.stderr), &answer); err != nil || r.code != 1 || answer.ErrorCode != code || r.stdout != "" {
		t.Fatalf("exit status %d, %v, want %s\n%s%s", r.code, err, code, r.stdout, r.stderr)
	}
	for _, text := range texts {
		if !strings.Contains(answer.ErrorMessage, text) {
			t.Errorf("the message %q lacks %q", answer.ErrorMessage, text)
		}
	}
}

func (w *windows) testMetadata(t *testing.T) {
	result := w.run(t, nil, "{}", w.plugin, "get-plugin-metadata")
	var metadata struct{ Name, Version string }
	if err := json.Unmarshal([]byte(result.stdout), &metadata); err != nil || result.code != 0 {
		t.Fatalf("exit status %d, %v\n%s%s", result.code, err, result.stdout, result.stderr)
	}
	if metadata.Name != "pkcs11" || metadata.Version != version(t) {
		t.Errorf("%+v, want version %s", metadata, version(t))
	}
}

// Notation of this machine has the plugin of Windows sign, and verifies that.
func (w *windows) testNotationSigns(t *testing.T) {
	notation := testenv.Start(t, testenv.NewNotation)
	if err := notation.Trust(w.pki.Root); err != nil {
		t.Fatal(err)
	}
	script := filepath.Join(t.TempDir(), "notation-pkcs11")
	if err := os.WriteFile(script, fmt.Appendf(nil, "#!/bin/sh\nexec %s %s \"$@\"\n", wine, w.plugin), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := notation.InstallPlugin("pkcs11", script); err != nil {
		t.Fatal(err)
	}
	registry := testenv.Start(t, testenv.NewRegistry)
	for _, format := range []string{"cose", "jws"} {
		image, err := registry.PushImage(t.Context(), format, "v1")
		if err != nil {
			t.Fatal(err)
		}
		reference := registry.Host + "/" + format + "@" + image.Digest.String()
		for _, args := range [][]string{
			{"sign", "--plugin", "pkcs11", "--id", windowsKey, "--plugin-config", "module=" + windowsPath(w.path("token.dll")),
				"--signature-format", format, "--force-referrers-tag=false", reference},
			{"verify", reference},
		} {
			result, err := notation.Run(t.Context(), append(w.env(), "NOTATION_PKCS11_PIN="+windowsPIN), args...)
			if err != nil || result.ExitCode != 0 {
				t.Fatalf("notation %s: exit status %d, %v\n%s%s", strings.Join(args, " "), result.ExitCode, err, result.Stdout, result.Stderr)
			}
		}
	}
}

// The action of Windows signs, pushes and verifies; notation of this machine verifies
// that, too.
func (w *windows) testActionSigns(t *testing.T) {
	registry := testenv.Start(t, testenv.NewRegistry)
	image, err := registry.PushImage(t.Context(), "app", "v1")
	if err != nil {
		t.Fatal(err)
	}
	reference := registry.Host + "/app@" + image.Digest.String()
	result := w.run(t, []string{"INPUT_PIN=" + windowsPIN}, "", w.action,
		"--target-artifact-reference", reference, "--key-id", windowsKey, "--module", windowsPath(w.path("token.dll")),
		"--trusted-certificates", windowsPath(w.path("root.pem")), "--trusted-identities", "*")
	if result.code != 0 || !strings.Contains(result.stdout, "1 artifact, 1 signed, 1 verified") {
		t.Fatalf("exit status %d\n%s%s", result.code, result.stdout, result.stderr)
	}
	notation := testenv.Start(t, testenv.NewNotation)
	if err := notation.Trust(w.pki.Root); err != nil {
		t.Fatal(err)
	}
	if verified, err := notation.Run(t.Context(), nil, "verify", reference); err != nil || verified.ExitCode != 0 {
		t.Errorf("notation verify: exit status %d, %v\n%s%s", verified.ExitCode, err, verified.Stdout, verified.Stderr)
	}
}

func (w *windows) testNoise(t *testing.T) {
	result := w.sign(t, "noise C_Sign", windowsPIN, nil)
	var answer struct{ Signature []byte }
	if err := json.Unmarshal([]byte(result.stdout), &answer); err != nil || result.code != 0 || len(answer.Signature) != 256 || result.stderr != "" {
		t.Errorf("exit status %d, %v\n%s%s", result.code, err, result.stdout, result.stderr)
	}
	for _, function := range []string{"C_Login", "C_Sign", "C_Logout", "C_CloseSession", "C_Finalize"} {
		if n := w.calls(t, function); n != 1 {
			t.Errorf("%d calls of %s", n, function)
		}
	}
}

func (w *windows) testHang(t *testing.T) {
	w.sign(t, "hang C_Sign", windowsPIN, map[string]string{"timeout": "20s"}).refused(t, "TIMEOUT", "token.dll", "did not answer in time")
	if n := w.calls(t, "C_Sign"); n != 1 {
		t.Errorf("%d calls of C_Sign", n)
	}
	w.noHostIsLeft(t)
}

func (w *windows) testCrash(t *testing.T) {
	w.sign(t, "crash C_Sign", windowsPIN, nil).refused(t, "ERROR", "token.dll", "in C_Sign")
}

func (w *windows) testWrongPIN(t *testing.T) {
	w.sign(t, "", "4712", nil).refused(t, "ACCESS_DENIED", "C_Login: CKR_PIN_INCORRECT")
	if n := w.calls(t, "C_Login"); n != 1 {
		t.Errorf("%d calls of C_Login", n)
	}
}

func (w *windows) testNoModule(t *testing.T) {
	for module, text := range map[string]string{
		`C:\windows\system32\bcryptprimitives.dll`: "is not a PKCS#11 module",
		`C:\nothing.dll`:                "no such file",
		windowsPath(w.path("root.pem")): "can't be loaded",
	} {
		w.sign(t, "", windowsPIN, map[string]string{"module": module}).refused(t, "VALIDATION_ERROR", text)
	}
}

// noHostIsLeft waits until no module host of the prefix runs.
func (w *windows) noHostIsLeft(t *testing.T) {
	t.Helper()
	for {
		var left []string
		processes, err := filepath.Glob("/proc/[0-9]*")
		if err != nil {
			t.Fatal(err)
		}
		for _, process := range processes {
			environ, _ := os.ReadFile(filepath.Join(process, "environ")) // of a process that has ended, it is empty
			cmdline, _ := os.ReadFile(filepath.Join(process, "cmdline"))
			if bytes.Contains(environ, []byte("WINEPREFIX="+w.prefix+"\x00")) && bytes.Contains(cmdline, []byte("module-host")) {
				left = append(left, process)
			}
		}
		if len(left) == 0 {
			return
		}
		select {
		case <-t.Context().Done():
			t.Fatalf("module hosts are left: %q", left)
		case <-time.After(10 * time.Millisecond):
		}
	}
}
