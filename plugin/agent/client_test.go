// SPDX-License-Identifier: Apache-2.0

//go:build linux || darwin

package agent

import (
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"

	contract "github.com/notaryproject/notation-plugin-framework-go/plugin"
)

// impostor answers the first request on a socket with bytes, and then ends.
func impostor(t *testing.T, answer []byte) string {
	t.Helper()
	path := filepath.Join(closedDir(t), "socket")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.AcceptUnix()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				if _, _, err := readFrame(conn, frameRequest); err != nil {
					return
				}
				conn.Write(answer)
				conn.CloseWrite()
				io.Copy(io.Discard, conn)
			}()
		}
	}()
	return path
}

// What is no agent is an error that says what to do, and no hang.
func TestWhatIsNoAgent(t *testing.T) {
	frame := func(kind frameType, body string) []byte {
		length := uint32(len(body) + 1)
		return append([]byte{byte(length >> 24), byte(length >> 16), byte(length >> 8), byte(length), byte(kind)}, body...)
	}
	for name, row := range map[string]struct {
		socket string
		says   string
	}{
		"no path":                 {"agent", "not the absolute path"},
		"nothing there":           {"/nowhere/socket", "there is no socket"},
		"an end without a word":   {impostor(t, nil), "ended the connection without an answer"},
		"something else":          {impostor(t, []byte("HTTP/1.1 400 Bad Request\r\n\r\n")), "is no agent, or one of another version"},
		"half an answer":          {impostor(t, []byte{0, 0, 1}), "ended the connection"},
		"a long answer":           {impostor(t, []byte{0xff, 0xff, 0xff, 0xff, 'd'}), "another version"},
		"another version":         {impostor(t, frame(frameDescribed, `{"version":2}`)), "another version"},
		"no JSON":                 {impostor(t, frame(frameDescribed, `{`)), "another version"},
		"no key":                  {impostor(t, frame(frameDescribed, `{"version":1,"publicKey":"AAAA"}`)), "another version"},
		"an error without a code": {impostor(t, frame(frameError, `{"version":2,"message":"x"}`)), "another version"},
		"an error":                {impostor(t, frame(frameError, `{"version":2,"code":"THROTTLED","message":"later"}`)), "later"},
		"an error that steers":    {impostor(t, frame(frameError, `{"version":1,"code":"ERROR","message":"a\u001b[2Jb\u202e"}`)), "a\ufffd[2Jb\ufffd"},
		"a signature":             {impostor(t, frame(frameSignature, `x`)), "another version"},
	} {
		err := sign(t.Context(), t, row.socket)
		var told *contract.Error
		if !errors.As(err, &told) || !strings.Contains(told.Message, row.says) {
			t.Errorf("%s: error %v, want %q", name, err, row.says)
		}
	}
}

// A wait for an agent ends with its context.
func TestInterruptedClient(t *testing.T) {
	path := filepath.Join(closedDir(t), "socket")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		if conn, err := l.Accept(); err == nil {
			defer conn.Close()
			readFrame(conn, frameRequest)
			cancel()
			io.Copy(io.Discard, conn)
		}
	}()
	if err := sign(ctx, t, path); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// A request says which key is meant, and nothing of where its module and PIN are.
func TestWhatAClientSends(t *testing.T) {
	path := filepath.Join(closedDir(t), "socket")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	sent := make(chan string, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_, document, _ := readFrame(conn, frameRequest)
		sent <- string(document)
	}()
	_, err = Client{}.Open(t.Context(), settingsFor(t, "pkcs11:token=T;object=a?module-path=/secret/module.so&pin-source=file:/secret/pin", path))
	if err == nil {
		t.Fatal("opened")
	}
	if got := <-sent; got != `{"version":1,"operation":"describe","key":"pkcs11:token=T;object=a"}` {
		t.Errorf("it sent %s", got)
	}
}
