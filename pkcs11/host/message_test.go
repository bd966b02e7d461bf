// SPDX-License-Identifier: Apache-2.0

package host

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"io"
	"testing"
)

// buffer is a pipe's end in memory.
type buffer struct{ bytes.Buffer }

func (*buffer) Close() error { return nil }

func TestFramesRoundTrip(t *testing.T) {
	var b buffer
	p := pipe{in: &b, out: &b}
	want := request{ID: 7, Operation: opSign, Parameters: json.RawMessage(`{"message":"aGk="}`)}
	if err := p.send(frameRequest, want); err != nil {
		t.Fatal(err)
	}
	typ, body, err := p.receive()
	var got request
	if err != nil || typ != frameRequest || json.Unmarshal(body, &got) != nil || got.ID != 7 || got.Operation != opSign || string(got.Parameters) != string(want.Parameters) {
		t.Errorf("received %c %s, %v", typ, body, err)
	}
	if _, _, err := p.receive(); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
}

// FuzzReceive holds that the frames are what came, and that a frame that claims
// to be long costs no more than what came of it.
func FuzzReceive(f *testing.F) {
	f.Add([]byte{0, 0, 0, 3, 'r', '{', '}'})
	f.Add([]byte{0, 0, 0, 1, 'p', 0, 0, 0, 3, 'q', '[', ']', 0, 0})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 'r'})
	f.Add([]byte{4, 0, 0, 0, 'r', '{'}) // maxFrame
	f.Add([]byte{4, 0, 0, 1, 'r', '{'})
	f.Add([]byte{0, 0, 0, 0, 'r'})
	f.Fuzz(func(t *testing.T, data []byte) {
		var b buffer
		b.Write(data)
		p := pipe{in: &b}
		var frames []byte
		for {
			typ, body, err := p.receive()
			if err != nil {
				break
			}
			frames = binary.BigEndian.AppendUint32(frames, uint32(1+len(body)))
			frames = append(append(frames, byte(typ)), body...)
		}
		if !bytes.HasPrefix(data, frames) {
			t.Fatalf("%x was read as %x", data, frames)
		}
		rest := data[len(frames):]
		if len(rest) >= 5 {
			if length := binary.BigEndian.Uint32(rest); length >= 1 && length <= maxFrame && int(length) <= len(rest)-4 {
				t.Fatalf("%x was not read", rest)
			}
		}
	})
}

func TestFrameTakesNoMoreMemoryThanWhatComes(t *testing.T) {
	cut := append([]byte{4, 0, 0, 0, 'r'}, make([]byte, 100)...) // 64 MiB are said to come
	taken := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, _, err := (&pipe{in: io.NopCloser(bytes.NewReader(cut))}).receive(); err == nil {
				b.Fatal("received")
			}
		}
	}).AllocedBytesPerOp()
	if taken > 1<<20 {
		t.Errorf("%d bytes were taken for %d", taken, len(cut))
	}
}
