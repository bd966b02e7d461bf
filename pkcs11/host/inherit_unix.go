// SPDX-License-Identifier: Apache-2.0

//go:build unix

package host

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// What the child inherits after stdin, stdout and stderr. A ruleset may follow.
const (
	childIn = 3 + iota
	childOut
	childCalls
)

// marker is the argument by which the child knows what it is. The walls follow.
// The program's name before it isn't that of the parent, which may be as long as its
// parent likes: the child reads the first bytes of its arguments before Go starts.
const (
	program = "notation-pkcs11"
	marker  = "module-host"
)

func isChild() bool { return len(os.Args) > 1 && os.Args[1] == marker }

// asked returns the walls that the parent asked for.
func asked() string {
	if len(os.Args) != 3 {
		return ""
	}
	return os.Args[2]
}

// inherited returns the child's ends of the pipes, and the recorder's file.
func inherited() (in, out, calls *os.File, err error) {
	for fd, want := range map[int]uint32{childIn: unix.S_IFIFO, childOut: unix.S_IFIFO, childCalls: unix.S_IFREG} {
		var stat unix.Stat_t
		if err := unix.Fstat(fd, &stat); err != nil {
			return nil, nil, nil, err
		}
		if uint32(stat.Mode)&unix.S_IFMT != want {
			return nil, nil, nil, errors.New("not what a parent would have handed on")
		}
	}
	return os.NewFile(childIn, "requests"), os.NewFile(childOut, "replies"), os.NewFile(childCalls, "calls"), nil
}

// inherit makes a command that runs this executable as the child with walls and
// the files; the last one, the ruleset, may be nil. It leads a process group, so
// that what the module starts can be killed with it, and the terminal's signals
// reach only the parent.
func inherit(walls string, files ...*os.File) (*exec.Cmd, error) {
	files = slices.DeleteFunc(files, func(f *os.File) bool { return f == nil })
	path := "/proc/self/exe" // this very file, even if another one has taken its name
	if runtime.GOOS != "linux" {
		var err error
		if path, err = os.Executable(); err != nil {
			return nil, err
		}
	}
	return &exec.Cmd{
		Path:        path,
		Args:        []string{program, marker, walls},
		ExtraFiles:  files,
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true},
	}, nil
}

// exit ends the child, with what the module started: it leads their group. Where
// strace does, it has yet to write what it saw.
func exit() {
	if strings.Contains(os.Args[len(os.Args)-1], wallTraced) {
		os.Exit(0)
	}
	syscall.Kill(0, syscall.SIGKILL)
}

// kill ends the child and all that it started.
func kill(p *os.Process) {
	syscall.Kill(-p.Pid, syscall.SIGKILL)
}
