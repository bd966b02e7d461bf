// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	contract "github.com/notaryproject/notation-plugin-framework-go/plugin"
	"golang.org/x/sys/unix"

	"github.com/notation-pkcs11/notation-pkcs11/internal/auditlog"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/faults"
)

// agentWorld is a token whose module can misbehave, for an agent and its clients.
type agentWorld struct {
	*hsm
	module *faults.Module
	log    string // path of the audit log
	env    []string
}

func newAgentWorld(t *testing.T, rules ...string) *agentWorld {
	t.Helper()
	w := &agentWorld{hsm: newHSM(t, buildPlugin(t))}
	var err error
	if w.module, err = faults.New(t.TempDir(), w.token.Store.Module, rules...); err != nil {
		t.Fatal(err)
	}
	// A path as short as a socket's must be.
	dir, err := os.MkdirTemp("", "a")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		left, err := os.ReadDir(dir)
		for tries := 0; tries < 3000 && err == nil && len(left) > 0; tries++ { // an agent ends just after its command
			time.Sleep(10 * time.Millisecond)
			left, err = os.ReadDir(dir)
		}
		if err != nil || len(left) > 0 {
			t.Errorf("left in the directory for sockets: %v, %v", left, err)
		}
		os.RemoveAll(dir)
	})
	w.log = filepath.Join(w.dir, "audit.jsonl")
	w.env = slices.Concat(w.token.Env(), w.module.Env(), []string{
		"PATH=" + filepath.Dir(w.executable) + ":" + os.Getenv("PATH"), "HOME=" + w.dir, "XDG_RUNTIME_DIR=" + dir,
		"NOTATION_PKCS11_MODULE=" + w.module.Path, "NOTATION_PKCS11_CERT_CHAIN=" + w.chain,
	})
	return w
}

