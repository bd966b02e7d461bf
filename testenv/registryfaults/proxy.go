// SPDX-License-Identifier: Apache-2.0

// Package registryfaults is a proxy that stands in front of a real registry and
// does what networks, gateways and hostile registries do: it refuses, hangs,
// resets, breaks off, lies, sends elsewhere. It wants a user, a password and
// tokens, so that where those go can be seen.
//
// Start with [New], and put a fault of [Faults] at a request:
//
//	p, err := registryfaults.New(registry.Host)
//	p.Inject(registryfaults.Rule{Class: registryfaults.PutManifest, Nth: 1, Times: 1, Fault: fault})
//	... a client that talks to p.Host as registryfaults.Username ...
//	p.Heal()
//
// Requests are counted by their class, those without a good token not at all: a
// rule meets what the client really wants, not how it logs in. The registry
// behind is a real one and is asked each time; the proxy remembers nothing of it
// but the referrers index that the first request found.
//
// It is for tests alone: the password is a constant.
package registryfaults

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
)

// What the proxy lets in.
const (
	Username = "robot"
	Password = "pass-4c1d9be07a52"
)

// maxBody bounds what is read of a request or an answer.
const maxBody = 16 << 20

// Proxy is a registry with faults. It is safe for concurrent use.
type Proxy struct {
	// Host is the proxy's part of a reference, such as "localhost:41397".
	Host string

	behind    string // host:port of the registry
	server    *httptest.Server
	transport *http.Transport
	elsewhere *elsewhere
	closed    chan struct{}

	mu        sync.Mutex
	rules     []Rule
	counts    map[Class]int
	requests  []Request
	tokens    map[string]int // good for so many requests more
	issued    []string
	tokenUses int
	index     *Answer // as the first request for it found it
}

// Rule puts a fault at requests.
type Rule struct {
	Class Class // empty: any, and Nth counts them all
	Nth   int   // of the class, from 1
	Times int   // how many requests from there on; zero: all
	Fault Fault
}

// Request is one that came with a good token, or for one.
type Request struct {
	Class  Class
	Method string
	Path   string
	Fault  string // name of the fault that it met; empty: none
	// Status is the registry's answer, 0 where the request did not get there.
	Status int
}

// New starts a proxy in front of the registry at a host and port.
func New(behind string) (*Proxy, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start proxy: %w", err)
	}
	p := &Proxy{
		Host:      fmt.Sprintf("localhost:%d", listener.Addr().(*net.TCPAddr).Port),
		behind:    behind,
		transport: &http.Transport{DisableCompression: true},
		elsewhere: newElsewhere(),
		closed:    make(chan struct{}),
		counts:    map[Class]int{},
		tokens:    map[string]int{},
		tokenUses: manyUses,
	}
	p.server = &httptest.Server{
		Listener: listener,
		Config:   &http.Server{Handler: http.HandlerFunc(p.serve), ErrorLog: log.New(io.Discard, "", 0)},
	}
	p.server.Start()
	return p, nil
}

// Close stops the proxy; requests that hang end.
func (p *Proxy) Close() error {
	close(p.closed)
	p.server.CloseClientConnections()
	p.server.Close()
	p.elsewhere.server.Close()
	p.transport.CloseIdleConnections()
	return nil
}

// Inject adds a rule. The first that matches a request counts.
func (p *Proxy) Inject(rule Rule) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules = append(p.rules, rule)
}

// Heal drops all rules, and tokens are good for long again.
func (p *Proxy) Heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules = nil
	p.tokenUses = manyUses
}

// Requests returns what came so far, in that order.
func (p *Proxy) Requests() []Request {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.requests)
}

// Elsewhere returns what came to the other host that faults send clients to: each
// request whole, as text.
func (p *Proxy) Elsewhere() []string { return p.elsewhere.received() }

// Secrets returns what must go nowhere but to this proxy and in no output: the
// password and the tokens, as they are and as they travel.
func (p *Proxy) Secrets() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string{Password, base64.StdEncoding.EncodeToString([]byte(Username + ":" + Password))}, p.issued...)
}

// serve takes a request to the registry, or a fault to the request.
func (p *Proxy) serve(w http.ResponseWriter, r *http.Request) {
	x := &Exchange{Class: classOf(r), Request: r, proxy: p, writer: w}
	var err error
	if x.body, err = io.ReadAll(io.LimitReader(r.Body, maxBody)); err != nil {
		return // the client is gone
	}
	if x.Class != GetToken && !p.admits(r) {
		x.Send(p.challenge())
		return
	}
	fault := p.note(x)
	if fault == nil {
		fault = func(x *Exchange) { x.Send(x.Forward()) }
	}
	fault(x)
}

