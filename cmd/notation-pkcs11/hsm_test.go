// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	contract "github.com/notaryproject/notation-plugin-framework-go/plugin"
	"golang.org/x/sys/unix"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/faults"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/leak"
)

// hsm is a token that commands are run on while its module misbehaves, one
// command at a time.
type hsm struct {
	executable string
	token      *testenv.Token
	chain      string // path of the certificates above the key's own, which is on the token
	dir        string // for all that runs leave
	runs       int
	sessions   []int // of the commands that were started
}

// The key on the token, and what is signed with it.
const (
	signingKey = "pkcs11:token=testenv;object=signing"
	payload    = "payload"
)

// fullChain is the name of a file with the key's certificate and those above it.
const fullChain = "full-chain.pem"

// bare leaves the key's certificate off the token.
const bare = "bare"

func newHSM(t *testing.T, executable string, how ...string) *hsm {
	t.Helper()
	h, key, chain := newCertified(t, executable, testenv.RSA2048)
	if !slices.Contains(how, bare) {
		// One certificate only: SoftHSM lists several in another order each time.
		if err := key.ImportChain(chain[:1]); err != nil {
			t.Fatal(err)
		}
	}
	h.chain = h.write(t, "chain.pem", chain[1:])
	h.write(t, fullChain, chain)
	return h
}

// newCertified is a token with a key, and the chain that certifies the key, which is
// not on the token yet.
func newCertified(tb testing.TB, executable string, kind testenv.KeyType) (*hsm, *testenv.Key, []*x509.Certificate) {
	tb.Helper()
	token, err := testenv.Start(tb, testenv.NewSoftHSM).AddToken("testenv")
	if err != nil {
		tb.Fatal(err)
	}
	key, err := token.Generate(kind, "signing")
	if err != nil {
		tb.Fatal(err)
	}
	pki, err := testenv.NewPKI()
	if err != nil {
		tb.Fatal(err)
	}
	chain, err := pki.Chain(key.Public)
	if err != nil {
		tb.Fatal(err)
	}
	return &hsm{executable: executable, token: token, dir: tb.TempDir()}, key, chain
}

// write writes certificates into a file beside the token, and returns its path.
func (h *hsm) write(tb testing.TB, name string, certificates []*x509.Certificate) string {
	tb.Helper()
	path := filepath.Join(h.dir, name)
	if err := os.WriteFile(path, testenv.EncodePEM(certificates...), 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}

// copy makes another one like it, of which no command was run yet.
func (h *hsm) copy(t *testing.T) *hsm {
	t.Helper()
	token, err := testenv.Start(t, testenv.NewSoftHSM).AddCopy(h.token)
	if err != nil {
		t.Fatal(err)
	}
	other := &hsm{executable: h.executable, token: token, dir: t.TempDir()}
	other.chain = filepath.Join(other.dir, filepath.Base(h.chain))
	if err := os.CopyFS(other.dir, os.DirFS(h.dir)); err != nil {
		t.Fatal(err)
	}
	return other
}

// order is a command to be run on an hsm.
type order struct {
	args    []string
	request any // of the plugin contract; nil: there is none
	rules   []string
	timeout time.Duration
}

// attempt is an order under way, or done.
type attempt struct {
	*faults.Module
	command        *exec.Cmd
	dir            string // with all that it writes
	begun          time.Time
	took           time.Duration
	stdout, stderr bytes.Buffer
}

// start starts a command. Whoever does so calls wait.
func (h *hsm) start(o order) (*attempt, error) {
	h.runs++
	r := &attempt{dir: filepath.Join(h.dir, fmt.Sprint(h.runs))}
	if err := os.Mkdir(r.dir, 0o700); err != nil {
		return nil, err
	}
	var err error
	if r.Module, err = faults.New(r.dir, h.token.Store.Module, o.rules...); err != nil {
		return nil, err
	}
	r.command = exec.Command(h.executable, o.args...)
	r.command.Dir = r.dir
	r.command.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // by which all its processes are known
	r.command.Env = append(append(r.Env(), h.token.Env()...),
		"PATH="+os.Getenv("PATH"), "HOME="+r.dir, "TMPDIR="+r.dir,
		"NOTATION_PKCS11_PIN="+h.token.PIN, "NOTATION_PKCS11_MODULE="+r.Path, "NOTATION_PKCS11_CERT_CHAIN="+h.chain,
		"NOTATION_PKCS11_LOG="+filepath.Join(r.dir, "log"), "NOTATION_PKCS11_TIMEOUT="+o.timeout.String())
	if o.request != nil {
		document, err := json.Marshal(o.request)
		if err != nil {
			return nil, err
		}
		r.command.Stdin = bytes.NewReader(document)
	}
	r.command.Stdout, r.command.Stderr = &r.stdout, &r.stderr
	r.command.WaitDelay = time.Second // for whoever else has its streams open
	r.begun = time.Now()
	if err := r.command.Start(); err != nil {
		return nil, err
	}
	h.sessions = append(h.sessions, r.session())
	return r, nil
}

// session is the session that the command leads. Its module host and what that
// starts stay in it, whoever else of them ends; all users may ask for it.
func (r *attempt) session() int { return r.command.Process.Pid }

// wait waits for the end of the command, whatever that is.
func (r *attempt) wait() error {
	err := r.command.Wait()
	r.took = time.Since(r.begun)
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return nil
	}
	return err
}

