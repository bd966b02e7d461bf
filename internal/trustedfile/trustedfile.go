// SPDX-License-Identifier: Apache-2.0

// Package trustedfile reads the files on which the safety of a signature depends.
// It refuses a file that other users of the machine could have changed, and a
// secret that they can read. The rule for all such files is here and nowhere else:
//
//   - No file is used that every user can change: by its own mode, or by the mode
//     of a directory on the way to it, symbolic links followed. In a sticky
//     directory such as /tmp users can't replace each other's entries, so it
//     passes; Kubernetes mounts its volumes with the mode 1777.
//   - A [Secret], a [Library] and a [Log] belong to root or to the user of this
//     process, and so does the entry of a sticky directory that leads to them. A Library is
//     opened a second time by its path, so its directories do, too.
//   - No secret is used that every user can read, unless a directory on the way, of
//     root or of the user, lets nobody else through: in volumes of Kubernetes files have the mode 0644.
//   - What a group can change is used. [Warning] names it: with the umask 002 each
//     file is so, and Debian's /usr/local/lib is writable by the group staff.
//
// Access control lists are not looked at. On Windows, where modes mean nothing,
// a file must be a regular one, and that is all.
package trustedfile

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
)

// Kind is what a file is used for.
type Kind int

const (
	// Secret is a PIN or a private key.
	Secret Kind = iota
	// Library is code that is loaded, such as a PKCS#11 module.
	Library
	// Public is what is no secret and is believed: a certificate, a trust policy.
	Public
	// Log is what this process writes to a file that may be there already.
	Log
)

// Error says why a file is not used, as what follows the file's name in a
// sentence: "is not a regular file". What the operating system refuses has its
// own error, an *fs.PathError.
type Error struct {
	Reason string
	// Unsafe is true where other users could have changed the file, or can read a
	// secret. The reason then has the command that keeps them out.
	Unsafe bool
}

// Error implements error.
func (e *Error) Error() string { return e.Reason }

func refuse(format string, arguments ...any) error {
	return &Error{Reason: fmt.Sprintf(format, arguments...), Unsafe: true}
}

// Read returns what is in a file of at most most bytes, such as
// Read("/run/secrets/pin", Secret, 4096). What is checked is the file that was
// opened, and that one is read. It never waits for a writer, as a named pipe's
// reader would.
func Read(path string, kind Kind, most int64) ([]byte, error) {
	f, err := open(path, kind)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	// One buffer of the right size: one that grows leaves copies of a secret behind.
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	content := make([]byte, min(max(info.Size(), 0), most)+1)
	n, err := io.ReadFull(f, content)
	switch {
	case err == nil && int64(n) > most:
		return nil, &Error{Reason: fmt.Sprintf("is longer than %d bytes", most)}
	case err == nil:
		return nil, &Error{Reason: "grew while it was read"}
	case err != io.EOF && err != io.ErrUnexpectedEOF:
		return nil, err
	}
	return content[:n], nil
}

// ReadNamed is Read with an error that begins with the path.
func ReadNamed(path string, kind Kind, most int64) ([]byte, error) {
	content, err := Read(path, kind, most)
	if refused := (*Error)(nil); errors.As(err, &refused) {
		return nil, fmt.Errorf("%s %w", path, err)
	}
	return content, err
}

// Check returns the error that Read would return for the file at a path, but for
// its length. It is for files that something else opens, such as the dynamic
// linker.
func Check(path string, kind Kind) error {
	f, err := open(path, kind)
	if err != nil {
		return err
	}
	return f.Close()
}

// CheckOpen holds a file that is open, under the path by which it was opened,
// against the rule.
func CheckOpen(f *os.File, kind Kind) error {
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &Error{Reason: "is not a regular file"}
	}
	if err != nil {
		return err
	}
	return check(f.Name(), info, kind)
}

// open opens a file and checks what it has open.
func open(path string, kind Kind) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // opening a pipe could block for ever
	if err != nil {
		return nil, err
	}
	if err := CheckOpen(f, kind); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// quoted returns a file's name as one word of a command that is to be typed.
func quoted(path string) string { return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'" }
