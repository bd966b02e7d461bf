// SPDX-License-Identifier: Apache-2.0

package host

import (
	"strconv"
	"strings"
	"sync"

	"github.com/notation-pkcs11/notation-pkcs11/internal/lazyregexp"
)

// lastWords keeps the last lines of what comes out of the child, for an error that
// has no better reason: those of the module until it may have the PIN, and what
// the Go runtime could not have. The zero value is ready.
type lastWords struct {
	mu        sync.Mutex
	sealed    bool // the module may have the PIN
	dead      bool // what comes is the Go runtime's report
	lines     []string
	exhausted string
}

// What is kept.
const (
	lastLines = 3
	lastBytes = 200 // of each
)

// crash finds what the Go runtime's report of a crash begins with, and wants what
// it says where it gets no thread or no memory: no more of it than these words, since
// a module can print them, too, with the PIN behind them.
var (
	crash = lazyregexp.New(`SIG[A-Z]+: |Exception 0x|PC=0x|unexpected fault|fatal error:|panic:|^runtime[:/]`)
	wants = lazyregexp.New(`pthread_create failed|failed to create new OS thread|runtime: cannot allocate memory|runtime: out of memory`)
)

// seal keeps no more lines of the module.
func (w *lastWords) seal() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sealed = true
}

// take takes a line.
func (w *lastWords) take(line []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if found := wants().Find(line); found != nil && w.exhausted == "" {
		w.exhausted = string(found)
	}
	w.dead = w.dead || crash().Match(line)
	text := strings.TrimSpace(string(line[:min(len(line), lastBytes)]))
	if w.sealed || w.dead || strings.Trim(text, "*=-# ") == "" {
		return
	}
	w.lines = append(w.lines, text)
	w.lines = w.lines[max(len(w.lines)-lastLines, 0):]
}

// String returns the lines, escaped, as the end of a sentence. Once the module may
// have the PIN, or where it printed nothing, it is empty.
func (w *lastWords) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.sealed || len(w.lines) == 0 {
		return ""
	}
	quoted := make([]string, len(w.lines))
	for i, line := range w.lines {
		quoted[i] = strconv.QuoteToGraphic(line)
	}
	return "; the last that it printed is " + strings.Join(quoted, ", ")
}

// want returns what the Go runtime could not have when it ended the child. Empty,
// it ended otherwise.
func (w *lastWords) want() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.exhausted
}