// do runs a command to its end.
func (h *hsm) do(o order) (*attempt, error) {
	r, err := h.start(o)
	if err == nil {
		err = r.wait()
	}
	return r, err
}

// describe and generate are the requests of the plugin contract.
func describe() any {
	return contract.DescribeKeyRequest{ContractVersion: contract.ContractVersion, KeyID: signingKey}
}

func generate() any {
	return contract.GenerateSignatureRequest{
		ContractVersion: contract.ContractVersion, KeyID: signingKey, KeySpec: contract.KeySpecRSA2048,
		Hash: contract.HashAlgorithmSHA256, Payload: []byte(payload),
	}
}

// checkDescription checks the answer to describe.
func (h *hsm) checkDescription(answer []byte) error {
	var response contract.DescribeKeyResponse
	if err := json.Unmarshal(answer, &response); err != nil {
		return err
	}
	if response.KeySpec != contract.KeySpecRSA2048 {
		return fmt.Errorf("the key is said to be %s", response.KeySpec)
	}
	return nil
}

// checkSignature checks the answer to generate, with the key as the token's owner
// knows it.
func (h *hsm) checkSignature(answer []byte) error {
	var response contract.GenerateSignatureResponse
	if err := json.Unmarshal(answer, &response); err != nil {
		return err
	}
	hash := crypto.SHA256.New()
	hash.Write([]byte(payload))
	if len(response.CertificateChain) != 3 {
		return fmt.Errorf("%d certificates were handed out", len(response.CertificateChain))
	}
	return rsa.VerifyPSS(h.token.Keys[0].Public.(*rsa.PublicKey), crypto.SHA256, hash.Sum(nil), response.Signature,
		&rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
}

// checkNothingLeaks looks for the PIN in everything that the command wrote.
func (h *hsm) checkNothingLeaks(r *attempt) error {
	written := map[string][]byte{"stdout": r.stdout.Bytes(), "stderr": r.stderr.Bytes()}
	err := filepath.WalkDir(r.dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() && path != r.Path {
			written[path], err = os.ReadFile(path)
		}
		return err
	})
	if err != nil {
		return err
	}
	status := r.command.ProcessState.Sys().(syscall.WaitStatus)
	if !status.Signaled() && len(written[filepath.Join(r.dir, "log")]) == 0 && r.Calls("C_Initialize") > 0 {
		return errors.New("there is no debug log")
	}
	finder := leak.NewFinder(leak.Secret{Name: "the PIN", Value: h.token.PIN})
	for name, content := range written {
		if hits := finder.Find(content); len(hits) > 0 {
			return fmt.Errorf("%s has %v", name, hits)
		}
	}
	return nil
}

// isGone waits until the processes are gone.
func (r *attempt) isGone() error {
	var left []int
	for range 500 {
		var err error
		if left, err = processesOf(r.session()); err != nil || len(left) == 0 {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
	return fmt.Errorf("processes are left: %v", left)
}

// checkNobodyIsLeft checks that no process of any run is left.
func (h *hsm) checkNobodyIsLeft(t *testing.T) {
	t.Helper()
	if left, err := processesOf(h.sessions...); err != nil || len(left) > 0 {
		t.Errorf("processes are left: %v, %v", left, err)
	}
}

// processesOf lists the processes of sessions. Those that have ended and wait for
// their parent have no arguments.
func processesOf(sessions ...int) ([]int, error) {
	arguments, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return nil, err
	}
	var pids []int
	self := false
	for _, path := range arguments {
		content, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			continue // it has ended
		}
		pid, numberErr := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err := errors.Join(err, numberErr); err != nil {
			return nil, fmt.Errorf("who is there can't be known: %w", err)
		}
		session, err := unix.Getsid(pid)
		if errors.Is(err, unix.ESRCH) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("who is there can't be known: %w", err)
		}
		self = self || pid == os.Getpid()
		if len(content) > 0 && slices.Contains(sessions, session) {
			pids = append(pids, pid)
		}
	}
	if !self {
		return nil, errors.New("who is there can't be known: /proc does not even have this process")
	}
	return pids, nil
}

// A command that hangs, and its module host, are seen to be there, whoever looks.
func TestProcessesThatAreLeftAreSeen(t *testing.T) {
	h := newHSM(t, buildPlugin(t))
	r, err := h.start(order{args: []string{"generate-signature"}, request: generate(), rules: []string{"C_Login#1 hang"}, timeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	defer r.wait()
	defer r.command.Process.Kill()
	host, err := r.hangsIn("C_Login#1")
	if err != nil {
		t.Fatal(err)
	}
	left, err := processesOf(r.session())
	if want := []int{r.command.Process.Pid, host}; err != nil || len(left) != 2 || !slices.Contains(left, want[0]) || !slices.Contains(left, want[1]) {
		t.Errorf("processes %v are seen, want %v: %v", left, want, err)
	}
}
