// SPDX-License-Identifier: Apache-2.0

package host

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

// A vendor's library shares the child's memory, so that it can write whatever it
// likes into the child's end of the pipe.

const testPIN = "pin-471147"

// newHostileChild returns a process of which only the pipe is real: the child
// says data, and sent gets what it is told.
func newHostileChild(data []byte, sent *frames) *process {
	p := &process{
		pipe:   pipe{in: io.NopCloser(bytes.NewReader(data)), out: sent},
		module: "/lib/hostile.so",
		pin: func(context.Context, pkcs11.TokenInfo) (pkcs11.PIN, error) {
			return pkcs11.NewPIN([]byte(testPIN)), nil
		},
		log:     slog.New(slog.DiscardHandler),
		command: &exec.Cmd{},
		output:  &capture{},
		done:    make(chan struct{}),
		waiting: map[uint64]chan reply{},
		reaped:  true,
		closing: graceUntil,
	}
	p.gone, p.setGone = context.WithCancel(context.Background())
	return p
}

// listen handles what the child says to its end, as receiveAll does. It returns
// how many PINs the child asked for, and the numbers of the requests that it
// answered.
func (p *process) listen() (asked int, answered map[uint64]bool) {
	answered = map[uint64]bool{}
	for {
		t, body, err := p.receive()
		if err == nil {
			err = p.handle(t, body)
		}
		if err != nil {
			break
		}
		var r reply
		if t == frameAsk {
			asked++
		} else if t == frameReply && json.Unmarshal(body, &r) == nil {
			answered[r.ID] = true
		}
	}
	p.asked.Wait()
	p.setGone()
	close(p.done)
	return asked, answered
}

// frames counts frames by their type.
type frames struct {
	mu    sync.Mutex
	count map[frameType]int
}

func (f *frames) Write(frame []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.count[frameType(frame[4])]++
	return len(frame), nil
}

func (f *frames) Close() error { return nil }

// questions are all that a parent asks of a child. They return what is wrong with
// an answer that was taken.
var questions = []func(context.Context, *process) (wrong string, err error){
	func(ctx context.Context, p *process) (string, error) {
		k := &Key{process: p, turns: &turns{}}
		var o opened
		err := p.call(ctx, opOpen, openParameters{}, &o)
		if err == nil {
			err = k.parse(o)
		}
		if err == nil && k.public == nil {
			return "a key without a public half", nil
		}
		return "", err
	},
	func(ctx context.Context, p *process) (string, error) {
		signature, err := (&Key{process: p, turns: &turns{}}).SignMessage(ctx, []byte("message"), crypto.SHA256)
		if err != nil && signature != nil {
			return "a signature beside the error", err
		}
		return "", err
	},
	func(ctx context.Context, p *process) (string, error) {
		list, err := (&Key{process: p, turns: &turns{}}).OwnCertificates(ctx)
		if slices.Contains(list, nil) {
			return "no certificate", err
		}
		return "", err
	},
	func(ctx context.Context, p *process) (string, error) {
		k, err := (&Key{process: p, turns: &turns{}}).Sibling(ctx, pkcs11.URI{})
		if err == nil && k.public == nil {
			return "a sibling without a public half", nil
		}
		return "", err
	},
	func(ctx context.Context, p *process) (string, error) {
		_, err := (&Key{process: p, turns: &turns{}}).Mechanisms(ctx, crypto.SHA256)
		return "", err
	},
	func(ctx context.Context, p *process) (string, error) {
		tokens, err := (&Module{process: p}).Survey(ctx)
		return notWritable(tokens), err
	},
	func(ctx context.Context, p *process) (string, error) {
		token, err := (&Module{process: p}).Token(ctx)
		return notWritable(token), err
	},
	func(ctx context.Context, p *process) (string, error) {
		return "", (&Module{process: p}).Login(ctx, false)
	},
	func(ctx context.Context, p *process) (string, error) {
		listings, err := (&Module{process: p}).Keys(ctx)
		for _, l := range listings {
			for _, certificate := range l.Certificates {
				if certificate == nil {
					return "no certificate", err
				}
			}
		}
		return "", err
	},
	func(ctx context.Context, p *process) (string, error) {
		_, err := (&Module{process: p}).Key(ctx)
		return "", err
	},
	func(ctx context.Context, p *process) (string, error) {
		made, err := (&Module{process: p}).Generate(ctx, "EC-256")
		if err == nil && made.Public == nil {
			return "no public half", nil
		}
		return notWritable(made), err
	},
	func(ctx context.Context, p *process) (string, error) {
		_, err := (&Module{process: p}).Import(ctx, nil)
		return "", err
	},
}

