// SPDX-License-Identifier: Apache-2.0

//go:build linux || darwin

package agent

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	contract "github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/notation-pkcs11/notation-pkcs11/internal/auditlog"
	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/wording"
)

// hello connects, and sends bytes as they are.
func hello(t *testing.T, socket string, sent ...[]byte) *net.UnixConn {
	t.Helper()
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	for _, bytes := range sent {
		if _, err := conn.Write(bytes); err != nil {
			t.Fatal(err)
		}
	}
	return conn
}

// Clients that send what is not of the protocol, leave in the middle or say nothing
// cost others nothing.
func TestHostileClients(t *testing.T) {
	socket := serve(t, newSoftVault(t))
	for name, sent := range map[string][]byte{
		"nothing":             nil,
		"zeros":               make([]byte, 100),
		"HTTP":                []byte("GET / HTTP/1.1\r\n\r\n"),
		"a long frame":        {0xff, 0xff, 0xff, 0xff, 'q'},
		"half a frame":        {0, 0, 1, 0, 'q', '{'},
		"a message at once":   {0, 0, 0, 2, 'm', 'x'},
		"an answer":           {0, 0, 0, 1, 't'},
		"another version":     append([]byte{0, 0, 0, 14, 'q'}, `{"version":9}`...),
		"a request and more":  append(append([]byte{0, 0, 0, 3, 'q'}, "{}"...), make([]byte, 1<<10)...),
		"a path in a request": append([]byte{0, 0, 0, 27, 'q'}, `{"version":1,"key":"/etc"}`...),
	} {
		conn := hello(t, socket, sent)
		conn.CloseWrite()
		conn.SetReadDeadline(time.Now().Add(time.Minute))
		for err := error(nil); err == nil; _, err = conn.Read(make([]byte, 1<<10)) {
		}
		if err := sign(t.Context(), t, socket); err != nil {
			t.Errorf("after %s: %v", name, err)
		}
	}
}

// Connections that say nothing don't keep others from being served, up to the bound.
func TestSilentClients(t *testing.T) {
	socket := serve(t, newSoftVault(t))
	for range 100 {
		hello(t, socket)
	}
	if err := sign(t.Context(), t, socket); err != nil {
		t.Error(err)
	}
}

// More than may wait are told so, and lose nothing.
func TestQueueIsBounded(t *testing.T) {
	v := newSoftVault(t)
	go_on := make(chan struct{})
	v.during = func(context.Context) error {
		<-go_on
		return nil
	}
	socket := serve(t, v)
	var clients sync.WaitGroup
	crowded := make(chan error, 2*maxWaiting)
	for range maxWaiting + 20 {
		clients.Go(func() {
			if err := sign(t.Context(), t, socket); err != nil {
				crowded <- err
			}
		})
	}
	first := <-crowded // which comes while all others wait
	close(go_on)
	clients.Wait()
	close(crowded)
	var told *contract.Error
	if !errors.As(first, &told) || told.ErrCode != contract.ErrorCodeThrottled {
		t.Errorf("error %v", first)
	}
	for err := range crowded {
		if !errors.As(err, &told) || told.ErrCode != contract.ErrorCodeThrottled {
			t.Errorf("error %v", err)
		}
	}
}

// What an agent's client hears of a token's error is what it does without an agent.
func TestErrorsOfTheToken(t *testing.T) {
	for name, row := range map[string]struct {
		err      error
		code     contract.ErrorCode
		says     string
		openings int64
	}{
		"wrong PIN":        {&pkcs11.Error{Kind: pkcs11.KindCall, Call: "C_Login", RV: pinIncorrect, Message: "the login failed"}, contract.ErrorCodeAccessDenied, "the login failed: the token refused the PIN, which was tried once and not again (C_Login: CKR_PIN_INCORRECT). Check", 1},
		"crash":            {&pkcs11.Error{Kind: pkcs11.KindCrash, Message: "the module ended its process"}, contract.ErrorCodeGeneric, "ended its process", 2},
		"no answer":        {&pkcs11.Error{Kind: pkcs11.KindTimeout, Message: "it did not answer"}, contract.ErrorCodeTimeout, "within 1m0s", 1},
		"device removed":   {&pkcs11.Error{Kind: pkcs11.KindCall, Call: "C_SignInit", RV: deviceRemoved, Message: "it can't sign"}, contract.ErrorCodeGeneric, "Plug the token in", 2},
		"not for signing":  {&pkcs11.Error{Kind: pkcs11.KindNotPermitted, Message: "it is not for signing"}, contract.ErrorCodeAccessDenied, "CKA_SIGN", 1},
		"no session left":  {&pkcs11.Error{Kind: pkcs11.KindCall, Call: "C_OpenSession", RV: 0xb1, Message: "no session"}, contract.ErrorCodeThrottled, "no session left", 2},
		"error of its own": {errors.New("something else"), contract.ErrorCodeGeneric, "something else", 1},
	} {
		v := newSoftVault(t)
		v.during = func(context.Context) error { return row.err }
		err := sign(t.Context(), t, serve(t, v))
		var told *contract.Error
		if !errors.As(err, &told) || told.ErrCode != row.code || !strings.Contains(told.Message, row.says) {
			t.Errorf("%s: error %v, want %s: %s", name, err, row.code, row.says)
		} else if flaws := wording.Pair(wording.Message(told.Message)); len(flaws) > 0 {
			t.Errorf("%s: %s: %s", name, told.Message, strings.Join(flaws, "; "))
		}
		if n := v.openings.Load(); n != row.openings {
			t.Errorf("%s: the token was opened %d times, want %d", name, n, row.openings)
		}
	}
}

