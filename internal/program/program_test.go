// SPDX-License-Identifier: Apache-2.0

//go:build unix

package program

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestOutput(t *testing.T) {
	out, errs, err := Output(t.Context(), 100, []byte("in"), "sh", "-c", "cat; echo err >&2; exit 3")
	var status *exec.ExitError
	if string(out) != "in" || string(errs) != "err\n" || !errors.As(err, &status) || status.ExitCode() != 3 {
		t.Errorf("%q, %q, %v", out, errs, err)
	}
	if _, _, err := Output(t.Context(), 3, nil, "sh", "-c", "echo four"); err == nil {
		t.Error("there is no bound")
	}
}

// A program that hangs ends with its work, and so does its child.
func TestProgramEndsWithItsWork(t *testing.T) {
	for name, script := range map[string]string{"itself": "echo $$ > PID; exec sleep 600", "its child": "sleep 600 & echo $! > PID; wait"} {
		file := filepath.Join(t.TempDir(), "pid")
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() {
			_, _, err := Output(ctx, 100, nil, "sh", "-c", strings.ReplaceAll(script, "PID", file))
			ended <- err
		}()
		var pid int
		for pid == 0 {
			content, _ := os.ReadFile(file) // until it is there
			pid, _ = strconv.Atoi(strings.TrimSpace(string(content)))
			time.Sleep(10 * time.Millisecond)
		}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
		if terminal, err := os.Open("/dev/tty"); err == nil && name != "itself" {
			terminal.Close()
			syscall.Kill(pid, syscall.SIGKILL) // by design the child is left then
			continue
		}
		for syscall.Kill(pid, 0) == nil && !isZombie(pid) {
			time.Sleep(10 * time.Millisecond) // until the test's own deadline
		}
	}
}

// isZombie reports whether a process has ended and nobody has waited for it: a child of
// a killed program is left to init.
func isZombie(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err == nil && strings.Contains(string(stat), ") Z ")
}

// A program that ends well, and leaves a child with its streams, is not waited for.
func TestChildThatHoldsTheStreams(t *testing.T) {
	start := time.Now()
	out, _, err := Output(t.Context(), 100, nil, "sh", "-c", "echo done; sleep 30 &")
	if string(out) != "done\n" || err != nil {
		t.Errorf("%q, %v", out, err)
	}
	if took := time.Since(start); took > 25*time.Second {
		t.Errorf("it took %v", took)
	}
}
