// SPDX-License-Identifier: Apache-2.0

//go:build unix

package auditlog

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// writerVariable makes a test binary a writer of the log that it names.
const writerVariable = "AUDITLOG_TEST_WRITER"

func TestMain(m *testing.M) {
	if path := os.Getenv(writerVariable); path != "" {
		os.Exit(write(path, os.Args[1], os.Args[2]))
	}
	os.Exit(m.Run())
}

// write appends lines, and prints the hash of each. Its file may grow to a limit.
func write(path, count, limit string) int {
	lines, _ := strconv.Atoi(count)
	if bytes, err := strconv.ParseUint(limit, 10, 64); err == nil {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: bytes, Max: bytes}); err != nil {
			fmt.Println(err)
			return 2
		}
	}
	l, err := Open(path)
	if err != nil {
		fmt.Println(err)
		return 2
	}
	for range lines {
		hash, err := l.Append(Entry{Event: Signature, Key: strings.Repeat("k", os.Getpid()%1000)})
		if err != nil {
			fmt.Println(err)
			return 1
		}
		fmt.Println(hash)
	}
	return 0
}

// writer starts a process that appends lines.
func writer(t *testing.T, path string, lines int, limit string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, strconv.Itoa(lines), limit)
	cmd.Env = append(os.Environ(), writerVariable+"="+path)
	return cmd
}

func TestWritersOfSeveralProcessesChain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	const writers, each = 6, 20
	outputs := make([]strings.Builder, writers)
	var started []*exec.Cmd
	for i := range writers {
		cmd := writer(t, path, each, "")
		cmd.Stdout = &outputs[i]
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		started = append(started, cmd)
	}
	for i, cmd := range started {
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v: %s", err, outputs[i].String())
		}
	}
	for i := range outputs {
		for _, hash := range strings.Fields(outputs[i].String()) {
			checkChain(t, path, hash, writers*each)
		}
	}
}

// A writer that is killed leaves a torn line at most, and its lock with it.
func TestLogSurvivesKilledWriters(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	var hashes []string
	for kill := range 5 {
		cmd := writer(t, path, 1_000_000, "")
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(stdout)
		for range 1 + 3*kill {
			if !lines.Scan() {
				t.Fatal("the writer ended")
			}
			hashes = append(hashes, lines.Text())
		}
		_ = cmd.Process.Kill()
		for lines.Scan() {
			if len(lines.Text()) == len(noHash) {
				hashes = append(hashes, lines.Text())
			}
		}
		_ = cmd.Wait()
	}
	content := read(t, path)
	for _, hash := range hashes {
		if _, err := Verify(strings.NewReader(content), hash); err != nil {
			t.Fatalf("the line of %s, which was acknowledged: %v", hash, err)
		}
	}
	l := reopen(t, path)
	if _, err := Verify(strings.NewReader(read(t, path)), ""); err != nil {
		t.Error(err)
	}
	hash := mustAppend(t, l, Entry{Event: End})
	if _, err := Verify(strings.NewReader(read(t, path)), hash); err != nil {
		t.Error(err)
	}
}

// A file that may not grow is a disk that is full: the line that has no room is not
// acknowledged, and leaves nothing behind.
func TestLineWithoutRoomIsAnError(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	first := mustAppend(t, reopen(t, path), Entry{Event: Start})
	for _, room := range []int{0, 1, 100} {
		before := read(t, path)
		output, err := writer(t, path, 2, strconv.Itoa(len(before)+room)).CombinedOutput()
		if err == nil || !strings.Contains(string(output), "can't be written") || !strings.Contains(string(output), path) {
			t.Errorf("with room for %d bytes: %v: %s", room, err, output)
		}
		if after := read(t, path); after != before {
			t.Errorf("with room for %d bytes: left\n%s", room, after)
		}
	}
	checkChain(t, path, first, 1)
	checkChain(t, path, mustAppend(t, reopen(t, path), Entry{Event: End}), 2)
}

func TestLogIsOfItsUserAlone(t *testing.T) {
	l := newLog(t)
	info, err := os.Stat(l.Path())
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestFilesThatAreNoSafeLogAreRefused(t *testing.T) {
	for _, row := range []struct{ name, change, path, says string }{
		{"a symbolic link", "touch log; ln -s log link", "link", "symbolic link"},
		{"a link to nothing", "ln -s nothing link", "link", "symbolic link"},
		{"a directory", "mkdir log", "log", "is a directory"},
		{"a pipe", "mkfifo log", "log", "not a regular file"},
		{"a device", "", "/dev/full", "not a regular file"},
		{"no such directory", "", "no/log", "no such file"},
		{"writable by all", "touch log; chmod 622 log", "log", "can be changed by every user"},
		{"writable by the group", "touch log; chmod 620 log", "log", "chmod g-w"},
		{"in an open directory", "mkdir open; chmod 777 open", "open/log", "can be changed by every user"},
		{"of another user", "touch log; ${AS_ROOT} chown 54321 log; ${AS_ROOT} chmod 606 log", "log", ""},
		{"another file", "echo hello > log; chmod 600 log", "log", "is not an audit log"},
		{"another JSON file", `echo '{"version":1}' > log; chmod 600 log`, "log", "is not an audit log"},
	} {
		dir := t.TempDir()
		shell := exec.Command("sh", "-ec", row.change)
		shell.Dir = dir
		if os.Getuid() != 0 {
			shell.Env = append(os.Environ(), "AS_ROOT=sudo -n") // who else can give files away
		}
		if output, err := shell.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", row.name, err, output)
		}
		path := row.path
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		l, err := Open(path)
		if err == nil {
			l.Close()
		}
		if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), row.says) {
			t.Errorf("%s: error %v, want one that says %q", row.name, err, row.says)
		}
	}
}

// Auditors may read it.
func TestLogThatOthersCanReadIsTaken(t *testing.T) {
	l := newLog(t)
	if err := os.Chmod(l.Path(), 0o644); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, reopen(t, l.Path()), Entry{Event: Signature})
}