// A client that leaves gives up its place in the queue, and nothing is signed for it.
func TestClientThatLeavesTheQueue(t *testing.T) {
	v := newSoftVault(t)
	began, go_on := make(chan struct{}, 10), make(chan struct{})
	v.during = func(context.Context) error {
		began <- struct{}{}
		<-go_on
		return nil
	}
	socket := serve(t, v)
	var first sync.WaitGroup
	first.Go(func() {
		if err := sign(t.Context(), t, socket); err != nil {
			t.Error(err)
		}
	})
	<-began
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := sign(ctx, t, socket); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
	close(go_on)
	first.Wait()
	if err := sign(t.Context(), t, socket); err != nil { // which comes after it
		t.Error(err)
	}
	if n := len(began); n != 1 {
		t.Errorf("%d signatures after the first one", n)
	}
}

// A client that leaves during its signature doesn't end the module's time.
func TestClientThatLeavesItsSignature(t *testing.T) {
	v := newSoftVault(t)
	began, go_on, ended := make(chan struct{}, 1), make(chan struct{}), make(chan error, 1)
	v.during = func(ctx context.Context) error {
		began <- struct{}{}
		<-go_on
		ended <- ctx.Err()
		return nil
	}
	socket := serve(t, v)
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan error)
	go func() { left <- sign(ctx, t, socket) }()
	<-began
	cancel()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	close(go_on)
	if err := <-ended; err != nil {
		t.Errorf("the signature was ended: %v", err)
	}
}

