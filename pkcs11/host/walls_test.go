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