// note counts a request and returns what a rule does to it, nil if none does.
func (p *Proxy) note(x *Exchange) func(*Exchange) {
	p.mu.Lock()
	defer p.mu.Unlock()
	x.number = len(p.requests)
	p.requests = append(p.requests, Request{Class: x.Class, Method: x.Request.Method, Path: x.Request.URL.Path})
	p.counts[x.Class]++
	for _, rule := range p.rules {
		nth := p.counts[x.Class]
		if rule.Class == "" {
			nth = len(p.requests)
		} else if rule.Class != x.Class {
			continue
		}
		if nth >= rule.Nth && (rule.Times == 0 || nth < rule.Nth+rule.Times) {
			p.requests[x.number].Fault = rule.Fault.Name
			return rule.Fault.Do
		}
	}
	return nil
}

// Exchange is a request at a proxy, and the way to answer it.
type Exchange struct {
	Class   Class
	Request *http.Request

	proxy  *Proxy
	writer http.ResponseWriter
	body   []byte // of the request
	number int    // of the request
}

// Answer is what a registry answers.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Forward has the registry do what is asked for and returns its answer, which the
// client does not get unless it is sent.
func (x *Exchange) Forward() Answer {
	if x.Class == GetToken {
		return x.proxy.issue(x.Request)
	}
	answer, err := x.proxy.ask(x.Request.Context(), x.Request.Method, x.Request.URL.RequestURI(), x.Request.Host, x.Request.Header, x.body)
	if err != nil {
		return failure(http.StatusBadGateway, err.Error())
	}
	x.proxy.mu.Lock()
	defer x.proxy.mu.Unlock()
	x.proxy.requests[x.number].Status = answer.Status
	if x.Class == GetIndex && x.proxy.index == nil {
		x.proxy.index = &answer
	}
	return answer
}

// ask asks the registry behind.
func (p *Proxy) ask(ctx context.Context, method, uri, host string, header http.Header, body []byte) (_ Answer, err error) {
	// What has begun to take effect does so whether or not the client stays.
	req, err := http.NewRequestWithContext(context.WithoutCancel(ctx), method, "http://"+p.behind+uri, bytes.NewReader(body))
	if err != nil {
		return Answer{}, err
	}
	req.Header = header.Clone()
	req.Header.Del("Authorization")
	req.Host = host // or upload locations would lead past the proxy
	resp, err := p.transport.RoundTrip(req)
	if err != nil {
		return Answer{}, err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	content, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	return Answer{resp.StatusCode, resp.Header, content}, err
}

// Send sends an answer.
func (x *Exchange) Send(a Answer) {
	x.head(a)
	x.writer.Write(a.Body) // a client that is gone has no need of it
}

// head sends the head of an answer, which says how long the body is.
func (x *Exchange) head(a Answer) {
	length := x.header(a)
	if x.Request.Method != http.MethodHead {
		length = fmt.Sprint(len(a.Body))
	}
	if length != "" {
		x.writer.Header().Set("Content-Length", length)
	}
	x.writer.WriteHeader(a.Status)
}

// header sets an answer's header, and takes out and returns the length.
func (x *Exchange) header(a Answer) (length string) {
	for name, values := range a.Header {
		x.writer.Header()[name] = values
	}
	length = x.writer.Header().Get("Content-Length")
	x.writer.Header().Del("Content-Length")
	return length
}

// Wait returns when the client has gone away, or the proxy closes.
func (x *Exchange) Wait() {
	select {
	case <-x.Request.Context().Done():
	case <-x.proxy.closed:
	}
}

// drop closes the connection; with reset, so that the client's system says
// "connection reset by peer".
func (x *Exchange) drop(reset bool) {
	conn, _, err := http.NewResponseController(x.writer).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // the connection is closed, too
	}
	defer conn.Close()
	if tcp, ok := conn.(*net.TCPConn); ok && reset {
		tcp.SetLinger(0) // or it is closed in order, which fails the request as well
	}
}

// failure is a registry's refusal, with its reason as the distribution-spec has
// it.
func failure(status int, reason string) Answer {
	code := strings.ToUpper(strings.ReplaceAll(http.StatusText(status), " ", "_"))
	return Answer{
		Status: status,
		Header: http.Header{"Content-Type": {"application/json"}},
		Body:   fmt.Appendf(nil, `{"errors":[{"code":%q,"message":%q}]}`, code, reason),
	}
}
