// SPDX-License-Identifier: Apache-2.0

package host

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"

	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
)

// A frame on the pipes is the length of what follows (4 bytes, big endian), a
// byte that says what it is, and a JSON document. The PIN alone is sent as it is:
// an encoder would leave copies of it behind that nobody can wipe.
type frameType byte

const (
	// To the child.
	frameRequest frameType = 'q' // request
	framePIN     frameType = 'p' // the PIN's bytes, which answer frameAsk
	frameNoPIN   frameType = 'n' // pkcs11.Error: why there is none
	// To the parent.
	frameReply frameType = 'r' // reply
	frameAsk   frameType = 'a' // pkcs11.TokenInfo: the PIN of this token, please
	frameCall  frameType = 'c' // finishedCall, if they are to be logged
)

// Bounds of a frame. A module shares the child's memory and can write into its end
// of the pipe, so that they bound what it can make the parent hold.
const (
	// maxFrame is in bytes: room for some thousand certificates.
	maxFrame = 16 << 20
	// maxShort is for those that hold a token's description or a call.
	maxShort = 64 << 10
	// maxValues is about how many values a JSON document may have: each can be two
	// bytes there, and some hundred in memory. It is some six thousand keys.
	maxValues = 1 << 18
	// maxCalls is how many calls are logged since the last request: some sixty for
	// each object of a full token.
	maxCalls = 1 << 18
	// maxLogins is how many a child asks the PIN for since the last request, where each
	// login asks: one after a lost session, and one for each mechanism that is tried.
	maxLogins = 16
)

// maxLength is the bound of a type of frame, in bytes.
func (t frameType) maxLength() uint32 {
	switch t {
	case frameAsk, frameCall, framePIN, frameNoPIN:
		return maxShort
	}
	return maxFrame
}

// operation names what the child is asked to do; operations in child.go has
// their functions.
type operation string

const (
	opOpen  operation = "open"
	opSign  operation = "sign"
	opCerts operation = "certificates"
	opClose operation = "close"
	opShare operation = "share" // another key of the token of opOpen

	// What opOpen does at once, step by step, and what else people do.
	opLoad       operation = "load"
	opSurvey     operation = "survey"
	opToken      operation = "token"
	opLogin      operation = "login"
	opKeys       operation = "keys"
	opKey        operation = "key"
	opMechanisms operation = "mechanisms"
	opGenerate   operation = "generate"
	opImport     operation = "import"
)

type request struct {
	ID         uint64          `json:"id"`
	Operation  operation       `json:"operation"`
	Parameters json.RawMessage `json:"parameters,omitempty"`
}

type reply struct {
	ID     uint64          `json:"id"` // of the request
	Error  *pkcs11.Error   `json:"error,omitempty"`
	Result json.RawMessage `json:"result,omitempty"`
}

// loadParameters are those of opLoad, for it and all that follows.
type loadParameters struct {
	Module       string     `json:"module"`
	InitArgs     string     `json:"initArgs,omitempty"`
	URI          pkcs11.URI `json:"uri"`
	UserType     uint       `json:"userType"`
	Sessions     int        `json:"sessions"`
	AskEachTime  bool       `json:"askEachTime,omitempty"`
	Certificates [][]byte   `json:"certificates,omitempty"` // DER
	Log          bool       `json:"log,omitempty"`          // each call is to be sent
}

// openParameters are those of opOpen.
type openParameters struct {
	loadParameters
	PublicOnly bool `json:"publicOnly,omitempty"`
	Describe   bool `json:"describe,omitempty"`
}

// opened is the result of opOpen.
type opened struct {
	PublicKey []byte     `json:"publicKey"`        // DER, SubjectPublicKeyInfo
	AtOnce    int        `json:"atOnce,omitempty"` // as pkcs11.Key.AtOnce; 0: the key can't sign
	Shown     pkcs11.URI `json:"shown,omitzero"`   // as pkcs11.Key.Shown, if openParameters.Describe
	Probed    bool       `json:"probed,omitempty"` // as pkcs11.Key.Probed
}

// certificatesParameters are those of opCerts.
type certificatesParameters struct {
	Own     bool `json:"own,omitempty"`     // as pkcs11.Key.OwnCertificates; else all
	Sibling int  `json:"sibling,omitempty"` // as in signParameters
}

// certificates is the result of opCerts.
type certificates struct {
	Certificates [][]byte `json:"certificates"` // DER
}

// signParameters are those of opSign, and without a message of opMechanisms.
type signParameters struct {
	Message []byte `json:"message,omitempty"`
	Hash    uint   `json:"hash"` // a crypto.Hash
	PSS     bool   `json:"pss,omitempty"`
	Sibling int    `json:"sibling,omitempty"` // the number of a key of opShare, from 1 on
}

// shareParameters are those of opShare. Its result is opened, of the next sibling.
type shareParameters struct {
	URI pkcs11.URI `json:"uri"`
}

// signed is the result of opSign.
type signed struct {
	Signature []byte `json:"signature"`
	AtOnce    int    `json:"atOnce"` // as pkcs11.Key.AtOnce, from now on
}

