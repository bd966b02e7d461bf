// SPDX-License-Identifier: Apache-2.0

package host

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
)

// A report of a crash ends the log where it begins, whatever the module printed
// before it on its line; what only looks like one doesn't.
func TestReportOfACrashIsNotLogged(t *testing.T) {
	const registers = "\nrax    0x3137343131373431\nr12    0x3731313734000000\n"
	for _, row := range []struct {
		printed, logged, signal string // a / in logged is a line's end
	}{
		{"SIGSEGV: segmentation violation\nPC=0x7f01 m=0" + registers, "SIGSEGV: ", "signal SIGSEGV"},
		{"Connecting ... SIGSEGV: segmentation violation\nPC=0x7f01 m=0" + registers, "Connecting ... SIGSEGV: ", "signal SIGSEGV"},
		{"PINSIGABRT: abort\nPC=0x7f01" + registers, "REDACTEDSIGABRT: ", "signal SIGABRT"},
		{"a\nb: PC=0x7f01 m=0" + registers, "a/b: PC=0x", ""},
		{"b: fatal error: unexpected signal\n[signal SIGBUS: bus error code=0x1 addr=0x3137]" + registers, "b: fatal error:", "signal SIGBUS"},
		{"unexpected fault address 0x3137343131373431\nfatal error: fault" + registers, "unexpected fault", ""},
		{"b: panic: 0x3137343131373431" + registers, "b: panic:", ""},
		{"b: Exception 0xc0000005 0x0 0x3137343131373431\nPC=0x7f01" + registers, "b: Exception 0x", ""},
		{strings.Repeat("b", maxLine) + "SIGILL: illegal instruction" + registers, strings.Repeat("b", maxLine), "signal SIGILL"},
		{"SIGNER: crypto user logged in\nSIGNAL-LIKE: b\nerror: SIGSEGV\nSIGsegv: no\nSIG: short\nend\n",
			"SIGNER: crypto user logged in/SIGNAL-LIKE: b/error: SIGSEGV/SIGsegv: no/SIG: short/end", ""},
	} {
		var log bytes.Buffer
		drop := func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == "line" {
				return a
			}
			return slog.Attr{}
		}
		c := &capture{log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: drop}))}
		c.hide(pkcs11.NewPIN([]byte("PIN")))
		for line := range strings.SplitSeq(strings.TrimSuffix(row.printed, "\n"), "\n") {
			c.take([]byte(line))
		}
		logged := strings.TrimSuffix(strings.NewReplacer("line=", "", `"`, "", "\n", "/").Replace(log.String()), "/")
		if logged != row.logged || c.signal != row.signal {
			t.Errorf("%.60q: logged %q, signal %q", row.printed, logged, c.signal)
		}
	}
}

// A PIN that is a piece of what a report begins with doesn't hide the report.
func TestPINDoesNotHideAReport(t *testing.T) {
	var log bytes.Buffer
	c := &capture{log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	c.hide(pkcs11.NewPIN([]byte("SEGV")))
	c.take([]byte("SIGSEGV: segmentation violation"))
	c.take([]byte("r12    0x3731"))
	if log.Len() > 0 || c.signal != "signal SIGSEGV" {
		t.Errorf("logged %q, signal %q", log.String(), c.signal)
	}
}