// notWritable says whether a value can't be written as JSON, as the commands do.
func notWritable(value any) string {
	if _, err := json.Marshal(value); err != nil {
		return err.Error()
	}
	return ""
}

func frame(t frameType, body string) []byte {
	var b buffer
	if err := (&pipe{out: &b}).send(t, json.RawMessage(body)); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// FuzzHostileChild holds that each question to a child gets one end whatever the
// child says, that no answer is taken that can't be used, and that the PIN leaves
// only when it is asked for.
func FuzzHostileChild(f *testing.F) {
	pki, err := testenv.NewPKI()
	if err != nil {
		f.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(pki.Root.PublicKey)
	if err != nil {
		f.Fatal(err)
	}
	spki, certificate := base64.StdEncoding.EncodeToString(der), base64.StdEncoding.EncodeToString(pki.Root.Raw)
	for _, seed := range []string{
		`{"id":1,"result":{"publicKey":"` + spki + `","certificates":["` + certificate + `"]}}`,
		`{"id":1,"result":{"publicKey":"` + spki + `","certificates":[null]}}`,
		`{"id":1}`, `{"id":1,"result":null}`, `{"id":11}`, `{"id":2,"error":{"kind":"call","call":"C_Sign","rv":5}}`,
		`{"id":2,"result":{"signature":"AAAA"}}`, `{"id":3,"result":["CKM_ECDSA",null]}`,
		`{"id":4,"result":[{"label":"T","uri":"pkcs11:token=T"}]}`, `{"id":4,"result":[{"uri":"pkcs11:?pin-value=1"}]}`,
		`{"id":5,"result":{"uri":"pkcs11:token=T"}}`, `{"id":6,"result":{}}`,
		`{"id":7,"result":[{"token":{},"keys":[{"uri":"pkcs11:","publicKey":"AA==","problem":{}}],"certificates":["` + certificate + `"]}]}`,
		`{"id":8,"result":{"publicKey":""}}`, `{"id":9,"result":{"uri":"pkcs11:","publicKey":"` + spki + `"}}`, `{"id":10,"result":[true]}`,
	} {
		f.Add(append(frame(frameReply, seed), frame(frameReply, seed)...))
	}
	f.Add(append(frame(frameAsk, `{"label":"T"}`), frame(frameAsk, `{}`)...))
	f.Add(append(frame(frameCall, `{"call":"C_Sign","rv":48,"ns":-1}`), frame('x', `{}`)...))
	f.Fuzz(func(t *testing.T, data []byte) {
		sent := &frames{count: map[frameType]int{}}
		p := newHostileChild(data, sent)
		var asking sync.WaitGroup
		for i, ask := range questions {
			asking.Go(func() {
				wrong, err := ask(t.Context(), p)
				if wrong != "" {
					t.Errorf("question %d: %s", i+1, wrong)
				}
				if err != nil && strings.Contains(err.Error(), testPIN) {
					t.Errorf("question %d: the PIN is in the error: %v", i+1, err)
				}
			})
			for p.numbered() <= uint64(i) { // so that each has its number
				runtime.Gosched()
			}
		}
		asked, answered := p.listen()
		asking.Wait()
		for i := range questions {
			if _, open := p.waiting[uint64(i)+1]; open == answered[uint64(i)+1] {
				t.Errorf("question %d: open %v, answered %v", i+1, open, !open)
			}
		}
		sent.mu.Lock()
		defer sent.mu.Unlock()
		if told := sent.count[framePIN]; told != asked || told > 1 {
			t.Errorf("the PIN was told %d times, and asked for %d times", told, asked)
		}
	})
}

// A child can ask for the PIN as often as it likes: it is told once, and then ended.
func TestPINIsToldOnce(t *testing.T) {
	sent := &frames{count: map[frameType]int{}}
	p := newHostileChild(bytes.Repeat(frame(frameAsk, `{}`), 1000), sent)
	p.listen()
	if told := sent.count[framePIN]; told != 1 {
		t.Errorf("the PIN was told %d times", told)
	}
	if err := p.handle(frameAsk, []byte(`{}`)); err == nil || !strings.Contains(err.Error(), "a second time") {
		t.Errorf("error %v", err)
	}
}

// Where each login asks, a child asks one at a time, for what it is to do, and no more
// often than that takes logins.
func TestQuestionsForThePINAreBounded(t *testing.T) {
	for _, test := range []struct {
		name     string
		requests bool
		waits    bool // each for its answer
		told     int
		says     string
	}{
		{"of no request", false, true, 0, "of no request"},
		{"at once", true, false, 0, "while it was asked for"},
		{"without end", true, true, maxLogins, "more than 16 times"},
	} {
		sent := &frames{count: map[frameType]int{}}
		p := newHostileChild(nil, sent)
		p.askEachTime = true
		person := make(chan struct{})
		p.pin = func(context.Context, pkcs11.TokenInfo) (pkcs11.PIN, error) {
			if !test.waits {
				<-person
			}
			return pkcs11.NewPIN([]byte(testPIN)), nil
		}
		if test.requests {
			p.waiting[1] = make(chan reply, 1)
		}
		var err error
		for n := 0; n <= 2*maxLogins && err == nil; n++ {
			if err = p.handle(frameAsk, []byte(`{}`)); test.waits {
				p.asked.Wait()
			}
		}
		if !errors.As(err, new(refusal)) || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: error %v", test.name, err)
		}
		if told := sent.count[framePIN]; told != test.told && test.waits {
			t.Errorf("%s: the PIN was told %d times, want %d", test.name, told, test.told)
		}
		close(person)
		p.asked.Wait()
	}
}

// What a child sends is bounded before it is taken apart: by its length, and by how
// many values are in it, of which each takes more memory than it has bytes.
func TestFramesAreBounded(t *testing.T) {
	for name, data := range map[string][]byte{
		"a long question": frame(frameAsk, `{"label":"`+strings.Repeat("b", maxShort)+`"}`),
		"a long call":     frame(frameCall, `{"call":"`+strings.Repeat("b", maxShort)+`"}`),
		"a long answer":   frame(frameReply, `{"id":1,"result":"`+strings.Repeat("b", maxFrame)+`"}`),
		"many values":     frame(frameReply, `{"id":1,"result":[`+strings.Repeat("{},", maxValues/2)+`{}]}`),
		"many lists":      frame(frameReply, `{"id":1,"result":[`+strings.Repeat("[],", maxValues/2)+`[]]}`),
	} {
		p := newHostileChild(data, &frames{count: map[frameType]int{}})
		if _, _, err := p.receive(); !errors.As(err, new(refusal)) {
			t.Errorf("%s: error %v", name, err)
		}
	}
	p := newHostileChild(frame(frameCall, `{"call":"C_Sign"}`), &frames{count: map[frameType]int{}})
	p.log = nil
	typ, body, err := p.receive()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.handle(typ, body); !errors.As(err, new(refusal)) {
		t.Errorf("a call that nobody asked for: error %v", err)
	}
}

// What a child says goes into the debug log, and into errors, only as a choice of
// words that the parent has; it answers what it was asked, once.
func TestChildPutsNoTextIntoTheLog(t *testing.T) {
	var log bytes.Buffer
	p := newHostileChild(nil, &frames{count: map[frameType]int{}})
	p.log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	p.waiting[1] = make(chan reply, 1)
	for _, test := range []struct {
		t     frameType
		body  string
		taken bool
	}{
		{frameCall, `{"call":"C_Sign","rv":5,"ns":7}`, true},
		{frameCall, `{"call":"C_Sign","wrong":{"length":{"Says":9,"Most":8}}}`, true},
		{frameCall, `{"call":"mlock","wrong":{"errno":12}}`, true},
		{frameCall, `{"call":"C_Sign","wrong":{"text":"` + testPIN + `"}}`, true},
		{frameCall, `{"call":"C_Sign","wrong":"` + testPIN + `"}`, false},
		{frameCall, `{"call":"` + testPIN + `"}`, false},
		{frameReply, `{"id":1}`, true},
		{frameReply, `{"id":1}`, false},
		{frameReply, `{"id":2}`, false},
	} {
		err := p.handle(test.t, []byte(test.body))
		if (err == nil) != test.taken || err != nil && !errors.As(err, new(refusal)) {
			t.Errorf("%s: error %v", test.body, err)
		}
		if err != nil && strings.Contains(err.Error(), testPIN) {
			t.Errorf("%s: the PIN is in the error: %v", test.body, err)
		}
	}
	if strings.Contains(log.String(), testPIN) || strings.Count(log.String(), "\n") != 4 {
		t.Errorf("the log:\n%s", &log)
	}
	p.logged.Store(maxCalls)
	if err := p.handle(frameCall, []byte(`{"call":"C_Sign"}`)); !errors.As(err, new(refusal)) {
		t.Errorf("without end: error %v", err)
	}

	notes, err := os.Create(filepath.Join(t.TempDir(), "calls"))
	if err != nil {
		t.Fatal(err)
	}
	defer notes.Close()
	r := recorder{file: notes}
	r.enter(testPIN)
	r.enter("C_Login")
	if calls := r.calls(); !slices.Equal(calls, []string{"C_Login"}) {
		t.Errorf("the child is said to be in %q", calls)
	}
}

// numbered returns the number of the last question.
func (p *process) numbered() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lastID
}

