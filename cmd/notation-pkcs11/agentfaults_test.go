// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bytes"
	"crypto/rand"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"

	contract "github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

// A client that leaves while its signature is made ends neither the host nor the
// signatures of others.
func TestClientThatLeavesCostsOthersNothing(t *testing.T) {
	w := newAgentWorld(t, "C_Sign delay 300")
	a := w.startAgent(t)
	before := w.hosts(t)
	var others sync.WaitGroup
	killed := a.client("generate-signature", generateRequest(notaryMessage("PS256")))
	if err := killed.Start(); err != nil {
		t.Fatal(err)
	}
	for range 9 {
		others.Go(func() {
			if err := a.sign(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	w.awaitCall(t, "C_Sign", 1)
	killed.Process.Kill()
	killed.Wait()
	others.Wait()
	if after := w.hosts(t); len(before) != 1 || len(after) != 1 || before[0] != after[0] {
		t.Errorf("module hosts %v before, %v after", before, after)
	}
	if n := w.module.Calls("C_Login"); n != 1 {
		t.Errorf("%d logins", n)
	}
}

// A description is there at once, whatever the module is doing.
func TestDescriptionDoesNotWaitForASignature(t *testing.T) {
	w := newAgentWorld(t, "C_Sign hang")
	a := w.startAgent(t, "--sessions", "1")
	slow := a.client("generate-signature", generateRequest(notaryMessage("PS256")))
	if err := slow.Start(); err != nil {
		t.Fatal(err)
	}
	w.awaitCall(t, "C_Sign", 1)
	answer, err := a.client("describe-key", describe()).CombinedOutput()
	if err == nil {
		err = w.checkDescription(answer)
	}
	if err != nil {
		t.Errorf("%v: %s", err, answer)
	}
	slow.Process.Kill()
	slow.Wait()
	for _, pid := range w.hosts(t) {
		syscall.Kill(pid, syscall.SIGKILL) // else the agent would give the module its time
	}
}

// A host that dies is replaced, and the signature that it cost is made.
func TestHostThatDiesIsReplaced(t *testing.T) {
	w := newAgentWorld(t)
	a := w.startAgent(t)
	for range 2 {
		w.killHosts(t)
		if err := a.sign(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if n := w.module.Calls("C_Login"); n != 3 {
		t.Errorf("%d logins", n)
	}
}

// A login that is lost and can't be made again in the same process, for the device
// fails, is made in another one.
func TestDeviceErrorAtALaterLogin(t *testing.T) {
	w := newAgentWorld(t, "sessions-die 1", "C_Login#2 rv 0x30")
	a := w.startAgent(t)
	for range 3 {
		if err := a.sign(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if n := len(w.hosts(t)); n != 1 {
		t.Errorf("%d module hosts", n)
	}
}

// Once the token has refused the PIN, it is never sent again: not after lost
// sessions, not in another host, whoever asks.
func TestRefusedPINIsNeverSentAgain(t *testing.T) {
	for _, how := range []string{"sessions lost", "host killed"} {
		t.Run(how, func(t *testing.T) {
			rules := []string{}
			if how == "sessions lost" {
				rules = append(rules, "sessions-die 1", "C_Login#2 rv 0xa0") // behind it the token is still logged in
			}
			w := newAgentWorld(t, rules...)
			a := w.startAgent(t)
			if how == "sessions lost" {
				if err := a.sign(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.token.ChangePIN("another-pin"); err != nil {
				t.Fatal(err)
			}
			if how == "host killed" {
				w.killHosts(t)
			}
			var requests sync.WaitGroup
			for range 4 {
				requests.Go(func() {
					for range 10 {
						if err := a.sign(t.Context()); err == nil || !strings.Contains(err.Error(), "CKR_PIN_INCORRECT") {
							t.Errorf("error %v", err)
						}
					}
				})
			}
			requests.Wait()
			wrong := 0
			calls, err := w.module.Journal()
			if err != nil {
				t.Fatal(err)
			}
			for _, call := range calls {
				if call.Name == "C_Login" && call.RV == 0xa0 { // CKR_PIN_INCORRECT
					wrong++
				}
			}
			if wrong != 1 {
				t.Errorf("a wrong PIN was sent %d times", wrong)
			}
			if lines := w.lines(t); lines["login-failure"] != 40 {
				t.Errorf("the log has %v", lines)
			}
		})
	}
}

// A token that took the place of the one which was opened gets no PIN, though it has
// the same label.
func TestAnotherTokenOfTheSameLabelGetsNoPIN(t *testing.T) {
	w := newAgentWorld(t)
	a := w.startAgent(t)
	w.killHosts(t)
	replaceTokens(t, w)
	failed := a.fails(t)
	if !strings.Contains(failed.Message, "is in the place of the token") {
		t.Errorf("error %s", failed.Message)
	}
	if n := w.module.Calls("C_Login"); n != 1 {
		t.Errorf("%d logins", n)
	}
}

// replaceTokens has the store hold another token of the same label.
func replaceTokens(t *testing.T, w *agentWorld) {
	t.Helper()
	conf, err := os.ReadFile(strings.TrimPrefix(w.token.Env()[0], "SOFTHSM2_CONF="))
	if err != nil {
		t.Fatal(err)
	}
	dir := regexp.MustCompile(`directories\.tokendir *= *(.*)`).FindSubmatch(conf)
	tokens, err := filepath.Glob(string(dir[1]) + "/*")
	if err != nil || len(tokens) != 1 {
		t.Fatalf("tokens %v, %v", tokens, err)
	}
	if err := os.RemoveAll(tokens[0]); err != nil {
		t.Fatal(err)
	}
	other, err := testenv.Start(t, testenv.NewSoftHSM).AddToken("testenv")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Generate(testenv.RSA2048, "signing"); err != nil {
		t.Fatal(err)
	}
	conf, err = os.ReadFile(strings.TrimPrefix(other.Env()[0], "SOFTHSM2_CONF="))
	if err != nil {
		t.Fatal(err)
	}
	dir2 := regexp.MustCompile(`directories\.tokendir *= *(.*)`).FindSubmatch(conf)
	if err := os.CopyFS(string(dir[1]), os.DirFS(string(dir2[1]))); err != nil {
		t.Fatal(err)
	}
}

// A key that was made again under the same name signs nothing.
func TestAnotherKeyOfTheSameNameIsNotUsed(t *testing.T) {
	w := newAgentWorld(t)
	a := w.startAgent(t)
	w.killHosts(t)
	for _, kind := range []string{"privkey", "pubkey"} {
		tool := exec.Command("pkcs11-tool", "--module", w.token.Store.Module, "--token-label", "testenv", "--login", "--pin", w.token.PIN, "--delete-object", "--type", kind, "--label", "signing")
		tool.Env = append(os.Environ(), w.token.Env()...)
		if output, err := tool.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, output)
		}
	}
	if _, err := w.token.Generate(testenv.RSA2048, "signing"); err != nil {
		t.Fatal(err)
	}
	if failed := a.fails(t); !strings.Contains(failed.Message, "has another public key than when the agent was started") {
		t.Errorf("error %s", failed.Message)
	}
	if n := w.module.Calls("C_Sign"); n != 0 {
		t.Errorf("%d signatures", n)
	}
}

// A module that hangs costs its signature, and the next one is made in another
// process.
func TestModuleThatHangs(t *testing.T) {
	w := newAgentWorld(t, "C_Sign#1 hang")
	cmd := w.command("agent", signingKey, "--audit-log", w.log, "--output", "json", "--timeout", "2s")
	a := w.serve(t, cmd)
	if failed := a.fails(t); failed.ErrCode != contract.ErrorCodeTimeout || !strings.Contains(failed.Message, "within 2s") {
		t.Errorf("error %s: %s", failed.ErrCode, failed.Message)
	}
	w.rules(t)
	if err := a.sign(t.Context()); err != nil {
		t.Error(err)
	}
}

// The time that a client has counts from its turn, so that none is lost in the queue.
func TestTimeoutCountsFromTheTurn(t *testing.T) {
	w := newAgentWorld(t, "C_Sign delay 400")
	a := w.startAgent(t, "--sessions", "1")
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			message := notaryMessage("PS256")
			cmd := a.client("generate-signature", generateRequest(message))
			cmd.Env = append(cmd.Env, "NOTATION_PKCS11_TIMEOUT=3s") // and the last waits for as long
			if err := w.checkAnswer(t.Context(), cmd, message); err != nil {
				t.Error(err)
			}
		})
	}
	clients.Wait()
}

// What is signed and can't be logged is not given out.
func TestSignatureThatCanNotBeLoggedIsKept(t *testing.T) {
	w := newAgentWorld(t)
	a := w.startAgent(t)
	if err := os.Remove(w.log); err != nil {
		t.Fatal(err)
	}
	failed := a.fails(t)
	if !strings.Contains(failed.Message, "not given out") || !strings.Contains(failed.Message, "deleted or moved") {
		t.Errorf("error %s", failed.Message)
	}
}

// A disk that is full keeps signatures from being given out until there is room.
func TestFullDiskUnderTheLog(t *testing.T) {
	w := newAgentWorld(t)
	dir := filepath.Join(w.dir, "small")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k,mode=0700"); err != nil {
		t.Fatalf("mount: %v, for which this must be root", err)
	}
	w.log = filepath.Join(dir, "audit.jsonl")
	a := w.startAgent(t)
	filler := filepath.Join(dir, "filler")
	os.WriteFile(filler, bytes.Repeat([]byte("."), 64<<10), 0o600) // as much as there is room for
	t.Cleanup(func() { syscall.Unmount(dir, 0) })
	for refused := false; !refused; { // until the last page of the log is full
		err := a.sign(t.Context())
		refused = err != nil
		if refused && !strings.Contains(err.Error(), "not given out") {
			t.Fatalf("error %v", err)
		}
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if err := a.sign(t.Context()); err != nil {
		t.Error(err)
	}
	w.lines(t)
	a.stop(t)
}

// A hundred clients at once: none lost, none wrong.
func TestHundredClientsAtOnce(t *testing.T) {
	testenv.Long(t, "starts a hundred plugin processes at once")
	w := newAgentWorld(t)
	a := w.startAgent(t)
	var clients sync.WaitGroup
	for range 100 {
		clients.Go(func() {
			if err := a.sign(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	clients.Wait()
	if n := w.module.Calls("C_Login"); n != 1 {
		t.Errorf("%d logins", n)
	}
}

// What is no Notary payload is not signed, and in the log.
func TestNothingElseIsSigned(t *testing.T) {
	w := newAgentWorld(t)
	a := w.startAgent(t)
	random := make([]byte, 64)
	rand.Read(random)
	for name, message := range map[string][]byte{
		"a digest":          random[:32],
		"a JSON Web Token":  []byte("eyJhbGciOiJQUzI1NiIsInR5cCI6IkpXVCJ9.e30"),
		"another algorithm": notaryMessage("PS384"),
	} {
		failed := failsWith(t, a.client("generate-signature", generateRequest(message)))
		if failed.ErrCode != contract.ErrorCodeValidation || !strings.Contains(failed.Message, "signs only Notary Project payloads") || !strings.Contains(failed.Message, "version is "+version) {
			t.Errorf("%s: %s: %s", name, failed.ErrCode, failed.Message)
		}
	}
	if n := w.module.Calls("C_Sign"); n != 0 {
		t.Errorf("%d signatures", n)
	}
	if lines := w.lines(t); lines["refusal"] != 3 || lines["signature"] != 0 {
		t.Errorf("the log has %v", lines)
	}
}