// loginParameters are those of opLogin.
type loginParameters struct {
	Write bool `json:"write,omitempty"`
}

// listed is one token of the result of opKeys.
type listed struct {
	Token        pkcs11.TokenStatus `json:"token"`
	LoggedIn     bool               `json:"loggedIn"`
	Keys         []listedKey        `json:"keys"`
	Certificates [][]byte           `json:"certificates"` // DER
}

// listedKey is a pkcs11.KeyInfo.
type listedKey struct {
	URI        pkcs11.URI    `json:"uri"`
	Type       string        `json:"type"`
	PublicKey  []byte        `json:"publicKey,omitempty"` // DER, SubjectPublicKeyInfo
	Problem    *pkcs11.Error `json:"problem,omitempty"`
	Mechanisms []uint        `json:"mechanisms,omitempty"`
}

// generateParameters are those of opGenerate.
type generateParameters struct {
	Type string `json:"type"`
}

// generated is the result of opGenerate.
type generated struct {
	URI       pkcs11.URI `json:"uri"`
	PublicKey []byte     `json:"publicKey"` // DER, SubjectPublicKeyInfo
	Warnings  []string   `json:"warnings,omitempty"`
}

// importParameters are those of opImport.
type importParameters struct {
	Certificates [][]byte `json:"certificates"` // DER
}

// finishedCall is a call into the module that returned.
type finishedCall struct {
	Call        string       `json:"call"`
	RV          uint         `json:"rv"`
	Nanoseconds int64        `json:"ns"`
	Wrong       *wrongAnswer `json:"wrong,omitempty"`
}

// wrongAnswer is what is wrong with the answer of a call, for the log of a parent,
// which takes no text of a process that knows the PIN.
type wrongAnswer struct {
	Length *pkcs11.LengthError `json:"length,omitempty"`
	Errno  syscall.Errno       `json:"errno,omitempty"` // of callMlock
}

// callMlock is the one call that is none into the module.
const callMlock = "mlock"

// isCall reports whether a child is in a call of this name at times.
func isCall(name string) bool { return name == callMlock || pkcs11.IsCall(name) }

// wrongOf returns what is sent of an error; nil for none.
func wrongOf(err error) *wrongAnswer {
	if err == nil {
		return nil
	}
	var wrong wrongAnswer
	var length pkcs11.LengthError
	if errors.As(err, &length) {
		wrong.Length = &length
	}
	errors.As(err, &wrong.Errno)
	return &wrong
}

// String says what is wrong.
func (w wrongAnswer) String() string {
	switch {
	case w.Length != nil:
		return w.Length.Error()
	case w.Errno != 0:
		return w.Errno.Error()
	}
	return "the answer can't be read"
}

// pipe sends and receives frames. Frames may be sent from several goroutines,
// and received from one.
type pipe struct {
	in      io.ReadCloser
	sending sync.Mutex
	out     io.WriteCloser
}

func (p *pipe) send(t frameType, document any) error {
	body, err := json.Marshal(document)
	if err != nil {
		return err
	}
	return p.write(frameOf(t, body))
}

func (p *pipe) sendPIN(pin []byte) error {
	frame := frameOf(framePIN, pin)
	defer clear(frame)
	return p.write(frame)
}

func frameOf(t frameType, body []byte) []byte {
	frame := make([]byte, 4, 5+len(body))
	binary.BigEndian.PutUint32(frame, uint32(1+len(body)))
	return append(append(frame, byte(t)), body...)
}

func (p *pipe) write(frame []byte) error {
	p.sending.Lock()
	defer p.sending.Unlock()
	_, err := p.out.Write(frame)
	return err
}

// refusal says what the other end sent that is not taken.
type refusal string

func (r refusal) Error() string { return string(r) }

func (p *pipe) receive() (frameType, []byte, error) {
	var head [5]byte
	if _, err := io.ReadFull(p.in, head[:]); err != nil {
		return 0, nil, err
	}
	t, length := frameType(head[4]), binary.BigEndian.Uint32(head[:4])
	if length < 1 || length > t.maxLength() {
		return 0, nil, refusal(fmt.Sprintf("it sent a frame of %d bytes, which is not of the protocol", length))
	}
	// No more memory is taken than what comes. What is short, as a PIN is, stays
	// in one place, where it can be wiped.
	var body bytes.Buffer
	body.Grow(min(int(length), maxShort) + bytes.MinRead)
	if _, err := io.CopyN(&body, p.in, int64(length)-1); err != nil {
		return 0, nil, err
	}
	if t != framePIN && countValues(body.Bytes()) > maxValues {
		return 0, nil, refusal(fmt.Sprintf("it sent a frame with more than %d values, which is not of the protocol", maxValues))
	}
	return t, body.Bytes(), nil
}

// countValues returns at least how many values a JSON document has.
func countValues(document []byte) int {
	return 1 + bytes.Count(document, []byte(",")) + bytes.Count(document, []byte("[")) + bytes.Count(document, []byte("{"))
}
