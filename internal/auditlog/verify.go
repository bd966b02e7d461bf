// SPDX-License-Identifier: Apache-2.0

package auditlog

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"
)

// Summary is what a log holds.
type Summary struct {
	// Lines counts those that are whole.
	Lines int `json:"lines"`
	// Events counts them by their event.
	Events map[Event]int `json:"events"`
	// First and Last are the times of the first and the last line; nil if there is
	// none.
	First *time.Time `json:"first,omitempty"`
	Last  *time.Time `json:"last,omitempty"`
	// Hash is that of the last whole line, zeros if there is none. Whoever keeps it
	// elsewhere finds out later that lines up to there are missing.
	Hash string `json:"hash"`
	// Torn are the numbers of lines that a crash cut, from 1 on. The chain goes on
	// behind them. What they were about was not signed, or not given out.
	Torn []int `json:"torn,omitempty"`
	// Expected is the number of the line that has the expected hash; zero if none
	// was expected.
	Expected int `json:"expected,omitempty"`
}

// BrokenError says where a chain breaks.
type BrokenError struct {
	Line   int // from 1 on
	Reason string
}

// Error implements error.
func (e *BrokenError) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Reason) }

// ErrNotInLog is that of a hash that no line has.
var ErrNotInLog = errors.New("no line has the expected hash: lines are missing that were there when the hash was noted, or the hash is of another log")

// Verify reads a log and checks its chain. A hash that is expected, such as
// Log.Append returned it, must be that of one of its lines; empty: none is
// expected, and then lines missing at the end can't be seen. The error is a
// *BrokenError, or ErrNotInLog, or of the reader; the summary is of what was read
// before it.
func Verify(r io.Reader, expect string) (Summary, error) {
	v := verifier{summary: Summary{Events: map[Event]int{}, Hash: noHash}, expect: expect}
	if expect == noHash {
		v.expect = "" // that of an empty log
	}
	lines := bufio.NewReaderSize(r, maxLine)
	for number := 1; ; number++ {
		text, err := lines.ReadSlice('\n')
		switch {
		case err == bufio.ErrBufferFull:
			return v.summary, &BrokenError{number, fmt.Sprintf("it is longer than %d bytes, the limit of a line", maxLine)}
		case err != nil && err != io.EOF:
			return v.summary, err
		case len(text) == 0:
			return v.finish()
		}
		if err := v.take(number, text); err != nil {
			return v.summary, err
		}
	}
}

// verifier is between two lines.
type verifier struct {
	summary Summary
	expect  string
	torn    hash.Hash // of what is torn before the next line; nil if nothing is
}

// take goes on with one line.
func (v *verifier) take(number int, text []byte) error {
	text = append(bytes.TrimSuffix(text[:len(text):len(text)], []byte("\n")), '\n') // the next writer ends the last one
	l, whole := parse(text)
	if number == 1 && !whole && !isBeginning(bytes.TrimSuffix(text, []byte("\n"))) {
		return &BrokenError{number, "it is not a line of an audit log"}
	}
	if !whole {
		v.summary.Torn = append(v.summary.Torn, number)
		if v.torn == nil {
			v.torn = sha256.New()
		}
		v.torn.Write(text)
		return nil
	}
	if err := v.checkLinks(number, l); err != nil {
		return err
	}
	v.torn = nil
	s := &v.summary
	s.Lines++
	s.Events[l.Event]++
	if s.First == nil {
		s.First = &l.Time
	}
	s.Last = &l.Time
	s.Hash = hashOf(text)
	if s.Hash == v.expect {
		s.Expected = number
	}
	return nil
}

// checkLinks holds what a line says of those before it against them.
func (v *verifier) checkLinks(number int, l line) error {
	torn := ""
	if v.torn != nil {
		torn = hex.EncodeToString(v.torn.Sum(nil))
	}
	switch {
	case l.Previous != v.summary.Hash && v.summary.Lines == 0:
		return &BrokenError{number, "it is the first line of the file and refers to a line before it: the beginning is missing"}
	case l.Previous != v.summary.Hash:
		return &BrokenError{number, "it was not written after the line that is before it now: a line was changed, removed or inserted"}
	case l.Torn == torn:
		return nil
	case torn == "":
		return &BrokenError{number, "it refers to a torn line before it, which is missing"}
	}
	return &BrokenError{number, "the text before it is not a line of an audit log, and was not there when it was written"}
}

func (v *verifier) finish() (Summary, error) {
	if v.expect != "" && v.summary.Expected == 0 {
		return v.summary, ErrNotInLog
	}
	return v.summary, nil
}
