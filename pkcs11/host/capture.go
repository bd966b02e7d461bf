// SPDX-License-Identifier: Apache-2.0

package host

import (
	"bytes"
	"log/slog"
	"os"
	"regexp"
	"sync"
	"time"

	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
)

// capture takes in what a module prints on stdout and stderr. It goes to the
// log, without the PIN, and nowhere else.
type capture struct {
	source *os.File
	log    *slog.Logger
	ended  chan struct{}

	mu     sync.Mutex
	pins   []pkcs11.PIN
	muted  bool   // from the Go runtime's report of a crash on
	signal string // the one that it names
	words  lastWords
}

// Bounds in bytes: of what is logged of a line, and of what is kept of one that
// has no end, so that a PIN in it is found in one piece.
const (
	maxLine    = 1 << 10
	maxPending = 64 << 10
)

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

// take takes one line. Of a report of a crash only what it begins with is logged:
// it has the registers, and in C_Login those can hold a piece of the PIN. Before
// it on its line stands what the module printed without a line's end.
func (c *capture) take(line []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if name := deadlySignal.FindSubmatch(line); name != nil && c.signal == "" {
		c.signal = "signal " + string(name[1])
	}
	c.words.take(line)
	if c.muted {
		return
	}
	c.muted = report.Match(line)
	for _, pin := range c.pins {
		line = bytes.ReplaceAll(line, pin.Reveal(), []byte("REDACTED"))
	}
	if c.muted {
		begin := report.FindIndex(line)
		if begin == nil {
			return // the PIN is a piece of it
		}
		line = line[:begin[1]]
	}
	c.log.Debug("module output", "line", string(line[:min(len(line), maxLine)]))
}

// hide keeps a PIN out of the log.
func (c *capture) hide(pin pkcs11.PIN) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pins = append(c.pins, pin)
}

// finish ends the capture once the child is gone. What the module started may
// have inherited the pipe, so its end is not waited for.
func (c *capture) finish() {
	c.source.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	<-c.ended
	c.source.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, pin := range c.pins {
		pin.Wipe()
	}
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
var deadlySignal = regexp.MustCompile(`(SIG(?:ABRT|BUS|EMT|FPE|ILL|QUIT|SEGV|STKFLT|SYS|TRAP)): `)

// report finds what the Go runtime's report of a crash begins with: such a signal,
// an exception on Windows, an error of its own.
var report = regexp.MustCompile(deadlySignal.String() + `|Exception 0x|PC=0x|unexpected fault|fatal error:|panic:`)
