// SPDX-License-Identifier: Apache-2.0

//go:build linux

package host_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
	"github.com/notation-pkcs11/notation-pkcs11/pkcs11/host"
	"github.com/notation-pkcs11/notation-pkcs11/testenv"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/faults"
)

// This test binary is its own module host, and in other tests a parent that is
// killed (parent_test.go), and who tries to get at both (walls_test.go).
func TestMain(m *testing.M) {
	host.Main()
	if len(os.Args) > 1 && roles[os.Args[1]] != nil {
		roles[os.Args[1]](os.Args[2:])
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// fixture is a SoftHSM token behind a module with rules. The environment of the
// test has what the module needs.
type fixture struct {
	*faults.Module
	token *testenv.Token
}

func newFixture(t *testing.T, rules ...string) *fixture {
	t.Helper()
	hsm := testenv.Start(t, testenv.NewSoftHSM)
	token, err := hsm.AddStandardToken()
	if err != nil {
		t.Fatal(err)
	}
	m, err := faults.New(t.TempDir(), hsm.Module, rules...)
	if err != nil {
		t.Fatal(err)
	}
	for _, variable := range append(hsm.Env(), m.Env()...) {
		name, value, _ := strings.Cut(variable, "=")
		t.Setenv(name, value)
	}
	return &fixture{m, token}
}

func config(module string) host.Config {
	uri, err := pkcs11.ParseURI("pkcs11:token=testenv;object=EC-256")
	if err != nil {
		panic(err)
	}
	return host.Config{
		Module: module,
		URI:    uri,
		PIN: func(context.Context, pkcs11.TokenInfo) (pkcs11.PIN, error) {
			return pkcs11.NewPIN([]byte(testenv.UserPIN)), nil
		},
	}
}

// sign opens the key, signs and closes, within a deadline.
func sign(ctx context.Context, c host.Config) error {
	k, err := host.Open(ctx, c)
	if err != nil {
		return err
	}
	defer k.Close()
	signature, err := k.SignMessage(ctx, []byte("message"), crypto.SHA256)
	if err != nil {
		return err
	}
	digest := sha256.Sum256([]byte("message"))
	if !ecdsa.VerifyASN1(k.Public().(*ecdsa.PublicKey), digest[:], signature) {
		return errors.New("the signature doesn't verify")
	}
	return nil
}

// children lists the processes that this one started and that are still there,
// zombies too.
func children(t *testing.T) []int {
	t.Helper()
	return childrenOf(t, os.Getpid())
}

func childrenOf(t *testing.T, parent int) []int {
	t.Helper()
	var pids []int
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", parent))
	if err != nil || len(tasks) == 0 {
		t.Fatalf("no list of children: %v", err)
	}
	for _, task := range tasks {
		list, err := os.ReadFile(task)
		if err != nil {
			continue // the thread ended
		}
		for field := range strings.FieldsSeq(string(list)) {
			pid, err := strconv.Atoi(field)
			if err != nil {
				t.Fatal(err)
			}
			pids = append(pids, pid)
		}
	}
	return pids
}

func openFiles(t *testing.T) int {
	t.Helper()
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(files)
}

// leavesNothing fails the test if f leaves a process or an open file.
func leavesNothing(t *testing.T, f func()) {
	t.Helper()
	f() // once for what is opened once, such as the runtime's poller
	before := openFiles(t)
	f()
	if after := openFiles(t); after > before {
		t.Errorf("%d open files before, %d after", before, after)
	}
	if left := children(t); len(left) > 0 {
		t.Errorf("processes are left: %v", left)
	}
}

// wait waits for something that happens soon.
func wait(t *testing.T, what string, happened func() bool) {
	t.Helper()
	for range 6000 {
		if happened() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("waited in vain for %s", what)
}

// roles are what this binary is when its first argument says so.
var roles = map[string]func(args []string){
	"parent":   beParent,
	"intruder": beIntruder,
	"scanner":  beScanner,
	"lister":   beLister,
}
