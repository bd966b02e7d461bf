// SPDX-License-Identifier: Apache-2.0

//go:build unix

package host

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// The child's ends of the pipes, after stdin, stdout and stderr.
const (
	childIn  = 3
	childOut = 4
)

// marker is the argument by which the child knows what it is.
const marker = "module-host"

func isChild() bool { return len(os.Args) == 2 && os.Args[1] == marker }

// childPipes returns the child's ends. They are not for the module's own
// children.
func childPipes() (in, out *os.File, err error) {
	for _, fd := range []int{childIn, childOut} {
		var stat unix.Stat_t
		if err := unix.Fstat(fd, &stat); err != nil {
			return nil, nil, err
		}
		if stat.Mode&unix.S_IFMT != unix.S_IFIFO {
			return nil, nil, errors.New("not a pipe")
		}
		unix.CloseOnExec(fd)
	}
	return os.NewFile(childIn, "requests"), os.NewFile(childOut, "replies"), nil
}

// inherit makes a command that runs this executable as the child with the ends
// of the pipes. It leads a process group, so that what the module starts can be
// killed with it, and the terminal's signals reach only the parent.
func inherit(in, out *os.File) (*exec.Cmd, error) {
	path := "/proc/self/exe" // this very file, even if another one has taken its name
	if runtime.GOOS != "linux" {
		var err error
		if path, err = os.Executable(); err != nil {
			return nil, err
		}
	}
	return &exec.Cmd{
		Path:        path,
		Args:        []string{os.Args[0], marker},
		ExtraFiles:  []*os.File{in, out},
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true},
	}, nil
}

// kill ends the child and all that it started.
func kill(p *os.Process) {
	syscall.Kill(-p.Pid, syscall.SIGKILL)
}

func disableCoreDumps() {
	unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
}
