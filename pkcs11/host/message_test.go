// SPDX-License-Identifier: Apache-2.0

package host

import (
	"bytes"
	"encoding/json"
	"io"
	"slices"
	"strings"
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

func FuzzReceive(f *testing.F) {
	f.Add([]byte{0, 0, 0, 3, 'r', '{', '}'})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 'r'})
	f.Add([]byte{0, 0, 0, 0, 'r'})
	f.Fuzz(func(t *testing.T, data []byte) {
		var b buffer
		b.Write(data)
		p := pipe{in: &b}
		for {
			_, body, err := p.receive()
			if err != nil {
				return
			}
			if len(body) > len(data) {
				t.Fatalf("%d bytes of %d", len(body), len(data))
			}
		}
	})
}

func TestSecretsAreKeptFromTheModulesEnvironment(t *testing.T) {
	got := environment([]string{
		"PATH=/bin", "NOTATION_PKCS11_PIN=1", "NOTATION_PKCS11_MODULE=/m.so", "SOFTHSM2_CONF=/c", "CKNFAST_LOADSHARING=1", "INPUT_PIN=1",
		"ACTIONS_RUNTIME_TOKEN=1", "NOTATION_PASSWORD=1", "GITHUB_TOKEN=1", "MY_PIN=1", "AWS_SECRET_ACCESS_KEY=of the module",
	}, []string{"MY_PIN"})
	want := []string{"PATH=/bin", "NOTATION_PKCS11_MODULE=/m.so", "SOFTHSM2_CONF=/c", "CKNFAST_LOADSHARING=1", "AWS_SECRET_ACCESS_KEY=of the module"}
	if !slices.Equal(got, want) {
		t.Errorf("environment %v, want %v", got, want)
	}
}

func TestDeadlySignalIsNamed(t *testing.T) {
	for line, want := range map[string]string{
		"SIGSEGV: segmentation violation":    "signal SIGSEGV",
		"SIGABRT: abort":                     "signal SIGABRT",
		"SIGNAL-LIKE: printed by the module": "",
		"SIG: short":                         "signal SIG",
		"error: SIGSEGV":                     "",
		"SIGsegv: no":                        "",
		strings.Repeat("S", 2000):            "",
	} {
		if got := signalName([]byte(line)); got != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}
