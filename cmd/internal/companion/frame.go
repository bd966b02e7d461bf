// SPDX-License-Identifier: Apache-2.0

package companion

import (
	"encoding/binary"
	"fmt"
	"io"
)

// A frame on the two pipes is the length of what follows (4 bytes, big endian), a
// byte that says what it is, and its body. Answers may be secrets: they are in one
// buffer, which is wiped.
type frameType byte

const (
	// To the parent.
	frameAsk    frameType = 'a'
	frameReady  frameType = 'r'
	frameFailed frameType = 'f'
	// To the companion, after frameAsk.
	frameAnswer  frameType = 'p'
	frameRefusal frameType = 'n'
)

// maxFrame bounds a frame in bytes.
const maxFrame = 64 << 10

func write(to io.Writer, t frameType, body []byte) error {
	if len(body) >= maxFrame {
		return fmt.Errorf("%d bytes are too many for a frame", len(body))
	}
	frame := make([]byte, 5, 5+len(body))
	defer clear(frame[:cap(frame)])
	binary.BigEndian.PutUint32(frame, uint32(1+len(body)))
	frame[4] = byte(t)
	frame = append(frame, body...)
	_, err := to.Write(frame)
	return err
}

func read(from io.Reader) (frameType, []byte, error) {
	var head [5]byte
	if _, err := io.ReadFull(from, head[:]); err != nil {
		return 0, nil, err
	}
	length := binary.BigEndian.Uint32(head[:4])
	if length < 1 || length > maxFrame {
		return 0, nil, fmt.Errorf("a frame of %d bytes", length)
	}
	body := make([]byte, length-1)
	_, err := io.ReadFull(from, body)
	return frameType(head[4]), body, err
}
