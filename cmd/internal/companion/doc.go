// SPDX-License-Identifier: Apache-2.0

// Package companion is for a program that becomes another one, and leaves a child
// behind that works for it until it ends, as ssh-agent does it with a command.
//
// The parent [Start]s the companion, which is the same executable in a session of
// its own, answers its questions, and once it is ready [Become]s the command: a
// process that stayed in between would lose signals, exit statuses and job control.
// The companion is [Inherited] in the child. Linux and macOS have it.
package companion

// Config says how a companion is started.
type Config struct {
	// Args are its arguments, without the program's name.
	Args []string
	// Env is its environment.
	Env []string
	// Answer answers its questions, each of which is a JSON document. The answer is
	// sent as it is and wiped; an error's text goes instead, with refusal in front.
	Answer func(question []byte) (answer []byte, refusal []byte)
}

// FailedError is what a companion said instead of being ready.
type FailedError struct{ Document []byte }

// Error implements error.
func (*FailedError) Error() string { return "the companion is not ready" }
