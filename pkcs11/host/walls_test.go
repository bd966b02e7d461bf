// SPDX-License-Identifier: Apache-2.0

//go:build linux

package host_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// The host has its pipes and nothing else to be reached by: no socket, not even
// one that was left open to the parent.
func TestHostHasNothingButItsPipes(t *testing.T) {
	f := newFixture(t)
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	stray := os.NewFile(uintptr(pair[0]), "stray")
	defer stray.Close()
	defer unix.Close(pair[1])
	p := startParent(t, os.Getuid(), f.Path, "hold", stray)
	p.awaits(t, "open")
	pid := p.host(t)

	files := allOpenFiles(t)
	allowed := []string{"/dev/null", "pipe:", "/memfd:calls", "anon_inode:[eventpoll]", "anon_inode:[eventfd]", "/sys/fs/cgroup/" /* of the Go runtime */, filepath.Dir(f.Path)}
	var pipes []string
	for fd, file := range files[pid] {
		if !slices.ContainsFunc(allowed, func(prefix string) bool { return strings.HasPrefix(file, prefix) }) {
			t.Errorf("the host has %s open, as %d", file, fd)
		}
		if strings.HasPrefix(file, "pipe:") {
			pipes = append(pipes, file)
		}
	}
	slices.Sort(pipes)
	if pipes = slices.Compact(pipes); len(pipes) != 3 {
		t.Errorf("pipes %v", pipes)
	}
	// Nobody else on this machine has an end of them.
	for other, open := range files {
		if other == pid || other == p.Process.Pid {
			continue
		}
		for _, file := range open {
			if slices.Contains(pipes, file) {
				t.Errorf("process %d has an end of the host's pipe", other)
			}
		}
	}
	if !slices.ContainsFunc(slices.Collect(maps.Values(files[p.Process.Pid])), func(file string) bool { return strings.HasPrefix(file, "socket:") }) {
		t.Error("the parent was left no socket, so that nothing was tested")
	}
}

// allOpenFiles returns what each process of this machine has open.
func allOpenFiles(t *testing.T) (files map[int]map[int]string) {
	t.Helper()
	if err := json.Unmarshal([]byte(asRoot(t, "", self(t), "lister")), &files); err != nil {
		t.Fatal(err)
	}
	return files
}

// beLister says what each process has open.
func beLister([]string) {
	links, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		fmt.Println(err)
		return
	}
	files := map[int]map[int]string{}
	for _, link := range links {
		var pid, fd int
		if _, err := fmt.Sscanf(link, "/proc/%d/fd/%d", &pid, &fd); err != nil {
			fmt.Println(err)
			return
		}
		file, err := os.Readlink(link)
		if err != nil {
			continue // it has been closed
		}
		if files[pid] == nil {
			files[pid] = map[int]string{}
		}
		files[pid][fd] = file
	}
	json.NewEncoder(os.Stdout).Encode(files)
}

// self is the path of this binary.
func self(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// asRoot runs a command as root, and returns what it says: the guard keeps even
// the same user out of the product's processes.
func asRoot(t *testing.T, stdin string, command ...string) string {
	t.Helper()
	if os.Getuid() != 0 {
		command = append([]string{"sudo", "-n"}, command...)
	}
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")} // and no secret of the test's
	cmd.Stdin = strings.NewReader(stdin)
	output, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%q failed, for which this must be root, or sudo must work without a password: %v\n%s", command, err, output)
	}
	return string(output)
}

// The ways into another process, each with an error that says it is closed.
var intrusions = map[string]func(pid int) error{
	"read its environment": func(pid int) error { return read(fmt.Sprintf("/proc/%d/environ", pid)) },
	"open its memory": func(pid int) error {
		f, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDONLY, 0)
		if err == nil {
			f.Close()
		}
		return err
	},
	"read its memory map": func(pid int) error { return read(fmt.Sprintf("/proc/%d/maps", pid)) },
	"list its files": func(pid int) error {
		_, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
		return err
	},
	"open its pipe": func(pid int) error {
		f, err := os.OpenFile(fmt.Sprintf("/proc/%d/fd/3", pid), os.O_WRONLY|syscall.O_NONBLOCK, 0)
		if err == nil {
			f.Close()
		}
		return err
	},
	"trace it": func(pid int) error {
		err := unix.PtraceSeize(pid)
		if err == nil {
			unix.PtraceDetach(pid)
		}
		return err
	},
	"copy a file of it": func(pid int) error {
		process, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			return err
		}
		defer unix.Close(process)
		fd, err := unix.PidfdGetfd(process, 3, 0)
		if err == nil {
			unix.Close(fd)
		}
		return err
	},
}

