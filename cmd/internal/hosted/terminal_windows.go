// SPDX-License-Identifier: Apache-2.0

package hosted

import (
	"context"
	"errors"
	"os"

	"golang.org/x/sys/windows"
	"golang.org/x/term"
)

// terminal is the console of this process, whose two directions have names of
// their own.
type terminal struct{ input, output *os.File }

func openTerminal() (terminal, error) {
	input, err := os.OpenFile("CONIN$", os.O_RDWR, 0)
	if err != nil {
		return terminal{}, err
	}
	output, err := os.OpenFile("CONOUT$", os.O_RDWR, 0)
	if err != nil {
		return terminal{}, errors.Join(err, input.Close())
	}
	return terminal{input, output}, nil
}

func (t terminal) reader() *os.File { return t.input }

func (t terminal) inputFd() int { return int(t.input.Fd()) }

func (t terminal) Write(p []byte) (int, error) { return t.output.Write(p) }

func (t terminal) Close() error { return errors.Join(t.input.Close(), t.output.Close()) }

// discardInput throws away what was typed and not read.
func (t terminal) discardInput() error {
	return windows.FlushConsoleInputBuffer(windows.Handle(t.inputFd()))
}

// readSecret reads a line without echo. When ctx ends it returns, and what reads ends with
// the process.
func (t terminal) readSecret(ctx context.Context) ([]byte, error) {
	state, err := term.GetState(t.inputFd())
	if err != nil {
		return nil, err
	}
	type typed struct {
		secret []byte
		err    error
	}
	done := make(chan typed, 1)
	go func() {
		secret, err := term.ReadPassword(t.inputFd())
		done <- typed{secret, err}
	}()
	select {
	case <-ctx.Done():
		return nil, errors.Join(ctx.Err(), term.Restore(t.inputFd(), state))
	case answer := <-done:
		return answer.secret, answer.err
	}
}
