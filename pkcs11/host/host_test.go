// SPDX-License-Identifier: Apache-2.0

//go:build linux

package host_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
	"github.com/notation-pkcs11/notation-pkcs11/pkcs11/host"
	"github.com/notation-pkcs11/notation-pkcs11/testenv"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/faults"
)

// This test binary is its own module host, and in walls_test.go a parent that is
// killed, and who tries to get at both.
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

func TestSigningLeavesNothing(t *testing.T) {
	f := newFixture(t)
	leavesNothing(t, func() {
		if err := sign(t.Context(), config(f.Path)); err != nil {
			t.Error(err)
		}
	})
	if n := f.Calls("C_Finalize"); n != 2 {
		t.Errorf("C_Finalize was called %d times for 2 signatures", n)
	}
}

// What a module can do in each call is tried with the executable
// (cmd/notation-pkcs11/modulefaults_test.go). Here is what it does to the package.

// after are the calls that come when the signature is made.
var after = []string{"C_Logout", "C_CloseSession", "C_Finalize", "unload"}

func TestHangEndsAtTheDeadline(t *testing.T) {
	f := newFixture(t, "C_Login hang")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	err := sign(ctx, config(f.Path))
	if !pkcs11.IsKind(err, pkcs11.KindTimeout) || !strings.Contains(err.Error(), f.Path) || !strings.Contains(err.Error(), "C_Login") {
		t.Errorf("error %v", err)
	}
	if left := children(t); len(left) > 0 {
		t.Errorf("processes are left: %v", left)
	}
}

func TestDeathIsExplained(t *testing.T) {
	for action, cause := range map[string]string{"crash": "SIGSEGV", "abort": "SIGABRT", "exit 3": "exit status 3"} {
		t.Run(action, func(t *testing.T) {
			f := newFixture(t, "C_Login "+action)
			err := sign(t.Context(), config(f.Path))
			if !pkcs11.IsKind(err, pkcs11.KindCrash) {
				t.Fatalf("error %v", err)
			}
			for _, want := range []string{f.Path, "in C_Login", cause} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q lacks %s", err, want)
				}
			}
			if left := children(t); len(left) > 0 {
				t.Errorf("processes are left: %v", left)
			}
		})
	}
}

func TestCleanupDoesNotHideTheError(t *testing.T) {
	for _, action := range []string{"crash", "hang", "rv 0x30"} {
		for _, call := range after {
			if call == "unload" && action == "rv 0x30" {
				continue // returns nothing
			}
			t.Run(action+" "+call, func(t *testing.T) {
				f := newFixture(t, call+" "+action)
				c := config(f.Path)
				c.PIN = func(context.Context, pkcs11.TokenInfo) (pkcs11.PIN, error) {
					return pkcs11.NewPIN([]byte("wrong-pin")), nil
				}
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
				defer cancel()
				if err := sign(ctx, c); err == nil || !strings.Contains(err.Error(), "C_Login: CKR_PIN_INCORRECT") {
					t.Errorf("error %v", err)
				}
				c = config(f.Path)
				c.PublicOnly = true
				ctx, cancel = context.WithTimeout(t.Context(), 3*time.Second)
				defer cancel()
				k, err := host.Open(ctx, c)
				if err != nil {
					t.Fatal(err)
				}
				k.Close()
				if left := children(t); len(left) > 0 {
					t.Errorf("processes are left: %v", left)
				}
			})
		}
	}
}

func TestHostThatCanNotBeStarted(t *testing.T) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	for more := range uint64(8) { // each file that can't be opened is another error
		low := limit
		low.Cur = uint64(openFiles(t)) - 1 + more // without the one that lists them
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &low); err != nil {
			t.Fatal(err)
		}
		_, err := host.Open(t.Context(), config("/absent.so"))
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			t.Fatal(err)
		}
		if err == nil || !strings.Contains(err.Error(), "can't be started: ") {
			t.Errorf("with %d files more: error %v", more, err)
		}
	}
}

