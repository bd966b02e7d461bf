// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"slices"
	"testing"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

// newTerminal makes a terminal and returns where a person would sit, and the end
// that is for a process.
func newTerminal(t *testing.T) (person, end *os.File) {
	t.Helper()
	person, end, err := testenv.NewTerminal()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { person.Close() })
	return person, end
}

// onTerminal has a command run on a terminal: it becomes that of a session whose
// leader opens it. What is done to the command before strace is undone by sudo,
// which runs strace on a terminal of its own, in the background.
func onTerminal(t *testing.T, cmd *exec.Cmd, name string) {
	t.Helper()
	setsid, err := exec.LookPath("setsid")
	if err != nil {
		t.Fatal(err)
	}
	cmd.Args = slices.Concat([]string{setsid, "sh", "-c", `: <"$0"; exec "$@"`, name, cmd.Path}, cmd.Args[1:])
	cmd.Path = setsid
}

// typePIN waits for the question, and answers.
func typePIN(terminal *os.File, pin string) {
	var asked []byte
	chunk := make([]byte, 1<<10)
	for !bytes.Contains(asked, []byte("PIN of the token")) || !bytes.HasSuffix(asked, []byte(": ")) {
		n, err := terminal.Read(chunk)
		if err != nil {
			return // it ended without a question, and the test says so
		}
		asked = append(asked, chunk[:n]...)
	}
	io.WriteString(terminal, pin+"\n")
}
