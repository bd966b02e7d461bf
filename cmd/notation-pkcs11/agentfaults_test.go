// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
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
		for _, pid := range w.hosts(t) {
			syscall.Kill(pid, syscall.SIGKILL)
			ends(t, pid)
		}
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
				for _, pid := range w.hosts(t) {
					syscall.Kill(pid, syscall.SIGKILL)
					ends(t, pid)
				}
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
	for _, pid := range w.hosts(t) {
		syscall.Kill(pid, syscall.SIGKILL)
		ends(t, pid)
	}
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
	for _, pid := range w.hosts(t) {
		syscall.Kill(pid, syscall.SIGKILL)
		ends(t, pid)
	}
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

// When the lifetime ends, the signature that is being made is given out, the next
// one is refused, and the command goes on.
func TestLifetimeEndsDuringASignature(t *testing.T) {
	w := newAgentWorld(t, "C_Sign delay 3000")
	message := filepath.Join(w.dir, "request")
	request := a2json(t, generateRequest(notaryMessage("PS256")))
	if err := os.WriteFile(message, request, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := w.command("agent", signingKey, "--lifetime", "1s", "--", "sh", "-c",
		`notation-pkcs11 generate-signature <"$0" >/dev/null || exit 1; notation-pkcs11 generate-signature <"$0" && exit 2; exit 7`, message)
	output, err := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != 7 || !strings.Contains(string(output), "the agent's lifetime of 1s is over") {
		t.Errorf("%v: %s", err, output)
	}
}

// An agent that is idle ends, and says so.
func TestIdleAgentEnds(t *testing.T) {
	w := newAgentWorld(t)
	a := w.startAgent(t, "--idle", "1s")
	<-a.ended
	if !strings.Contains(a.stderr.String(), "idle for 1s") || !a.ProcessState.Success() {
		t.Errorf("%v: %s", a.ProcessState, &a.stderr)
	}
	if failed := a.fails(t); !strings.Contains(failed.Message, "can't be reached: there is no socket") {
		t.Errorf("error %s", failed.Message)
	}
}

// An agent that was killed leaves a socket that the next one removes, and no module
// host.
func TestKilledAgent(t *testing.T) {
	w := newAgentWorld(t)
	a := w.startAgent(t)
	hosts := w.hosts(t)
	a.Process.Kill()
	<-a.ended
	for _, pid := range hosts {
		ends(t, pid)
	}
	if failed := a.fails(t); !strings.Contains(failed.Message, "nobody listens on it") {
		t.Errorf("error %s", failed.Message)
	}
	next := w.startAgent(t)
	if _, err := os.Lstat(a.socket); !os.IsNotExist(err) {
		t.Errorf("the socket of the killed agent is still there: %v", err)
	}
	if err := next.sign(t.Context()); err != nil {
		t.Error(err)
	}
}

// An agent that is killed while a client waits is an error there, and no hang.
func TestAgentKilledDuringASignature(t *testing.T) {
	w := newAgentWorld(t, "C_Sign hang")
	a := w.startAgent(t)
	client := a.client("generate-signature", generateRequest(notaryMessage("PS256")))
	var stderr bytes.Buffer
	client.Stderr = &stderr
	if err := client.Start(); err != nil {
		t.Fatal(err)
	}
	w.awaitCall(t, "C_Sign", 1)
	a.Process.Kill()
	client.Wait()
	if !strings.Contains(stderr.String(), "ended the connection without an answer") {
		t.Errorf("error %s", &stderr)
	}
	w.rules(t)
	w.startAgent(t) // which removes the socket
}

// SIGHUP lets go of the token until the next signature.
func TestHangupLetsGoOfTheToken(t *testing.T) {
	w := newAgentWorld(t)
	a := w.startAgent(t)
	if err := a.sign(t.Context()); err != nil {
		t.Fatal(err)
	}
	hosts := w.hosts(t)
	a.Process.Signal(syscall.SIGHUP)
	for _, pid := range hosts {
		ends(t, pid)
	}
	if n := w.module.Calls("C_Finalize"); n != 1 {
		t.Errorf("the module was finalized %d times", n)
	}
	if err := a.sign(t.Context()); err != nil {
		t.Error(err)
	}
	if n := w.module.Calls("C_Login"); n != 2 {
		t.Errorf("%d logins", n)
	}
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
		if failed.ErrCode != contract.ErrorCodeValidation || !strings.Contains(failed.Message, "signs Notary payloads alone") || !strings.Contains(failed.Message, "version is "+version) {
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

// Several keys of a token have one login, and each is found by what the token showed.
func TestKeysOfOneTokenHaveOneLogin(t *testing.T) {
	w := newAgentWorld(t)
	if _, err := w.token.Generate(testenv.EC256, "other"); err != nil {
		t.Fatal(err)
	}
	a := w.startAgent(t, "pkcs11:token=testenv;object=other")
	output, err := w.command("tokens", "--output", "json").Output()
	serial := regexp.MustCompile(`"serial": "([0-9a-f]+)"`).FindSubmatch(output)
	if err != nil || serial == nil {
		t.Fatalf("%v: %s", err, output)
	}
	for uri, want := range map[string]string{
		signingKey: "RSA-2048",
		"pkcs11:serial=" + string(serial[1]) + ";object=other;type=private?module-path=/nowhere.so&pin-source=file:/nowhere": "EC-256",
		"pkcs11:model=SoftHSM%20v2;object=signing":             "RSA-2048",
		"pkcs11:token=testenv":                                 "several keys that match",
		"pkcs11:token=testenv;object=absent":                   "does not hold the key",
		"pkcs11:token=testenv;object=other;library-version=99": "does not hold the key",
	} {
		output, _ := a.client("describe-key", contract.DescribeKeyRequest{ContractVersion: contract.ContractVersion, KeyID: uri}).CombinedOutput()
		if !strings.Contains(string(output), want) {
			t.Errorf("%s: %s, want %s", uri, output, want)
		}
	}
	if n := w.module.Calls("C_Login"); n != 1 {
		t.Errorf("%d logins", n)
	}
	for _, pid := range w.hosts(t) {
		syscall.Kill(pid, syscall.SIGKILL)
		ends(t, pid)
	}
	if err := a.sign(t.Context()); err != nil {
		t.Error(err)
	}
	if n := w.module.Calls("C_Login"); n != 2 {
		t.Errorf("%d logins after the host was killed", n)
	}
}

// Keys that want the PIN for each signature sign, one after the other.
func TestKeysThatAreAlwaysAuthenticated(t *testing.T) {
	w := newAgentWorld(t)
	w.rules(t, "always-authenticate "+w.token.PIN)
	a := w.startAgent(t)
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			for range 2 {
				if err := a.sign(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	clients.Wait()
}

// A token of one session signs all the same.
func TestTokenOfOneSession(t *testing.T) {
	w := newAgentWorld(t, "max-sessions 1")
	if _, err := w.token.Generate(testenv.EC256, "other"); err != nil {
		t.Fatal(err)
	}
	a := w.startAgent(t, "pkcs11:token=testenv;object=other")
	var clients sync.WaitGroup
	for range 6 {
		clients.Go(func() {
			if err := a.sign(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	clients.Wait()
}

// Every kind of token that the tests have works behind an agent, as notation's.
func TestAgentWithEveryKindOfToken(t *testing.T) {
	testenv.Long(t, "signs with each type of key on each kind of token")
	executable := buildPlugin(t)
	for _, kind := range testenv.TokenKinds {
		t.Run(kind.Name, func(t *testing.T) {
			token := testenv.Start(t, kind.New)
			notation := notationFor(t, executable, token.Token)
			registry := testenv.Start(t, testenv.NewRegistry)
			image, err := registry.PushImage(t.Context(), "app", "v1")
			if err != nil {
				t.Fatal(err)
			}
			var script strings.Builder
			args := []string{"agent", "--module", token.Store.Module}
			for _, key := range token.Keys {
				args = append(args, key.URI())
				fmt.Fprintf(&script, "%s sign --force-referrers-tag=false --key %s %s/app@%s || exit 1\n", notation.Command, key.Label, registry.Host, image.Digest)
			}
			cmd := exec.Command(executable, append(args, "--", "sh", "-c", script.String())...)
			cmd.Env = append(append(notation.Env(), token.Env()...), "NOTATION_PKCS11_PIN="+token.PIN, "PATH="+os.Getenv("PATH"))
			if output, err := cmd.CombinedOutput(); err != nil || strings.Count(string(output), "Successfully signed") != len(token.Keys) {
				t.Errorf("%v: %s", err, output)
			}
		})
	}
}

// A signature that only shows which public half is a key's has a line of its own.
func TestProbeOfAKeyIsLogged(t *testing.T) {
	w := newAgentWorld(t, "hide public", "hide-attribute private 0x120", "hide-attribute private 0x122")
	w.startAgent(t)
	if lines := w.lines(t); lines["probe"] != w.module.Calls("C_SignInit") || lines["probe"] == 0 {
		t.Errorf("the log has %v", lines)
	}
}

// On the terminal a person is asked about each signature, with the artifact's digest.
func TestConfirmationOnTheTerminal(t *testing.T) {
	w := newAgentWorld(t)
	socket := filepath.Join(strings.TrimPrefix(w.env[slices.IndexFunc(w.env, func(v string) bool { return strings.HasPrefix(v, "XDG_RUNTIME_DIR=") })], "XDG_RUNTIME_DIR="), "s")
	cmd, person := w.converse(t, w.executable, "agent", signingKey, "--confirm", "--socket", socket)
	person.hear(t, "PIN of the token")
	person.say(w.token.PIN + "\n")
	person.hear(t, "export NOTATION_PKCS11_AGENT="+socket)
	for answer, signs := range map[string]bool{"y": true, "n": false, "": false} {
		person.say("yes\n") // to nothing
		person.hear(t, "yes")
		message := notaryMessage("PS256")
		result := make(chan error)
		go func() {
			result <- w.checkAnswer(t.Context(), w.client(socket, "generate-signature", generateRequest(message)), message)
		}()
		person.hear(t, "Sign sha256:")
		person.hear(t, "[y/N]")
		person.say(answer + "\n")
		if err := <-result; signs != (err == nil) || !signs && !strings.Contains(err.Error(), "not confirmed: the answer was no") {
			t.Errorf("answer %q: %v", answer, err)
		}
	}
	person.say("\x03")
	cmd.Wait()
	if !cmd.ProcessState.Success() {
		t.Errorf("the agent ended with %v", cmd.ProcessState)
	}
}