func TestModuleThatCanNotBeInitialized(t *testing.T) {
	f := newFixture(t, "need-init-args configdir=/etc/pki/nssdb", "unload hang")
	if err := sign(t.Context(), config(f.Path)); err == nil || !strings.Contains(err.Error(), "C_Initialize: CKR_ARGUMENTS_BAD") {
		t.Errorf("error %v", err)
	}
}

func TestPINThatIsNotTypedInTime(t *testing.T) {
	f := newFixture(t)
	c := config(f.Path)
	typing := make(chan struct{})
	c.PIN = func(ctx context.Context, _ pkcs11.TokenInfo) (pkcs11.PIN, error) {
		defer close(typing)
		<-ctx.Done()
		return pkcs11.PIN{}, ctx.Err()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if err := sign(ctx, c); !pkcs11.IsKind(err, pkcs11.KindNoPIN) || !strings.Contains(err.Error(), "not typed in time") {
		t.Errorf("error %v", err)
	}
	select {
	case <-typing:
	default:
		t.Error("whoever was asked for the PIN is still being asked")
	}
}

// debugLog makes a log in memory.
func debugLog(b *bytes.Buffer) *slog.Logger {
	return slog.New(slog.NewTextHandler(b, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// What a module prints may be the PIN. It goes where it is asked for, and not into
// the log of its calls.
func TestNoiseGoesToTheModuleLogAlone(t *testing.T) {
	f := newFixture(t, "load noise", "C_Initialize noise", "C_Login noise", "C_Sign noise", "C_Finalize noise", "unload noise")
	for _, asked := range []bool{false, true} {
		var calls, printed bytes.Buffer
		c := config(f.Path)
		c.Log = debugLog(&calls)
		if asked {
			c.ModuleLog = debugLog(&printed)
		}
		if err := sign(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"function=C_Sign rv=CKR_OK duration=", "function=dlclose"} {
			if !strings.Contains(calls.String(), want) {
				t.Errorf("the log of calls lacks %q", want)
			}
		}
		if strings.Contains(calls.String(), "printed by the module") || strings.Contains(calls.String(), "output") {
			t.Errorf("the log of calls has what the module prints:\n%s", &calls)
		}
		if got := strings.Contains(printed.String(), "printed by the module"); got != asked {
			t.Errorf("the module log has what the module prints: %v, asked for: %v", got, asked)
		}
	}
}

func TestPINIsNotInTheChildsEnvironmentOrArguments(t *testing.T) {
	f := newFixture(t)
	t.Setenv("NOTATION_PKCS11_PIN", testenv.UserPIN)
	t.Setenv("INPUT_PIN", testenv.UserPIN)
	t.Setenv("HOST_TEST_PIN", testenv.UserPIN)
	c := config(f.Path)
	c.SecretEnv = []string{"HOST_TEST_PIN"}
	k, err := host.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	pids := children(t)
	if len(pids) != 1 {
		t.Fatalf("children %v", pids)
	}
	for _, name := range []string{"environ", "cmdline"} {
		content := asRoot(t, "", "cat", fmt.Sprintf("/proc/%d/%s", pids[0], name))
		if strings.Contains(content, testenv.UserPIN) {
			t.Errorf("%s has the PIN", name)
		}
		if name == "environ" && !strings.Contains(content, "SOFTHSM2_CONF=") {
			t.Error("the environment lacks the module's configuration")
		}
	}
}

// wait waits for something that happens soon.
func wait(t *testing.T, what string, happened func() bool) {
	t.Helper()
	for range 1000 {
		if happened() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("waited in vain for %s", what)
}

func TestInterruptEndsAHangingCall(t *testing.T) {
	f := newFixture(t, "C_Login hang")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		for f.Calls("C_Login") == 0 && t.Context().Err() == nil {
			time.Sleep(10 * time.Millisecond)
		}
		cancel()
	}()
	if err := sign(ctx, config(f.Path)); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "C_Login") {
		t.Errorf("error %v", err)
	}
	if left := children(t); len(left) > 0 {
		t.Errorf("processes are left: %v", left)
	}
}

func TestParallelSignaturesUseOneHost(t *testing.T) {
	f := newFixture(t)
	c := config(f.Path)
	c.Sessions = 4
	k, err := host.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 5 {
				if _, err := k.SignMessage(t.Context(), []byte("message"), crypto.SHA256); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n := f.Calls("C_Initialize"); n != 1 {
		t.Errorf("C_Initialize was called %d times", n)
	}
}

func TestErrorsOfTheTokenComeThrough(t *testing.T) {
	f := newFixture(t)
	wrong := config(f.Path)
	wrong.PIN = func(context.Context, pkcs11.TokenInfo) (pkcs11.PIN, error) {
		return pkcs11.NewPIN([]byte("wrong-pin")), nil
	}
	var e *pkcs11.Error
	if err := sign(t.Context(), wrong); !errors.As(err, &e) || e.Call != "C_Login" || pkcs11.RVName(e.RV) != "CKR_PIN_INCORRECT" {
		t.Errorf("error %v", err)
	}
	none := config(f.Path)
	none.PIN = nil
	if err := sign(t.Context(), none); !pkcs11.IsKind(err, pkcs11.KindNoPIN) {
		t.Errorf("error %v", err)
	}
	absent := config(f.Path)
	absent.URI = absent.URI.With(pkcs11.AttrObject, "absent")
	if err := sign(t.Context(), absent); !pkcs11.IsKind(err, pkcs11.KindNoKey) {
		t.Errorf("error %v", err)
	}
}

func TestPublicOnlyKeyDoesNotLogInOrSign(t *testing.T) {
	f := newFixture(t)
	c := config(f.Path)
	c.PublicOnly = true
	k, err := host.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	if n := f.Calls("C_Login"); n > 0 {
		t.Errorf("%d logins", n)
	}
	if _, err := k.SignMessage(t.Context(), []byte("message"), crypto.SHA256); err == nil {
		t.Error("signed")
	}
}

// What the Go runtime says of a crash has registers in it, which may have a piece
// of the PIN in them. The log of calls has none of it, and the error has the signal.
func TestCrashShowsNoRegisters(t *testing.T) {
	t.Setenv("GOTRACEBACK", "crash")
	for _, rules := range [][]string{{"C_Login crash"}, {"C_OpenSession noise", "C_Login crash"}} {
		f := newFixture(t, rules...)
		var log bytes.Buffer
		c := config(f.Path)
		c.Log = debugLog(&log)
		if err := sign(t.Context(), c); !pkcs11.IsKind(err, pkcs11.KindCrash) || !strings.Contains(err.Error(), "SIGSEGV") {
			t.Errorf("%v: error %v", rules, err)
		}
		if _, after, found := strings.Cut(log.String(), "function=C_OpenSession"); !found || strings.Count(after, "\n") != 1 {
			t.Errorf("%v: the log has more than the calls:\n%s", rules, log.String())
		}
	}
}

// The log says of an answer that can't be what the error says.
func TestLogNamesAnAnswerThatCanNotBe(t *testing.T) {
	f := newFixture(t, "C_Sign#2 long 8")
	var log bytes.Buffer
	c := config(f.Path)
	c.Log = debugLog(&log)
	if err := sign(t.Context(), c); !pkcs11.IsKind(err, pkcs11.KindAnswer) {
		t.Errorf("error %v", err)
	}
	if said := log.String(); !strings.Contains(said, `wrong="the module says that its answer has a length of`) || strings.Contains(said, "CKR_GENERAL_ERROR") {
		t.Errorf("the log says:\n%s", said)
	}
}
