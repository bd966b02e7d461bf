// SPDX-License-Identifier: Apache-2.0

//go:build unix

package hosted

import (
	"bytes"
	"context"
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// terminal is the controlling terminal of this process.
type terminal struct{ *os.File }

// openTerminal fails where there is none, or where this process is in the
// background: it would be stopped when it reads.
func openTerminal() (terminal, error) {
	f, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return terminal{}, err
	}
	foreground, err := unix.IoctlGetInt(int(f.Fd()), unix.TIOCGPGRP)
	if err == nil && foreground != unix.Getpgrp() {
		err = errors.New("in the background")
	}
	if err != nil {
		f.Close()
		return terminal{}, err
	}
	return terminal{f}, nil
}

func (t terminal) reader() *os.File { return t.File }

func (t terminal) inputFd() int { return int(t.Fd()) }

// readSecret reads a line without echo, and returns it without its end. It is in
// one buffer, whose other bytes are wiped: x/term's ReadPassword leaves copies behind
// in memory. Where the input ends (Ctrl-D) the line does. When ctx ends nothing reads on:
// the next line may be the answer to another question.
func (t terminal) readSecret(ctx context.Context) ([]byte, error) {
	fd := t.inputFd()
	modes, err := unix.IoctlGetTermios(fd, readTermios)
	if err != nil {
		return nil, err
	}
	silent := *modes
	silent.Lflag &^= unix.ECHO
	silent.Lflag |= unix.ICANON | unix.ISIG
	silent.Iflag |= unix.ICRNL
	if err := unix.IoctlSetTermios(fd, writeTermios, &silent); err != nil {
		return nil, err
	}
	defer unix.IoctlSetTermios(fd, writeTermios, modes)
	return readLine(func(rest []byte) (int, error) {
		if err := awaitInput(ctx, fd); err != nil {
			return 0, err
		}
		return unix.Read(fd, rest)
	})
}

// awaitInput waits until there is something to read, by select(2): macOS has no poll(2)
// of terminals.
func awaitInput(ctx context.Context, fd int) error {
	if fd >= unix.FD_SETSIZE {
		return unix.EMFILE
	}
	for ctx.Err() == nil {
		var files unix.FdSet
		files.Set(fd)
		n, err := unix.Select(fd+1, &files, nil, nil, &unix.Timeval{Usec: 50_000})
		if n > 0 || err != nil {
			return err
		}
	}
	return ctx.Err()
}

// readLine reads up to the end of a line, or of the input.
func readLine(read func([]byte) (int, error)) ([]byte, error) {
	buffer := make([]byte, 4<<10) // the longest line of a terminal
	_ = unix.Mlock(buffer)        // where a limit forbids that, the PIN's own lock says so
	for length := 0; length < len(buffer); {
		n, err := read(buffer[length:])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			clear(buffer)
			return nil, err
		}
		line, _, ended := bytes.Cut(buffer[:length+n], []byte("\n"))
		length += n
		if ended || n == 0 {
			clear(buffer[len(line):])
			return line, nil
		}
	}
	clear(buffer)
	return nil, errors.New("the line is too long")
}
