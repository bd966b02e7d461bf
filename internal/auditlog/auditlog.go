// SPDX-License-Identifier: Apache-2.0

// Package auditlog writes down who had what signed, and checks that nobody changed
// it afterwards.
//
// A log is a file of one JSON document a line. Each line holds the SHA-256 of the
// line before, so that none can be changed, removed or put in without the next
// ones showing it; [Verify] looks. What the chain can't show is a tail that was cut
// off, or a whole file that somebody who may write to it made again: for that, keep
// the hash that [Log.Append] returns somewhere else.
//
// Start with [Open]. Several processes may have one log open. A line is on disk
// when Append returns, whole and in its place in the chain, or Append fails and the
// signature must not be given out. No line has a secret.
package auditlog

import (
	"encoding/json"
	"fmt"
	"time"
	"unicode/utf16"
	"unicode/utf8"
)

// Event is what a line is about.
type Event string

// The events.
const (
	// Signature is a signature over an artifact that is about to be given out.
	Signature Event = "signature"
	// Refusal is a request that was not signed; Entry.Reason says why.
	Refusal Event = "refusal"
	// LoginFailure is a token that could not be logged in to.
	LoginFailure Event = "login-failure"
	// Probe is a test signature over a fixed message that is no payload.
	Probe Event = "probe"
	// Start and End are of an agent.
	Start Event = "start"
	End   Event = "end"
)

// Entry is what one line says. What is empty is left out.
type Entry struct {
	// Time is when it happened; zero: when it is appended. It is written in UTC.
	Time time.Time
	// Event is what happened.
	Event Event
	// SigningTime is what the payload says.
	SigningTime time.Time
	// Artifact is what the payload is about.
	Artifact *Artifact
	// Key is the URI of the key, cut after some two thousand bytes if it signed nothing.
	Key string
	// TokenSerial is the token's serial number.
	TokenSerial string
	// Certificate is the SHA-256 of the signing certificate (DER), in hexadecimal.
	Certificate string
	// Mechanism is such as CKM_RSA_PKCS_PSS.
	Mechanism string
	// Peer is the process that asked.
	Peer *Peer
	// Reason is a sentence, cut after some two thousand bytes.
	Reason string
}

// Artifact is the descriptor of what was signed.
type Artifact struct {
	Digest    string `json:"digest"`
	MediaType string `json:"mediaType"`
	Size      int64  `json:"size"` // in bytes
}

// Peer is a process. Its user is certain; the rest are hints.
type Peer struct {
	UID int `json:"uid"` // -1 where users have no numbers
	PID int `json:"pid,omitempty"`
	// Executable is a path, cut after a thousand bytes.
	Executable string `json:"executable,omitempty"`
}

// version is of the lines.
const version = 1

// line is an entry as it is written. What the chain is made of comes first, so
// that a line that is torn still has it, mostly.
type line struct {
	Version int `json:"version"`
	// Previous is the hash of the last whole line before this one.
	Previous string `json:"previous"`
	// Torn is the hash of what a crash left between that line and this one.
	Torn        string     `json:"torn,omitempty"`
	Time        time.Time  `json:"time"`
	Event       Event      `json:"event"`
	SigningTime *time.Time `json:"signingTime,omitempty"`
	Artifact    *Artifact  `json:"artifact,omitempty"`
	Key         string     `json:"key,omitempty"`
	TokenSerial string     `json:"tokenSerial,omitempty"`
	Certificate string     `json:"certificate,omitempty"`
	Mechanism   string     `json:"mechanism,omitempty"`
	Peer        *Peer      `json:"peer,omitempty"`
	Reason      string     `json:"reason,omitempty"`
}

// beginning is what the first line of each log begins with.
const beginning = `{"version":1,"previous":"` + noHash + `","`

// isBeginning reports whether a log can begin with a text, which may be torn.
func isBeginning(text []byte) bool {
	return string(text[:min(len(text), len(beginning))]) == beginning[:min(len(text), len(beginning))]
}

// Bounds in bytes.
const (
	// maxLine is of a line with its end.
	maxLine = 16 << 10
	// maxKey is of a URI for which nothing was signed: whoever asked may have made it up.
	maxKey = 2 << 10
	// maxReason and maxExecutable are of texts that say no less when they are cut.
	// With the escapes of encode a line has room for both.
	maxReason     = 2 << 10
	maxExecutable = 1 << 10
)

// encode writes a line with its end, in ASCII alone: what is logged comes from
// requests, and logs are shown on terminals.
func (e Entry) encode(previous, torn string) ([]byte, error) {
	l := line{
		Version: version, Previous: previous, Torn: torn,
		Time: e.Time.UTC(), Event: e.Event, Artifact: e.Artifact, Key: e.Key, TokenSerial: e.TokenSerial,
		Certificate: e.Certificate, Mechanism: e.Mechanism, Reason: cut(e.Reason, maxReason),
	}
	if e.Event != Signature {
		l.Key = cut(e.Key, maxKey)
	}
	if e.Time.IsZero() {
		l.Time = time.Now().UTC()
	}
	if !e.SigningTime.IsZero() {
		at := e.SigningTime.UTC()
		l.SigningTime = &at
	}
	if e.Peer != nil {
		peer := *e.Peer
		peer.Executable = cut(peer.Executable, maxExecutable)
		l.Peer = &peer
	}
	document, err := json.Marshal(l)
	if err != nil {
		return nil, err
	}
	encoded := append(escape(document), '\n')
	if len(encoded) > maxLine {
		return nil, fmt.Errorf("its line would have %d bytes; the limit is %d", len(encoded), maxLine)
	}
	return encoded, nil
}

// escape turns a JSON document into one of ASCII without control characters.
func escape(document []byte) []byte {
	escaped := make([]byte, 0, len(document)+1)
	for _, r := range string(document) {
		switch {
		case r < 0x7f:
			escaped = append(escaped, byte(r))
		case r <= 0xffff:
			escaped = fmt.Appendf(escaped, `\u%04x`, r)
		default:
			high, low := utf16.EncodeRune(r)
			escaped = fmt.Appendf(escaped, `\u%04x\u%04x`, high, low)
		}
	}
	return escaped
}

// cut bounds a text in bytes.
func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most] + "…"
}

// parse reads a line with its end or without it. What a crash tore is not one: no
// beginning of a JSON object is a JSON object.
func parse(text []byte) (line, bool) {
	var l line
	err := json.Unmarshal(text, &l)
	return l, err == nil && l.Version == version && IsHash(l.Previous)
}