func read(path string) error {
	_, err := os.ReadFile(path)
	return err
}

// beIntruder tries all ways into the processes, and says which are open.
func beIntruder(pids []string) {
	for _, text := range pids {
		pid, err := strconv.Atoi(text)
		if err != nil {
			fmt.Println(err)
		}
		for _, way := range slices.Sorted(maps.Keys(intrusions)) {
			if err := intrusions[way](pid); !errors.Is(err, fs.ErrPermission) {
				fmt.Printf("could %s: %v\n", way, err)
			}
		}
	}
}

// Neither another user nor another process of the same user gets at the PIN in
// the host or in its parent.
func TestOtherProcessesAreKeptOut(t *testing.T) {
	const nobody, stranger = 65534, 54321
	uid, intruders := os.Getuid(), map[string]int{"the same user": os.Getuid()}
	f := newFixture(t)
	if uid == 0 { // whom nothing keeps out
		uid = nobody
		intruders = map[string]int{"the same user": nobody, "another user": stranger}
		giveTo(t, nobody, filepath.Dir(os.Getenv("SOFTHSM2_CONF")))
		giveTo(t, nobody, filepath.Join(filepath.Dir(f.Path), "../.."))
	}
	p := startParent(t, uid, f.Path, "hold")
	p.awaits(t, "open")
	pids := []string{strconv.Itoa(p.Process.Pid), strconv.Itoa(p.host(t))}
	for name, uid := range intruders {
		t.Run(name, func(t *testing.T) {
			for _, control := range []bool{false, true} {
				intruder := exec.Command("/proc/self/exe", append([]string{"intruder"}, pids...)...)
				if control { // a process that isn't guarded, so that it is known that the ways are ways
					victim := exec.Command("sleep", "60")
					victim.SysProcAttr = as(uid)
					if err := victim.Start(); err != nil {
						t.Fatal(err)
					}
					defer victim.Wait()
					defer victim.Process.Kill()
					intruder.Args = []string{"", "intruder", strconv.Itoa(victim.Process.Pid)}
				}
				intruder.SysProcAttr = as(uid)
				output, err := intruder.CombinedOutput()
				if err != nil || !control && len(output) > 0 || control && !strings.Contains(string(output), "could read its environment") {
					t.Errorf("%v: a process of %s (without a guard: %v)\n%s", err, name, control, output)
				}
			}
		})
	}
	for _, pid := range pids {
		limits, err := os.ReadFile("/proc/" + pid + "/limits")
		if err != nil || !coreLimitIsZero(string(limits)) {
			t.Errorf("core dumps of process %s are possible: %v\n%s", pid, err, limits)
		}
	}
}

func coreLimitIsZero(limits string) bool {
	for line := range strings.Lines(limits) {
		if rest, ok := strings.CutPrefix(line, "Max core file size"); ok {
			fields := strings.Fields(rest)
			return fields[0] == "0" && fields[1] == "0"
		}
	}
	return false
}

// giveTo gives another user a directory of this test and all that is in it.
func giveTo(t *testing.T, uid int, dir string) {
	t.Helper()
	if name := filepath.Base(dir); !strings.HasPrefix(name, t.Name()) && !strings.HasPrefix(name, "softhsm-") {
		t.Fatalf("%s is not of this test", dir)
	}
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(path, uid, uid))
	})
	if err != nil {
		t.Fatal(err)
	}
}

// closedAtStart is whether the process was closed to others before any Go code ran.
var closedAtStart = func() bool {
	dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	return err == nil && dumpable == 0
}()

