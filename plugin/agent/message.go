// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	contract "github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
)

// protocolVersion is that of the messages. Requests and answers name it, and an
// error of another version can be read all the same.
const protocolVersion = 1

// A frame is the length of what follows (4 bytes, big endian), a byte that says
// what it is, and its body.
type frameType byte

const (
	// To the server.
	frameRequest frameType = 'q' // request
	frameMessage frameType = 'm' // the message to sign, as it is; it follows a request to sign

	// To the client. Of the first two any number comes before one of the others,
	// which ends the answer.
	frameWaiting   frameType = 'w' // empty: others are before it
	frameTurn      frameType = 't' // empty: now it is worked on
	frameDescribed frameType = 'd' // description
	frameSignature frameType = 's' // the signature, as it is
	frameError     frameType = 'e' // failure
)

// maxFrame bounds the body of each type of frame, in bytes. Memory is taken for what
// comes, and not for what a length promises.
var maxFrame = map[frameType]uint32{
	frameRequest: 32 << 10, // a key URI has at most 16 KiB
	// A payload is a descriptor with annotations, a few kilobytes.
	frameMessage:   1 << 20,
	frameWaiting:   0,
	frameTurn:      0,
	frameDescribed: 16 << 20, // some thousand certificates
	frameSignature: 1 << 10,
	frameError:     64 << 10,
}

// operation is what a request asks for.
type operation string

const (
	opDescribe operation = "describe"         // the public half
	opOwn      operation = "own-certificates" // those that go with the key
	opAll      operation = "certificates"     // all on the token
	opSign     operation = "sign"
)

// request is all that a client says, but for the message.
type request struct {
	Version   int        `json:"version"`
	Operation operation  `json:"operation"`
	Key       pkcs11.URI `json:"key"` // without a query
	// Hash is that of opSign, as the contract names it.
	Hash contract.HashAlgorithm `json:"hash,omitempty"`
}

// description is what a key shows.
type description struct {
	Version      int      `json:"version"`
	PublicKey    []byte   `json:"publicKey,omitempty"`    // of opDescribe: DER, SubjectPublicKeyInfo
	Certificates [][]byte `json:"certificates,omitempty"` // of opOwn and opAll: DER
}

// failure is why there is no answer.
type failure struct {
	Version int                `json:"version"`
	Code    contract.ErrorCode `json:"code"`
	Message string             `json:"message"`
}

// violation says what is not of the protocol.
type violation string

func (v violation) Error() string { return string(v) }

// parseRequest reads a request. What it doesn't know is an error, and so is a URI
// that says more than which key is meant. Texts of the request are in no error but
// that of a URI, which names attributes alone.
func parseRequest(document []byte) (request, error) {
	var version struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(document, &version); err != nil {
		return request{}, violation("the request is not a JSON object of the protocol")
	}
	if version.Version != protocolVersion {
		return request{}, violation(fmt.Sprintf("the plugin uses version %d of the agent's protocol, and the agent version %d", version.Version, protocolVersion))
	}
	decoder := json.NewDecoder(bytes.NewReader(document))
	decoder.DisallowUnknownFields()
	var r request
	if err := decoder.Decode(&r); err != nil {
		var uri *pkcs11.Error
		if errors.As(err, &uri) {
			return request{}, err
		}
		return request{}, violation("the request has members that the protocol doesn't have")
	}
	for _, attribute := range []string{pkcs11.AttrModulePath, pkcs11.AttrModuleName, pkcs11.AttrPINSource} {
		if _, present := r.Key.Value(attribute); present {
			return request{}, violation("the request names a " + attribute + ", which only the agent's command line can set")
		}
	}
	switch r.Operation {
	case opDescribe, opOwn, opAll:
		if r.Hash != "" {
			return request{}, violation("the request has a hash, and doesn't ask for a signature")
		}
	case opSign:
	default:
		return request{}, violation("the request asks for an unknown operation")
	}
	return r, nil
}

// readFrame reads a frame of one of the types.
func readFrame(from io.Reader, types ...frameType) (frameType, []byte, error) {
	var head [5]byte
	if _, err := io.ReadFull(from, head[:1]); err != nil {
		return 0, nil, err // io.EOF: there is none
	}
	if _, err := io.ReadFull(from, head[1:]); err != nil {
		return 0, nil, whole(err)
	}
	t, length := frameType(head[4]), binary.BigEndian.Uint32(head[:4])
	for _, expected := range types {
		if t != expected {
			continue
		}
		if length < 1 || length-1 > maxFrame[t] {
			return 0, nil, violation(fmt.Sprintf("a frame has %d bytes; the limit is %d", length, maxFrame[t]))
		}
		var body bytes.Buffer
		_, err := io.CopyN(&body, from, int64(length)-1)
		return t, body.Bytes(), whole(err)
	}
	return 0, nil, violation(fmt.Sprintf("a frame has the unexpected type 0x%02x", byte(t)))
}

// whole makes an error of an end in the middle.
func whole(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func writeFrame(to io.Writer, t frameType, body []byte) error {
	if uint64(len(body)) > uint64(maxFrame[t]) {
		return violation(fmt.Sprintf("it has %d bytes; the limit is %d", len(body), maxFrame[t]))
	}
	frame := make([]byte, 5, 5+len(body))
	binary.BigEndian.PutUint32(frame, uint32(1+len(body)))
	frame[4] = byte(t)
	_, err := to.Write(append(frame, body...))
	return err
}

func writeJSON(to io.Writer, t frameType, document any) error {
	body, err := json.Marshal(document)
	if err != nil {
		return err
	}
	return writeFrame(to, t, body)
}