// rules gives module hosts that are started from now on other rules.
func (w *agentWorld) rules(t *testing.T, rules ...string) {
	t.Helper()
	for _, variable := range w.module.Env() {
		if path, ok := strings.CutPrefix(variable, "FAULTS_RULES="); ok {
			if err := os.WriteFile(path, []byte(strings.Join(rules, "\n")+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatal("no rules")
}

// command makes a command with the PIN in its environment.
func (w *agentWorld) command(args ...string) *exec.Cmd {
	cmd := exec.Command(w.executable, args...)
	cmd.Env = append(slices.Clone(w.env), "NOTATION_PKCS11_PIN="+w.token.PIN)
	return cmd
}

// agentProcess is an agent without a command.
type agentProcess struct {
	*exec.Cmd
	world  *agentWorld
	socket string
	stderr bytes.Buffer
	ended  chan struct{}
}

// startAgent starts an agent that serves until the test ends.
func (w *agentWorld) startAgent(t *testing.T, args ...string) *agentProcess {
	t.Helper()
	return w.serve(t, w.command(append([]string{"agent", signingKey, "--audit-log", w.log, "--output", "json"}, args...)...))
}

func (w *agentWorld) serve(t *testing.T, cmd *exec.Cmd) *agentProcess {
	t.Helper()
	a := &agentProcess{Cmd: cmd, world: w, ended: make(chan struct{})}
	a.Stderr = &a.stderr
	out, err := a.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Start(); err != nil {
		t.Fatal(err)
	}
	var result agentResult
	err = json.NewDecoder(out).Decode(&result)
	go func() {
		a.Wait()
		close(a.ended)
	}()
	t.Cleanup(func() { a.stop(t) })
	if err != nil {
		<-a.ended
		t.Fatalf("the agent doesn't start: %v: %s", err, &a.stderr)
	}
	a.socket = result.Socket
	return a
}

// stop ends the agent, and checks that nothing of it is left.
func (a *agentProcess) stop(t *testing.T) {
	t.Helper()
	a.Process.Signal(syscall.SIGTERM) // it may have ended
	<-a.ended
	for _, pid := range a.world.hosts(t) {
		t.Errorf("module host %d is left", pid)
	}
}

// client makes a plugin process that uses the agent. The environment has no PIN.
func (a *agentProcess) client(command string, request any) *exec.Cmd {
	return a.world.client(a.socket, command, request)
}

func (w *agentWorld) client(socket, command string, request any) *exec.Cmd {
	cmd := exec.Command(w.executable, command)
	cmd.Env = append(slices.Clone(w.env), "NOTATION_PKCS11_AGENT="+socket)
	document, err := json.Marshal(request)
	if err != nil {
		panic(err)
	}
	cmd.Stdin = bytes.NewReader(document)
	return cmd
}

// sign has a plugin process sign a payload by the agent, and checks the signature.
func (a *agentProcess) sign(ctx context.Context) error {
	message := notaryMessage("PS256")
	return a.world.checkAnswer(ctx, a.client("generate-signature", generateRequest(message)), message)
}

func (w *agentWorld) checkAnswer(ctx context.Context, cmd *exec.Cmd, message []byte) error {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { cmd.Process.Kill() })
	defer stop()
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("%w: %s", err, &stderr)
	}
	var response contract.GenerateSignatureResponse
	if err := json.Unmarshal(stdout.Bytes(), &response); err != nil {
		return err
	}
	hash := crypto.SHA256.New()
	hash.Write(message)
	return rsa.VerifyPSS(w.token.Keys[0].Public.(*rsa.PublicKey), crypto.SHA256, hash.Sum(nil), response.Signature,
		&rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
}

// fails returns the agent's error of a signature.
func (a *agentProcess) fails(t *testing.T) contract.Error {
	t.Helper()
	return failsWith(t, a.client("generate-signature", generateRequest(notaryMessage("PS256"))))
}

func failsWith(t *testing.T, cmd *exec.Cmd) contract.Error {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Fatalf("%v: %s%s", err, &stdout, &stderr)
	}
	var failed contract.Error
	if err := json.Unmarshal(stderr.Bytes(), &failed); err != nil {
		t.Fatalf("%v: %s", err, &stderr)
	}
	return failed
}

func generateRequest(message []byte) contract.GenerateSignatureRequest {
	return contract.GenerateSignatureRequest{
		ContractVersion: contract.ContractVersion, KeyID: signingKey, KeySpec: contract.KeySpecRSA2048,
		Hash: contract.HashAlgorithmSHA256, Payload: message,
	}
}

// messages counts the messages, of which each is about another artifact.
var messages struct {
	sync.Mutex
	count int
}

// notaryMessage is what notation has signed for a JWS envelope.
func notaryMessage(algorithm string) []byte {
	messages.Lock()
	messages.count++
	n := messages.count
	messages.Unlock()
	header := fmt.Sprintf(`{"alg":%q,"crit":["io.cncf.notary.signingScheme"],"cty":"application/vnd.cncf.notary.payload.v1+json","io.cncf.notary.signingScheme":"notary.x509","io.cncf.notary.signingTime":%q}`,
		algorithm, time.Now().UTC().Format(time.RFC3339))
	payload := fmt.Sprintf(`{"targetArtifact":{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:%064x","size":%d}}`, n, n)
	return []byte(base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(payload)))
}

// hosts lists the module hosts of this world, by the token that they see.
func (w *agentWorld) hosts(t *testing.T) []int {
	t.Helper()
	processes, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for _, path := range processes {
		arguments, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(arguments, []byte("\x00module-host\x00")) {
			continue
		}
		environ, err := os.ReadFile(filepath.Join(filepath.Dir(path), "environ"))
		if err != nil || !bytes.Contains(environ, []byte(w.module.Path)) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return pids
}

// lines returns the lines of the audit log, whose chain is whole, by event.
func (w *agentWorld) lines(t *testing.T) map[string]int {
	t.Helper()
	content, err := os.ReadFile(w.log)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := auditlog.Verify(bytes.NewReader(content), ""); err != nil {
		t.Errorf("the audit log: %v", err)
	}
	events := map[string]int{}
	for line := range bytes.Lines(content) {
		var entry struct{ Event string }
		if err := json.Unmarshal(line, &entry); err != nil {
			t.Fatal(err)
		}
		events[entry.Event]++
	}
	return events
}

// awaitCall waits until the module is in a call, and returns its process.
func (w *agentWorld) awaitCall(t *testing.T, name string, nth int) int {
	t.Helper()
	for range 3000 {
		calls, err := w.module.Journal()
		if err != nil {
			t.Fatal(err)
		}
		seen := 0
		for _, call := range calls {
			if call.Name == name {
				if seen++; seen == nth {
					return call.PID
				}
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("the module was not called: %s, for the time number %d", name, nth)
	return 0
}

// ends waits until a process is gone.
func ends(t *testing.T, pid int) {
	t.Helper()
	for range 3000 {
		if errors.Is(unix.Kill(pid, 0), unix.ESRCH) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("process %d doesn't end", pid)
}

// killHosts kills the module hosts of the agent, and waits until they are gone.
func (w *agentWorld) killHosts(t *testing.T) {
	t.Helper()
	for _, pid := range w.hosts(t) {
		syscall.Kill(pid, syscall.SIGKILL)
		ends(t, pid)
	}
}

func a2json(t *testing.T, document any) []byte {
	t.Helper()
	text, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
