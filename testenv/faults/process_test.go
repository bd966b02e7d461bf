// SPDX-License-Identifier: Apache-2.0

package faults_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/pkcs11"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/faults"
)

// What can't be survived is shown in a child: the test's own executable, which
// signs once with the module at this path, or calls it from two threads.
const (
	childModule  = "FAULTS_TEST_MODULE"
	childSlot    = "FAULTS_TEST_SLOT"
	childThreads = "FAULTS_TEST_THREADS"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(childModule); path != "" {
		if err := signOnce(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// signOnce makes each call that a signature takes, from loading the module to
// unloading it.
func signOnce(path string) (err error) {
	slot, err := strconv.ParseUint(os.Getenv(childSlot), 10, 0)
	if err != nil {
		return err
	}
	ctx := pkcs11.New(path)
	if ctx == nil {
		return errors.New("can't load the module")
	}
	defer ctx.Destroy()
	if os.Getenv(childThreads) != "" {
		if err := ctx.Initialize(pkcs11.InitializeWithFlags(0)); err != nil {
			return fmt.Errorf("C_Initialize: %w", err)
		}
		var group sync.WaitGroup
		for range 2 {
			group.Go(func() { _, _ = ctx.GetInfo() })
		}
		group.Wait()
		return ctx.Finalize()
	}
	if err := ctx.Initialize(); err != nil {
		return fmt.Errorf("C_Initialize: %w", err)
	}
	defer func() { err = errors.Join(err, ctx.Finalize()) }()
	session, err := ctx.OpenSession(uint(slot), pkcs11.CKF_SERIAL_SESSION)
	if err != nil {
		return fmt.Errorf("C_OpenSession: %w", err)
	}
	defer func() { err = errors.Join(err, ctx.CloseSession(session)) }()
	if err := ctx.Login(session, pkcs11.CKU_USER, testenv.UserPIN); err != nil {
		return fmt.Errorf("C_Login: %w", err)
	}
	defer func() { err = errors.Join(err, ctx.Logout(session)) }()
	err = ctx.FindObjectsInit(session, []*pkcs11.Attribute{
		ofClass(pkcs11.CKO_PRIVATE_KEY), pkcs11.NewAttribute(pkcs11.CKA_LABEL, "EC-256")})
	if err != nil {
		return fmt.Errorf("C_FindObjectsInit: %w", err)
	}
	keys, _, err := ctx.FindObjects(session, 1)
	if err != nil || len(keys) != 1 {
		return fmt.Errorf("C_FindObjects: %d objects: %w", len(keys), err)
	}
	if err := ctx.FindObjectsFinal(session); err != nil {
		return fmt.Errorf("C_FindObjectsFinal: %w", err)
	}
	if err := ctx.SignInit(session, []*pkcs11.Mechanism{ecdsaDigest}, keys[0]); err != nil {
		return fmt.Errorf("C_SignInit: %w", err)
	}
	if _, err := ctx.Sign(session, digest); err != nil {
		return fmt.Errorf("C_Sign: %w", err)
	}
	return nil
}

// child returns the command of a child that uses the module.
func child(ctx context.Context, module *faults.Module, token *testenv.Token) *exec.Cmd {
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(append(os.Environ(), module.Env()...), token.Env()...)
	cmd.Env = append(cmd.Env, childModule+"="+module.Path, childSlot+"="+strconv.FormatUint(uint64(token.Slot), 10))
	cmd.WaitDelay = time.Second
	return cmd
}

type ended struct {
	status         int
	stdout, stderr string
}

// runChild runs a child to its end, env added to its environment.
func runChild(t *testing.T, module *faults.Module, token *testenv.Token, env ...string) ended {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var stdout, stderr bytes.Buffer
	cmd := child(ctx, module, token)
	cmd.Env = append(cmd.Env, env...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return ended{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// unreturned returns the names of the calls that have not come back.
func unreturned(t *testing.T, module *faults.Module) []string {
	t.Helper()
	calls, err := module.Journal()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, call := range calls {
		if !call.Returned {
			names = append(names, call.Name)
		}
	}
	return names
}

func TestChildSigns(t *testing.T) {
	t.Parallel()
	module, token := newModule(t)
	if got := runChild(t, module, token); got != (ended{}) {
		t.Errorf("child ended with %+v", got)
	}
	if names := unreturned(t, module); names != nil {
		t.Errorf("%v did not come back", names)
	}
	for _, name := range []string{"load", "C_GetFunctionList", "C_Initialize", "C_Login", "C_Logout", "C_CloseSession",
		"C_Finalize", "unload"} {
		if n := module.Calls(name); n != 1 {
			t.Errorf("%s was called %d times, want 1", name, n)
		}
	}
}

func TestProcessDiesInCall(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		rule   string
		status int
		stderr string // the start of what Go says of the signal
	}{
		{"load crash", 2, "SIGSEGV: segmentation violation"},
		{"C_GetFunctionList crash", 2, "SIGSEGV: segmentation violation"},
		{"C_Initialize crash", 2, "SIGSEGV: segmentation violation"},
		{"C_Sign#2 crash", 2, "SIGSEGV: segmentation violation"},
		{"C_Sign#2 after crash", 2, "SIGSEGV: segmentation violation"},
		{"C_Finalize crash", 2, "SIGSEGV: segmentation violation"},
		{"unload crash", 2, "SIGSEGV: segmentation violation"},
		{"C_Login abort", 2, "SIGABRT: abort"},
		{"load exit 3", 3, ""},
		{"C_OpenSession exit 0", 0, ""},
		{"C_Logout after exit 255", 255, ""},
		{"unload exit 4", 4, ""},
	} {
		t.Run(test.rule, func(t *testing.T) {
			t.Parallel()
			module, token := newModule(t, test.rule)
			got := runChild(t, module, token)
			if got.status != test.status || (test.stderr == "") != (got.stderr == "") || !strings.Contains(got.stderr, test.stderr) {
				t.Errorf("child ended with %+v", got)
			}
			function, _, _ := strings.Cut(strings.Fields(test.rule)[0], "#")
			if names := unreturned(t, module); len(names) != 1 || names[0] != function {
				t.Errorf("%v did not come back, want %s", names, function)
			}
		})
	}
}

func TestHangEndsBySIGKILLAlone(t *testing.T) {
	t.Parallel()
	for _, rule := range []string{"load hang", "C_OpenSession hang", "C_Login hang", "C_Sign#2 after hang", "unload hang"} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			function, _, _ := strings.Cut(strings.Fields(rule)[0], "#")
			module, token := newModule(t, rule)
			cmd := child(t.Context(), module, token)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			done := make(chan error, 1)
			go func() { done <- cmd.Wait() }()
			waitUntil(t, func() bool { return ignoresSIGTERM(cmd.Process.Pid) })
			if names := unreturned(t, module); len(names) != 1 || names[0] != function {
				t.Errorf("%v did not come back, want %s", names, function)
			}
			for _, polite := range []os.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
				if err := cmd.Process.Signal(polite); err != nil {
					t.Fatal(err)
				}
			}
			select {
			case err := <-done:
				t.Fatalf("child ended: %v", err)
			case <-time.After(300 * time.Millisecond):
			}
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			var exit *exec.ExitError
			if err := <-done; !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
				t.Errorf("child ended with %v", err)
			}
		})
	}
}

