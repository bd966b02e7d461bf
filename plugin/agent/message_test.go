// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
)

// A request says which key, which hash, and nothing more.
func TestRequests(t *testing.T) {
	for document, says := range map[string]string{
		`{"version":1,"operation":"describe","key":"pkcs11:token=T;object=a"}`:                "",
		`{"version":1,"operation":"certificates","key":"pkcs11:id=%01"}`:                      "",
		`{"version":1,"operation":"sign","key":"pkcs11:token=T","hash":"SHA-256"}`:            "",
		`{"version":2,"operation":"another","more":[]}`:                                       "version 2",
		`{"operation":"describe","key":"pkcs11:token=T"}`:                                     "version 0",
		`{"version":1,"operation":"digest","key":"pkcs11:token=T"}`:                           "unknown operation",
		`{"version":1,"operation":"describe","key":"pkcs11:token=T","hash":"SHA-256"}`:        "doesn't ask for a signature",
		`{"version":1,"operation":"describe","key":"pkcs11:token=T?module-path=/evil.so"}`:    "names a module-path",
		`{"version":1,"operation":"describe","key":"pkcs11:token=T?module-name=evil"}`:        "names a module-name",
		`{"version":1,"operation":"describe","key":"pkcs11:token=T?pin-source=file:/secret"}`: "names a pin-source",
		`{"version":1,"operation":"describe","key":"pkcs11:token=T?pin-value=1"}`:             "pin-value",
		`{"version":1,"operation":"describe","key":"/evil.so"}`:                               "doesn't begin with",
		`{"version":1,"operation":"sign","key":"pkcs11:token=T","module":"/evil.so"}`:         "members that the protocol doesn't have",
		`{"version":1,"operation":"sign","key":"pkcs11:token=T","timeout":"1h"}`:              "members that the protocol doesn't have",
		`{"version":1,"operation":7}`:                                                         "members that the protocol doesn't have",
		`[]`:                                                                                  "not a JSON object of the protocol",
		``:                                                                                    "not a JSON object of the protocol",
		`{"version":1,"operation":"describe","key":"pkcs11:token=T"} more`:                    "not a JSON object of the protocol",
	} {
		_, err := parseRequest([]byte(document))
		if says == "" && err != nil || says != "" && (err == nil || !strings.Contains(err.Error(), says)) {
			t.Errorf("%s: error %v, want %q", document, err, says)
		}
	}
}

func TestFrames(t *testing.T) {
	frame := func(t frameType, length uint32, body string) []byte {
		head := binary.BigEndian.AppendUint32(nil, length)
		return append(append(head, byte(t)), body...)
	}
	for name, row := range map[string]struct {
		bytes []byte
		says  string
	}{
		"whole":                  {frame(frameRequest, 3, "{}"), ""},
		"nothing":                {nil, "EOF"},
		"half a head":            {frame(frameRequest, 3, "{}")[:3], "unexpected EOF"},
		"half a body":            {frame(frameRequest, 3, "{"), "unexpected EOF"},
		"no length":              {frame(frameRequest, 0, ""), "a frame has 0 bytes"},
		"a length without bytes": {frame(frameRequest, 32<<10+1, ""), "unexpected EOF"},
		"one byte too many":      {frame(frameRequest, 32<<10+2, ""), "the limit is 32768"},
		"the greatest length":    {frame(frameRequest, 1<<32-1, ""), "the limit is 32768"},
		"another type":           {frame(frameMessage, 3, "{}"), "unexpected type"},
		"an unknown type":        {frame('?', 3, "{}"), "unexpected type"},
	} {
		_, body, err := readFrame(bytes.NewReader(row.bytes), frameRequest)
		if row.says == "" && (err != nil || string(body) != "{}") || row.says != "" && (err == nil || !strings.Contains(err.Error(), row.says)) {
			t.Errorf("%s: %q, error %v, want %q", name, body, err, row.says)
		}
	}
	var long violation
	if err := writeFrame(io.Discard, frameMessage, make([]byte, 1<<20+1)); !errors.As(err, &long) {
		t.Errorf("a message that is too long: %v", err)
	}
}

// Whatever a client sends, the parser takes no more than the protocol has, and what
// it accepts names a key and nothing else.
func FuzzRequests(f *testing.F) {
	for _, document := range []string{
		`{"version":1,"operation":"describe","key":"pkcs11:token=T;object=a"}`,
		`{"version":1,"operation":"sign","key":"pkcs11:token=T?module-path=/evil.so","hash":"SHA-256"}`,
	} {
		var frame bytes.Buffer
		if err := writeFrame(&frame, frameRequest, []byte(document)); err != nil {
			f.Fatal(err)
		}
		f.Add(frame.Bytes())
	}
	f.Fuzz(func(t *testing.T, sent []byte) {
		from := bytes.NewReader(sent)
		for {
			_, document, err := readFrame(from, frameRequest)
			if err != nil {
				return
			}
			if len(document) > int(maxFrame[frameRequest]) || len(document) > len(sent) {
				t.Fatalf("%d bytes were read", len(document))
			}
			r, err := parseRequest(document)
			if err != nil {
				continue
			}
			if r.Version != protocolVersion || r.Operation != opSign && r.Hash != "" {
				t.Fatalf("accepted %q", document)
			}
			for _, attribute := range []string{pkcs11.AttrModulePath, pkcs11.AttrModuleName, pkcs11.AttrPINSource} {
				if _, present := r.Key.Value(attribute); present {
					t.Fatalf("accepted %q", document)
				}
			}
			if strings.Contains(r.Key.String(), "?") {
				t.Fatalf("accepted %q", document)
			}
		}
	})
}
