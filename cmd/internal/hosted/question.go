// SPDX-License-Identifier: Apache-2.0

package hosted

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"
)

// CanAsk reports whether there is a terminal with somebody in front of it.
func CanAsk() bool {
	tty, err := openTerminal()
	if err == nil {
		tty.Close()
	}
	return err == nil
}

// AskYes asks a question on the controlling terminal, and returns an error unless
// the answer is y or yes. What was typed before the question is no answer. When ctx ends
// it returns, and the next line that is typed is thrown away.
func AskYes(ctx context.Context, question string) error {
	tty, err := openTerminal()
	if err != nil {
		return errors.New("there is no terminal to ask on")
	}
	defer tty.Close()
	if err := tty.discardInput(); err != nil { // an answer to what nobody has read yet is none
		return fmt.Errorf("what was typed before can't be told from an answer: %w", err)
	}
	fmt.Fprintf(tty, "%s [y/N] ", question)
	answers := make(chan string, 1)
	go func() { // can't be interrupted
		line, _ := bufio.NewReader(tty.reader()).ReadString('\n')
		answers <- line
	}()
	select {
	case <-ctx.Done():
		fmt.Fprintln(tty)
		return errors.New("no answer came in time")
	case answer := <-answers:
		switch strings.ToLower(strings.TrimSpace(answer)) {
		case "y", "yes":
			return nil
		}
		return errors.New("the answer was no")
	}
}
