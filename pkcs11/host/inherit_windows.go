// SPDX-License-Identifier: Apache-2.0

package host

import (
	"os"
	"os/exec"
	"strconv"
	"syscall"
)

// marker is the argument by which the child knows what it is. The handles of
// its ends of the pipes follow.
const marker = "module-host"

func isChild() bool { return len(os.Args) == 4 && os.Args[1] == marker }

// childPipes returns the child's ends.
func childPipes() (in, out *os.File, err error) {
	var ends [2]*os.File
	for i, argument := range os.Args[2:] {
		handle, err := strconv.ParseUint(argument, 10, strconv.IntSize)
		if err != nil {
			return nil, nil, err
		}
		if kind, err := syscall.GetFileType(syscall.Handle(handle)); err != nil || kind != syscall.FILE_TYPE_PIPE {
			return nil, nil, syscall.EINVAL
		}
		ends[i] = os.NewFile(uintptr(handle), "pipe")
	}
	return ends[0], ends[1], nil
}

// inherit makes a command that runs this executable as the child with the ends
// of the pipes.
func inherit(in, out *os.File) (*exec.Cmd, error) {
	path, err := os.Executable()
	if err != nil {
		return nil, err
	}
	arguments := []string{os.Args[0], marker}
	var handles []syscall.Handle
	for _, f := range []*os.File{in, out} {
		handle := syscall.Handle(f.Fd())
		if err := syscall.SetHandleInformation(handle, syscall.HANDLE_FLAG_INHERIT, syscall.HANDLE_FLAG_INHERIT); err != nil {
			return nil, err
		}
		handles = append(handles, handle)
		arguments = append(arguments, strconv.FormatUint(uint64(handle), 10))
	}
	return &exec.Cmd{
		Path: path,
		Args: arguments,
		SysProcAttr: &syscall.SysProcAttr{
			AdditionalInheritedHandles: handles,
			CreationFlags:              syscall.CREATE_NEW_PROCESS_GROUP,
		},
	}, nil
}

// kill ends the child.
func kill(p *os.Process) { p.Kill() }

func disableCoreDumps() {} // Windows writes none by itself
