// SPDX-License-Identifier: Apache-2.0

//go:build linux

package host_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
)

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
	f := newFixture(t, "C_Sign#1 long 8")
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
