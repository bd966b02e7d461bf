// SPDX-License-Identifier: Apache-2.0

// Package program runs other people's programs, such as credential helpers and plugins,
// so that none outlives the work that it was started for.
//
// Start with [Output].
package program

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"time"
)

// drain is how long output is waited for after a program has ended: a child of it may
// hold its streams.
const drain = time.Second

// Output runs a program with an input and returns what it writes, at most limit bytes on
// each stream. When the context ends, the program is killed, and, unless there is a
// terminal that it may ask a person on, all that it started in its process group. The
// error is the context's then. An exit status other than 0 is an [*exec.ExitError].
func Output(ctx context.Context, limit int, input []byte, name string, args ...string) (stdout, stderr []byte, err error) {
	out, errs := &bounded{left: limit}, &bounded{left: limit}
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), out, errs
	cmd.WaitDelay = drain
	inGroup(cmd)
	err = cmd.Run()
	if errors.Is(err, exec.ErrWaitDelay) { // it ended well, and left a child that holds its streams
		err = nil
	}
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("%s was ended: %w", name, context.Cause(ctx))
	}
	return out.content.Bytes(), errs.content.Bytes(), err
}

// bounded keeps what is written to it, up to a length.
type bounded struct {
	content bytes.Buffer // not embedded: its ReadFrom has no bound
	left    int
}

// Write implements io.Writer.
func (b *bounded) Write(p []byte) (int, error) {
	if b.left -= len(p); b.left < 0 {
		return 0, errors.New("it writes more than is read of it")
	}
	return b.content.Write(p)
}
