// SPDX-License-Identifier: Apache-2.0

//go:build linux || darwin

package companion

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// grace is how long a companion that isn't wanted any more may clean up.
const grace = 5 * time.Second

// Start starts the companion, answers what it asks, and returns what it says when
// it is ready. When ctx ends before, it is ended (SIGTERM), and whatever Answer does
// then is waited for. It is a child of this process and of what that becomes.
func Start(ctx context.Context, c Config) (ready []byte, err error) {
	toChild, fromParent, err := pipe()
	if err != nil {
		return nil, err
	}
	defer toChild.Close()
	toParent, fromChild, err := pipe()
	if err != nil {
		fromParent.Close()
		return nil, err
	}
	defer fromChild.Close()
	files := []*os.File{fromParent, toParent}
	if self := self(); self != nil {
		files = append(files, self)
	}
	cmd := &exec.Cmd{
		Path:        "/proc/self/exe", // this very file, even if another one has taken its name
		Args:        append([]string{os.Args[0]}, c.Args...),
		Env:         c.Env,
		ExtraFiles:  files,
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	if runtime.GOOS != "linux" {
		cmd.Path, err = os.Executable()
	}
	if err == nil {
		err = cmd.Start()
	}
	for _, f := range files {
		f.Close() // the child has its own copies by now
	}
	if err != nil {
		return nil, err
	}
	end := func() {
		cmd.Process.Signal(syscall.SIGTERM)
		time.AfterFunc(grace, func() { cmd.Process.Kill() }) // nothing, once it was waited for
	}
	stop := context.AfterFunc(ctx, end)
	ready, err = serve(fromChild, toChild, c.Answer)
	if !stop() { // it was killed
		err = context.Cause(ctx)
	}
	if err != nil {
		end()
		cmd.Wait()
		return nil, err
	}
	return ready, cmd.Process.Release()
}

func pipe() (write, read *os.File, err error) {
	read, write, err = os.Pipe()
	return write, read, err
}

// serve answers until the companion is ready.
func serve(from, to *os.File, answer func([]byte) ([]byte, []byte)) ([]byte, error) {
	for {
		t, body, err := read(from)
		if err != nil {
			return nil, fmt.Errorf("the agent's process ended before it was ready: %w", err)
		}
		switch t {
		case frameReady:
			return body, nil
		case frameFailed:
			return nil, &FailedError{body}
		case frameAsk:
			secret, refusal := answer(body)
			if refusal != nil {
				err = write(to, frameRefusal, refusal)
			} else {
				err = write(to, frameAnswer, secret)
			}
			clear(secret)
		default:
			err = errors.New("the agent's process said what is not of the protocol")
		}
		if err != nil {
			return nil, err
		}
	}
}

// Become turns the process into a command. It returns only if that can't be done.
// Signals that this process was started with as ignored are ignored there.
// A script without a line that names its interpreter is the shell's, as execvp(3)
// has it.
func Become(path string, arguments, env []string) error {
	ignoreAsBefore()
	err := syscall.Exec(path, arguments, env)
	if errors.Is(err, syscall.ENOEXEC) {
		err = syscall.Exec("/bin/sh", append([]string{"sh", path}, arguments[1:]...), env)
	}
	return err
}
