// SPDX-License-Identifier: Apache-2.0

package host

import (
	"os"
	"os/exec"
	"slices"
	"strconv"
	"syscall"
)

// marker is the argument by which the child knows what it is. The handles of
// what it inherits follow.
const marker = "module-host"

func isChild() bool { return len(os.Args) == 5 && os.Args[1] == marker }

// asked returns no walls: there are none on Windows.
func asked() string { return "" }

// inherited returns the child's ends of the pipes, and the recorder's file.
func inherited() (in, out, calls *os.File, err error) {
	var files [3]*os.File
	for i, want := range []uint32{syscall.FILE_TYPE_PIPE, syscall.FILE_TYPE_PIPE, syscall.FILE_TYPE_DISK} {
		handle, err := strconv.ParseUint(os.Args[2+i], 10, strconv.IntSize)
		if err != nil {
			return nil, nil, nil, err
		}
		if kind, err := syscall.GetFileType(syscall.Handle(handle)); err != nil || kind != want {
			return nil, nil, nil, syscall.EINVAL
		}
		files[i] = os.NewFile(uintptr(handle), "inherited")
	}
	return files[0], files[1], files[2], nil
}

// inherit makes a command that runs this executable as the child with the files.
// There are no walls and no ruleset on Windows.
func inherit(_ string, files ...*os.File) (*exec.Cmd, error) {
	files = slices.DeleteFunc(files, func(f *os.File) bool { return f == nil })
	path, err := os.Executable()
	if err != nil {
		return nil, err
	}
	arguments := []string{os.Args[0], marker}
	var handles []syscall.Handle
	for _, f := range files {
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

// exit ends the child.
func exit() { os.Exit(0) }

// awaitEnd waits for the child's end. Its number stays taken as long as a handle is
// open.
func awaitEnd(child *exec.Cmd) {
	// There is a handle until the child is reaped.
	child.Process.WithHandle(func(handle uintptr) { syscall.WaitForSingleObject(syscall.Handle(handle), syscall.INFINITE) })
}

// kill ends the child.
func kill(p *os.Process) { p.Kill() }