// FuzzRequest holds that the child answers each request once, whatever is in it,
// and that none of them brings it down.
func FuzzRequest(f *testing.F) {
	for o := range operations {
		for _, parameters := range []string{`{}`, `null`, `[]`, `{"module":"/nonexistent/module.so","uri":"pkcs11:token=T","sessions":-1,"userType":1}`, `{"hash":5,"pss":true,"message":"AA=="}`, `{"certificates":["MAA="]}`} {
			f.Add(uint64(1), string(o), []byte(parameters))
		}
	}
	f.Add(uint64(1<<63), "unknown", []byte(`{`))
	f.Fuzz(func(t *testing.T, id uint64, o string, parameters []byte) {
		var out buffer
		c := &child{pipe: pipe{in: &out, out: &out}}
		c.answer(request{id, operation(o), parameters})
		typ, body, err := c.receive()
		if err != nil || typ != frameReply || out.Len() > 0 {
			t.Fatalf("answered %c %s, and %d bytes more, %v", typ, body, out.Len(), err)
		}
		var r reply
		if err := json.Unmarshal(body, &r); err != nil || r.ID != id || (r.Error == nil) == (r.Result == nil) {
			t.Fatalf("answered %s, %v", body, err)
		}
		if r.Error != nil && (r.Error.Kind == "" || strings.HasPrefix(r.Error.Message, "internal error")) {
			t.Fatalf("answered %s", body)
		}
	})
}
