// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	contract "github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/faults"
)

// hsm is a token that commands are run on while its module misbehaves, one
// command at a time.
type hsm struct {
	executable string
	token      *testenv.Token
	chain      string // path of the certificates above the key's own, which is on the token
	dir        string // for all that runs leave
	runs       int
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
	store := testenv.Start(t, testenv.NewSoftHSM)
	token, err := store.AddToken("testenv")
	if err != nil {
		t.Fatal(err)
	}
	key, err := token.Generate(testenv.RSA2048, "signing")
	if err != nil {
		t.Fatal(err)
	}
	pki, err := testenv.NewPKI()
	if err != nil {
		t.Fatal(err)
	}
	chain, err := pki.Chain(key.Public)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(how, bare) {
		// One certificate only: SoftHSM lists several in another order each time.
		if err := key.ImportChain(chain[:1]); err != nil {
			t.Fatal(err)
		}
	}
	h := &hsm{executable: executable, token: token, dir: t.TempDir()}
	h.chain = filepath.Join(h.dir, "chain.pem")
	for path, certificates := range map[string][]*x509.Certificate{h.chain: chain[1:], filepath.Join(h.dir, fullChain): chain} {
		if err := os.WriteFile(path, testenv.EncodePEM(certificates...), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return h
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
	marker         string // NAME=value in the environment of all its processes
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
	r.marker = "HSM_TEST_RUN=" + r.dir
	r.command = exec.Command(h.executable, o.args...)
	r.command.Dir = r.dir
	r.command.Env = append(append(r.Env(), h.token.Env()...), r.marker,
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
	return r, r.command.Start()
}

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
	if len(written[filepath.Join(r.dir, "log")]) == 0 && r.Calls("C_Initialize") > 0 {
		return errors.New("there is no debug log")
	}
	for name, content := range written {
		for _, form := range formsOf(h.token.PIN) {
			if bytes.Contains(bytes.ToLower(content), bytes.ToLower([]byte(form))) {
				return fmt.Errorf("the PIN is in %s, as %s", name, form)
			}
		}
	}
	return nil
}

// formsOf are a secret, in hexadecimal, and in base64 with up to two bytes before
// it.
func formsOf(secret string) []string {
	forms := []string{secret, hex.EncodeToString([]byte(secret))}
	for before := range 3 {
		encoded := base64.RawStdEncoding.EncodeToString([]byte("\x00\x00"[:before] + secret))
		forms = append(forms, encoded[before+1:len(encoded)-1]) // its ends depend on its neighbours
	}
	return forms
}

// checkNobodyIsLeft checks that the command's processes are gone, or go at once.
func (r *attempt) checkNobodyIsLeft(ctx context.Context) error {
	for range 500 {
		left, err := r.processes()
		if err != nil || len(left) == 0 {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("processes are left: %v", left)
		case <-time.After(20 * time.Millisecond):
		}
	}
	return errors.New("processes are left")
}

// processes lists those of the command that are there: the executable's, and all
// that have ever loaded the module. Those that have ended and wait for their
// parent have no environment.
func (r *attempt) processes() ([]int, error) {
	journal, err := r.Journal()
	if err != nil {
		return nil, err
	}
	pids := []int{r.command.Process.Pid}
	for _, call := range journal {
		if !slices.Contains(pids, call.PID) {
			pids = append(pids, call.PID)
		}
	}
	return slices.DeleteFunc(pids, func(pid int) bool {
		environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		return err != nil || !bytes.Contains(environ, []byte(r.marker)) // ended, or another one by now
	}), nil
}

// checkNobodyIsLeft checks that no process of any run is left, such as one that
// did not come to loading the module.
func (h *hsm) checkNobodyIsLeft(t *testing.T) {
	t.Helper()
	environs, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil || len(environs) == 0 {
		t.Fatalf("no list of processes: %v", err)
	}
	for _, path := range environs {
		environ, err := os.ReadFile(path)
		if err == nil && bytes.Contains(environ, []byte("HSM_TEST_RUN="+h.dir)) {
			t.Errorf("the process of %s is left", path)
		}
	}
}
