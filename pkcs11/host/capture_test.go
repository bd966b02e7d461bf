// SPDX-License-Identifier: Apache-2.0

package host

import (
	"bytes"
	"log/slog"
	"os"
	"strings"
	"testing"
)

// Whatever the module printed before a report of a crash on its line, its signal is
// found; what only looks like one isn't.
func TestSignalOfACrashIsFound(t *testing.T) {
	for printed, signal := range map[string]string{
		"SIGSEGV: segmentation violation\nPC=0x7f01 m=0":                                         "signal SIGSEGV",
		"Connecting ... SIGSEGV: segmentation violation":                                         "signal SIGSEGV",
		"b: fatal error: unexpected signal\n[signal SIGBUS: bus error code=0x1 addr=0x3137]":     "signal SIGBUS",
		"SIGILL: illegal instruction\nSIGABRT: abort":                                            "signal SIGILL",
		"SIGNER: crypto user logged in\nSIGNAL-LIKE: b\nerror: SIGSEGV\nSIGsegv: no\nSIG: short": "",
	} {
		c := &capture{}
		for line := range strings.SplitSeq(printed, "\n") {
			c.take([]byte(line))
		}
		if c.signal != signal {
			t.Errorf("%q: signal %q", printed, c.signal)
		}
	}
}

// A module that prints without end takes no memory of the parent.
func TestOutputWithoutALinesEndIsBounded(t *testing.T) {
	source, printer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	c := captureOutput(source, slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	chunk := bytes.Repeat([]byte("b"), 1<<10)
	for range 4 * maxPending / len(chunk) {
		if _, err := printer.Write(chunk); err != nil {
			t.Fatal(err)
		}
	}
	printer.Close()
	<-c.ended
	lines := strings.Split(strings.TrimSuffix(log.String(), "\n"), "\n")
	for _, line := range lines {
		if len(line) > 2*maxPending {
			t.Errorf("a line of %d bytes was kept", len(line))
		}
	}
	if len(lines) < 3 || strings.Count(log.String(), "b") < 4*maxPending {
		t.Errorf("%d lines of %d bytes", len(lines), log.Len())
	}
	source.Close()
}
