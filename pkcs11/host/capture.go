// SPDX-License-Identifier: Apache-2.0

package host

import (
	"bytes"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/notation-pkcs11/notation-pkcs11/internal/lazyregexp"
)

// capture takes in what a module prints on stdout and stderr. It goes to the module
// log, where one is asked for, and nowhere else: a module may print the PIN, in any
// form.
type capture struct {
	source *os.File
	log    *slog.Logger // nil: what is printed is thrown away
	ended  chan struct{}

	mu     sync.Mutex
	signal string // the one that the Go runtime's report of a crash names
	words  lastWords
}

// maxPending bounds, in bytes, what is kept of a line that has no end.
const maxPending = 64 << 10

// captureOutput reads from source until finish.
func captureOutput(source *os.File, log *slog.Logger) *capture {
	c := &capture{source: source, log: log, ended: make(chan struct{})}
	go c.read()
	return c
}

func (c *capture) read() {
	defer close(c.ended)
	var pending []byte
	buffer := make([]byte, 4<<10)
	for {
		n, err := c.source.Read(buffer)
		pending = append(pending, buffer[:n]...)
		for {
			line, rest, ended := bytes.Cut(pending, []byte("\n"))
			if !ended {
				break
			}
			c.take(line)
			pending = rest
		}
		if len(pending) > maxPending || err != nil && len(pending) > 0 {
			c.take(pending)
			pending = nil
		}
		if err != nil {
			return
		}
	}
}

// take takes one line.
func (c *capture) take(line []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if name := deadlySignal().FindSubmatch(line); name != nil && c.signal == "" {
		c.signal = "signal " + string(name[1])
	}
	c.words.take(line)
	if c.log != nil {
		c.log.Debug("module output", "line", string(line))
	}
}

// finish ends the capture once the child is gone. What the module started may
// have inherited the pipe, so its end is not waited for.
func (c *capture) finish() {
	c.source.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	<-c.ended
	c.source.Close()
}

// causeOfDeath says how the child ended.
func (c *capture) causeOfDeath(state *os.ProcessState) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	const ofTheGoRuntime = 2 // the exit status that goes with its report
	if c.signal != "" && state.ExitCode() == ofTheGoRuntime {
		return c.signal
	}
	if killed := state.String(); killed == "signal: killed" {
		return killed + ", as by the system where a limit of memory is reached"
	}
	return state.String()
}

// deadlySignal finds what the Go runtime says of a signal in C code, such as
// "SIGSEGV: segmentation violation". These are all that it reports so.
var deadlySignal = lazyregexp.New(`(SIG(?:ABRT|BUS|EMT|FPE|ILL|QUIT|SEGV|STKFLT|SYS|TRAP)): `)