// Go's runtime takes milliseconds to start, in which others could look.
func TestProcessIsClosedBeforeGoStarts(t *testing.T) {
	if !closedAtStart {
		t.Error("the process is open until Go closes it")
	}
}

// Root, and a process that was faster than the guard, see the names of variables
// that hold secrets, and not the secrets. What else is there stays as it was.
func TestEnvironmentThatOthersSeeHasNoSecrets(t *testing.T) {
	const pin = "471147-in-the-environment"
	f := newFixture(t)
	for _, name := range []string{"NOTATION_PKCS11_PIN", "INPUT_PIN", "GITHUB_TOKEN", "HOST_TEST_PIN"} {
		t.Setenv(name, pin)
	}
	t.Setenv("HOST_TEST_PINS", "another variable")
	p := startParent(t, os.Getuid(), f.Path, "hold")
	p.awaits(t, "open")
	environ := asRoot(t, "", "cat", fmt.Sprintf("/proc/%d/environ", p.Process.Pid))
	if strings.Contains(environ, "471147") {
		t.Errorf("the environment is shown as %q", environ)
	}
	for _, want := range []string{"NOTATION_PKCS11_PIN=\x00", "HOST_TEST_PINS=another variable\x00", "SOFTHSM2_CONF=/"} {
		if !strings.Contains(environ, want) {
			t.Errorf("the environment lacks %q: %q", want, environ)
		}
	}
}

// Programs that a module starts have no more rights than the user, whichever thread
// starts them, unless that is allowed.
func TestModuleGainsNoPrivileges(t *testing.T) {
	f := newFixture(t)
	for does, want := range map[string]string{"hold": "1", "gain": "0"} {
		p := startParent(t, os.Getuid(), f.Path, does)
		p.awaits(t, "open")
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", p.host(t)))
		if err != nil || len(tasks) < 2 {
			t.Fatalf("threads %v, %v", tasks, err)
		}
		for _, task := range tasks {
			status, err := os.ReadFile(task)
			if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
				continue // the thread ended
			}
			if err != nil || !strings.Contains(string(status), "NoNewPrivs:\t"+want+"\n") {
				t.Errorf("%s: %s: %v\n%s", does, task, err, status)
			}
		}
	}
}

// The name by which a parent was started is no matter of the host's.
func TestLongNameOfTheParentLeavesTheWalls(t *testing.T) {
	f := newFixture(t)
	name := os.Args[0]
	defer func() { os.Args[0] = name }()
	os.Args[0] = strings.Repeat("a", 1<<16)
	if err := sign(t.Context(), config(f.Path)); err != nil {
		t.Error(err)
	}
}

// The PIN is not written to swap. Where a limit forbids to lock its memory, that is
// a line in the log, of the parent and of the host, and nothing fails.
func TestPINIsLockedInMemory(t *testing.T) {
	const nobody = 65534
	f := newFixture(t)
	p := startParent(t, os.Getuid(), f.Path, "hold")
	p.awaits(t, "open")
	for _, pid := range []int{p.Process.Pid, p.host(t)} {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil || !strings.Contains(string(status), "VmLck:\t") || strings.Contains(string(status), "VmLck:\t       0 kB") {
			t.Errorf("process %d has no locked memory: %v\n%s", pid, err, status)
		}
	}
	uid := os.Getuid()
	if uid == 0 { // whom no limit binds
		uid = nobody
		giveTo(t, nobody, filepath.Dir(os.Getenv("SOFTHSM2_CONF")))
		giveTo(t, nobody, filepath.Join(filepath.Dir(f.Path), "../.."))
	}
	limited := startParent(t, uid, f.Path, "unlocked")
	var said strings.Builder
	for !strings.HasSuffix(said.String(), "\nopen\n") {
		line, err := limited.said.ReadString('\n')
		if err != nil {
			t.Fatalf("%v after %s", err, &said)
		}
		said.WriteString(line)
	}
	for _, want := range []string{"memory is not locked against swapping", "function=mlock rv=CKR_OK"} {
		if !strings.Contains(said.String(), want) {
			t.Errorf("the log lacks %q:\n%s", want, &said)
		}
	}
}
