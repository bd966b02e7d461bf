// SPDX-License-Identifier: Apache-2.0

package host

import (
	"bytes"
	"encoding/json"
	"testing"
)

// A PIN is any bytes, and goes through the pipe as it is.
func TestPINGoesThroughThePipeAsItIs(t *testing.T) {
	for _, pin := range []string{"1234", "\x00\xff\n\"}", ""} {
		var b buffer
		p := pipe{in: &b, out: &b}
		if err := p.sendPIN([]byte(pin)); err != nil {
			t.Fatal(err)
		}
		if want := append([]byte{0, 0, 0, byte(1 + len(pin)), 'p'}, pin...); !bytes.Equal(b.Bytes(), want) {
			t.Errorf("sent %q, want %q", b.Bytes(), want)
		}
		if typ, body, err := p.receive(); err != nil || typ != framePIN || string(body) != pin {
			t.Errorf("received %c %q, %v", typ, body, err)
		}
	}
}

// keeping is a pipe's end that keeps what it was given to write, not a copy.
type keeping struct{ written []byte }

func (k *keeping) Write(b []byte) (int, error) {
	k.written = b
	return len(b), nil
}
func (*keeping) Close() error { return nil }

func TestFrameOfThePINIsWiped(t *testing.T) {
	var k keeping
	p := pipe{out: &k}
	if err := p.sendPIN([]byte("secret")); err != nil {
		t.Fatal(err)
	}
	if len(k.written) == 0 || bytes.Contains(k.written, []byte("secret")) {
		t.Errorf("what was written is still %q", k.written)
	}
	if err := p.send(frameReply, json.RawMessage(`"secret"`)); err != nil || !bytes.Contains(k.written, []byte("secret")) {
		t.Errorf("other frames are not kept: %q, %v", k.written, err)
	}
}