// ignoresSIGTERM reads the mask of signals that a process ignores. The last of
// its 64 bits is signal 1.
func ignoresSIGTERM(pid int) bool {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(status), "SigIgn:\t")
	hex, _, _ := strings.Cut(rest, "\n")
	mask, err := strconv.ParseUint(hex, 16, 64)
	return err == nil && mask&(1<<(syscall.SIGTERM-1)) != 0
}

// waitUntil waits for something to become true.
func waitUntil(t *testing.T, done func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it takes too long")
		}
	}
}

func TestNoise(t *testing.T) {
	t.Parallel()
	for _, rule := range []string{"load noise", "C_Initialize noise", "C_Sign after noise", "unload noise"} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			module, token := newModule(t, rule)
			got := runChild(t, module, token)
			if got.status != 0 {
				t.Errorf("child ended with %+v", got)
			}
			for name, text := range map[string]string{"stdout": got.stdout, "stderr": got.stderr} {
				if !strings.Contains(text, `{"errorCode":"ERROR",`) || !strings.HasSuffix(text, "ends no") {
					t.Errorf("%s is %q", name, text)
				}
			}
			if names := unreturned(t, module); names != nil {
				t.Errorf("%v did not come back", names)
			}
		})
	}
}

func TestNoiseOfManyKiB(t *testing.T) {
	t.Parallel()
	module, token := newModule(t, "C_Login noise 200")
	got := runChild(t, module, token)
	if got.status != 0 || len(got.stdout) < 200<<10 || len(got.stderr) < 200<<10 {
		t.Errorf("child ended with status %d, %d bytes on stdout, %d on stderr", got.status, len(got.stdout), len(got.stderr))
	}
}

func TestOverlapWhereTheModuleCantLock(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		rules []string
		want  int // calls that overlap
	}{
		{[]string{"cant-lock", "C_GetInfo delay 10000"}, 1}, // which the second call cuts short
		{[]string{"C_GetInfo delay 200"}, 0},
	} {
		module, token := newModule(t, test.rules...)
		got := runChild(t, module, token, childThreads+"=2")
		if n := module.Calls("OVERLAP"); n != test.want {
			t.Errorf("rules %q: %d calls overlap, want %d", test.rules, n, test.want)
		}
		if aborted := strings.Contains(got.stderr, "SIGABRT: abort"); aborted != (test.want > 0) {
			t.Errorf("rules %q: child ended with %+v", test.rules, got)
		}
	}
}