// What can't be logged is not given out, and a refusal has a line.
func TestLogComesFirst(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	log, err := auditlog.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	socket := serve(t, newSoftVault(t), func(s *Server) { s.Log = log })
	if err := sign(t.Context(), t, socket); err != nil {
		t.Fatal(err)
	}
	if err := signMessage(t.Context(), t, socket, []byte("no payload")); err == nil || !strings.Contains(err.Error(), "1.2.3") {
		t.Errorf("error %v", err)
	}
	lines, err := os.ReadFile(path)
	if err != nil || strings.Count(string(lines), `"event":"signature"`) != 1 || strings.Count(string(lines), `"event":"refusal"`) != 1 ||
		!strings.Contains(string(lines), `"mechanism":"CKM_ECDSA"`) || !strings.Contains(string(lines), `"tokenSerial":"1"`) {
		t.Errorf("the log has %s, %v", lines, err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := sign(t.Context(), t, socket); err == nil || !strings.Contains(err.Error(), "not given out") {
		t.Errorf("error %v", err)
	}
}

// A person is asked about each signature, one at a time, and no means no.
func TestConfirmation(t *testing.T) {
	var asked []Question
	answer := error(nil)
	socket := serve(t, newSoftVault(t), func(s *Server) {
		s.Confirm = func(_ context.Context, q Question) error {
			asked = append(asked, q)
			return answer
		}
	})
	if err := sign(t.Context(), t, socket); err != nil {
		t.Error(err)
	}
	answer = errors.New("the answer was no")
	err := sign(t.Context(), t, socket)
	var told *contract.Error
	if !errors.As(err, &told) || told.ErrCode != contract.ErrorCodeAccessDenied {
		t.Errorf("error %v", err)
	}
	if len(asked) != 2 || asked[0].Payload.Target.Size != 1 || asked[0].Peer.UID != os.Getuid() {
		t.Errorf("asked %v", asked)
	}
}

// What waits when the server expires is not signed any more; what is being signed is.
func TestWhatWaitsWhenTheServerExpires(t *testing.T) {
	v := newSoftVault(t)
	signing, go_on := make(chan struct{}), make(chan struct{})
	v.during = func(context.Context) error {
		signing <- struct{}{}
		<-go_on
		return nil
	}
	var server *Server
	socket := serve(t, v, func(s *Server) { server = s })
	first, second := make(chan error, 1), make(chan error, 1)
	go func() { first <- sign(t.Context(), t, socket) }()
	<-signing
	go func() { second <- sign(t.Context(), t, socket) }()
	for server.waiting.Load() < 2 {
		time.Sleep(time.Millisecond)
	}
	expired := make(chan struct{})
	go func() {
		server.Expire("the agent's lifetime is over")
		close(expired)
	}()
	for server.over() == nil {
		time.Sleep(time.Millisecond)
	}
	go_on <- struct{}{}
	if err := <-first; err != nil {
		t.Errorf("what was being signed: %v", err)
	}
	select {
	case err := <-second:
		if err == nil || !strings.Contains(err.Error(), "lifetime is over") {
			t.Errorf("what waited: %v", err)
		}
	case <-signing:
		t.Error("what waited is signed")
		go_on <- struct{}{}
	}
	<-expired
}

// Nobody is asked about a signature once the server has expired, and who is being asked
// needs not answer any more.
func TestNobodyIsAskedAfterTheServerExpired(t *testing.T) {
	asked := make(chan struct{})
	var server *Server
	socket := serve(t, newSoftVault(t), func(s *Server) {
		server = s
		s.Confirm = func(ctx context.Context, _ Question) error {
			asked <- struct{}{}
			<-ctx.Done()
			return ctx.Err()
		}
	})
	results := make(chan error, 2)
	for range 2 {
		go func() { results <- sign(t.Context(), t, socket) }()
	}
	<-asked
	for server.waiting.Load() < 2 {
		time.Sleep(time.Millisecond)
	}
	go server.Expire("the agent's lifetime is over")
	for server.over() == nil {
		time.Sleep(time.Millisecond)
	}
	for range 2 {
		select {
		case err := <-results:
			if err == nil || !strings.Contains(err.Error(), "lifetime is over") {
				t.Errorf("error %v", err)
			}
		case <-asked:
			t.Fatal("somebody is asked")
		case <-time.After(time.Minute):
			t.Fatal("the question is still asked")
		}
	}
}

// A server ends whatever its clients do: as many as there can be, who go on asking, or
// some that don't read what they are told.
func TestClientsDoNotKeepTheServerFromEnding(t *testing.T) {
	var frame bytes.Buffer
	if err := writeFrame(&frame, frameRequest, []byte(`{"version":1,"operation":"describe","key":"pkcs11:token=T;object=a"}`)); err != nil {
		t.Fatal(err)
	}
	ask := func(conn *net.UnixConn) error {
		_, err := conn.Write(frame.Bytes())
		if err == nil {
			_, _, err = readFrame(conn, frameDescribed)
		}
		return err
	}
	fill := func(conn *net.UnixConn) {
		for err := error(nil); err == nil; _, err = conn.Write(frame.Bytes()) {
			conn.SetWriteDeadline(time.Now().Add(time.Second / 4))
		}
	}
	for name, row := range map[string]struct {
		clients       int
		before, after func(*net.UnixConn) // the end begins
	}{
		"that go on asking": {maxClients, func(*net.UnixConn) {}, func(conn *net.UnixConn) {
			for ask(conn) == nil {
			}
		}},
		"that don't read": {4, fill, func(*net.UnixConn) {}},
	} {
		t.Run(name, func(t *testing.T) {
			token, err := OpenToken(t.Context(), newSoftVault(t), settingsFor(t, "pkcs11:token=T;object=a", ""), nil)
			if err != nil {
				t.Fatal(err)
			}
			s := &Server{Tokens: []*Token{token}, Timeout: time.Minute}
			socket, err := Listen(filepath.Join(closedDir(t), "socket"))
			if err != nil {
				t.Fatal(err)
			}
			defer socket.Close()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			ended := make(chan error, 1)
			go func() { ended <- s.Serve(ctx, socket.UnixListener) }()
			var before, after sync.WaitGroup
			var conns []*net.UnixConn
			for range row.clients {
				conn := hello(t, socket.Path)
				conns = append(conns, conn)
				if err := ask(conn); err != nil {
					t.Fatal(err)
				}
				before.Go(func() { row.before(conn) })
			}
			before.Wait()
			for _, conn := range conns {
				after.Go(func() { row.after(conn) })
			}
			cancel()
			select {
			case err := <-ended:
				if err != nil {
					t.Error(err)
				}
			case <-time.After(writing - 5*time.Second): // after which it would let go by itself
				t.Error("the server doesn't end")
			}
			for _, conn := range conns {
				conn.Close()
			}
			after.Wait()
		})
	}
}
