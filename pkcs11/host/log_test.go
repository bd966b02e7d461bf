// SPDX-License-Identifier: Apache-2.0

//go:build linux

package host_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

func TestNoiseGoesToTheLogAlone(t *testing.T) {
	f := newFixture(t, "load noise", "C_Initialize noise", "C_Login noise", "C_Sign noise", "C_Finalize noise", "unload noise")
	var log bytes.Buffer
	c := config(f.Path)
	c.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if err := sign(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"printed by the module", "function=C_Sign rv=CKR_OK duration=", "function=dlclose"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log lacks %q", want)
		}
	}
	if strings.Contains(log.String(), testenv.UserPIN) {
		t.Error("the log has the PIN")
	}
}

// What the Go runtime says of a crash has registers in it, which may have a piece
// of the PIN in them, whether or not the module ended its line before.
func TestCrashShowsNoRegisters(t *testing.T) {
	t.Setenv("GOTRACEBACK", "crash")
	for _, rules := range [][]string{{"C_Login crash"}, {"C_OpenSession noise", "C_Login crash"}} {
		f := newFixture(t, rules...)
		var log bytes.Buffer
		c := config(f.Path)
		c.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		if err := sign(t.Context(), c); !pkcs11.IsKind(err, pkcs11.KindCrash) || !strings.Contains(err.Error(), "SIGSEGV") {
			t.Errorf("%v: error %v", rules, err)
		}
		if _, after, found := strings.Cut(log.String(), "SIGSEGV"); !found || strings.Count(after, "\n") != 1 {
			t.Errorf("%v: the log has more than the signal:\n%s", rules, log.String())
		}
	}
}

// The log says of an answer that can't be what the error says.
func TestLogNamesAnAnswerThatCanNotBe(t *testing.T) {
	f := newFixture(t, "C_Sign#2 long 8")
	var log bytes.Buffer
	c := config(f.Path)
	c.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if err := sign(t.Context(), c); !pkcs11.IsKind(err, pkcs11.KindAnswer) {
		t.Errorf("error %v", err)
	}
	if said := log.String(); !strings.Contains(said, `wrong="the module says that its answer has a length of`) || strings.Contains(said, "CKR_GENERAL_ERROR") {
		t.Errorf("the log says:\n%s", said)
	}
}
