// SPDX-License-Identifier: Apache-2.0

//go:build linux

package host_test

import (
	"context"
	"crypto"
	"errors"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
	"github.com/notation-pkcs11/notation-pkcs11/pkcs11/host"
)

// What a module can do in each call is tried with the executable
// (cmd/notation-pkcs11/modulefaults_test.go). Here is what it does to the package.

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
