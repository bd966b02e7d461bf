// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"errors"
	"os"
	"time"

	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
)

// Main is the module host. In the child process that Open starts it serves
// until the parent closes its pipe, and exits; elsewhere it returns at once.
// Call it first in main, before flags are read.
func Main() {
	if !isChild() {
		return
	}
	disableCoreDumps() // which would hold the PIN
	in, out, calls, err := inherited()
	if err != nil {
		os.Stderr.WriteString("this command is not for users: it serves a parent process that starts it itself\n")
		os.Exit(2)
	}
	c := &child{pipe: pipe{in: in, out: out}, recorder: recorder{file: calls}, pins: make(chan pinAnswer)}
	c.serve()
	exit() // without the library's exit handlers
}

// child is the state of the module host: one module, one key.
type child struct {
	pipe
	recorder recorder
	pins     chan pinAnswer
	module   *pkcs11.Module
	key      *pkcs11.Key
}

// operations has a function for each operation.
var operations = map[operation]func(*child, json.RawMessage) (any, error){
	opOpen:  with((*child).open),
	opSign:  with((*child).sign),
	opClose: with((*child).close),
}

// with makes a function of parameters one of their JSON document.
func with[P any](f func(*child, P) (any, error)) func(*child, json.RawMessage) (any, error) {
	return func(c *child, document json.RawMessage) (any, error) {
		var parameters P
		if err := json.Unmarshal(document, &parameters); err != nil {
			return nil, err
		}
		return f(c, parameters)
	}
}

// serve returns when the parent is gone, whatever the module is doing then:
// each request has a goroutine of its own.
func (c *child) serve() {
	for {
		t, body, err := c.receive()
		if err != nil {
			return
		}
		switch t {
		case frameRequest:
			var r request
			if err := json.Unmarshal(body, &r); err != nil {
				return
			}
			go c.answer(r)
		case framePIN:
			var answer pinAnswer
			err := json.Unmarshal(body, &answer)
			clear(body)
			if err != nil {
				return
			}
			c.pins <- answer
		}
	}
}

func (c *child) answer(r request) {
	answer := reply{ID: r.ID}
	result, err := any(nil), errors.New("the module host doesn't know this operation")
	if f, known := operations[r.Operation]; known {
		result, err = f(c, r.Parameters)
	}
	if err == nil {
		answer.Result, err = json.Marshal(result)
	}
	if err != nil {
		answer.Error = asError(err)
	}
	c.send(frameReply, answer) // fails only when the parent is gone
}

func (c *child) open(p openParameters) (any, error) {
	uri, err := pkcs11.ParseURI(p.URI)
	if err != nil {
		return nil, err
	}
	options := pkcs11.KeyOptions{UserType: p.UserType, PIN: c.askPIN, Sessions: p.Sessions}
	for _, der := range p.Certificates {
		certificate, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, err
		}
		options.Certificates = append(options.Certificates, certificate)
	}
	trace := c.record
	if p.Log {
		trace = c.report
	}
	if c.module, err = pkcs11.Load(p.Module, pkcs11.Options{InitArgs: p.InitArgs, Trace: trace}); err != nil {
		return nil, err
	}
	token, err := c.module.Token(uri)
	if err != nil {
		return nil, err
	}
	if p.PublicOnly {
		public, err := token.PublicKey(context.Background(), uri, options)
		if err != nil {
			return nil, err
		}
		return describe(public, nil)
	}
	if c.key, err = token.Key(context.Background(), uri, options); err != nil {
		return nil, err
	}
	certificates, err := c.key.Certificates()
	if err != nil {
		return nil, err
	}
	return describe(c.key.Public(), certificates)
}

func describe(public crypto.PublicKey, certificates []*x509.Certificate) (any, error) {
	der, err := x509.MarshalPKIXPublicKey(public)
	result := opened{PublicKey: der}
	for _, certificate := range certificates {
		result.Certificates = append(result.Certificates, certificate.Raw)
	}
	return result, err
}

// errNoKey is what a key that was opened for its public half gives.
var errNoKey = &pkcs11.Error{Kind: pkcs11.KindClosed, Message: "the key was not opened for signing"}

func (c *child) sign(p signParameters) (any, error) {
	if c.key == nil {
		return nil, errNoKey
	}
	opts := crypto.SignerOpts(crypto.Hash(p.Hash))
	if p.PSS {
		opts = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.Hash(p.Hash)}
	}
	signature, err := c.key.SignMessage(nil, p.Message, opts)
	return signed{signature}, err
}

func (c *child) close(struct{}) (any, error) {
	var errs []error
	if c.key != nil {
		errs = append(errs, c.key.Close())
	}
	if c.module != nil {
		errs = append(errs, c.module.Close())
	}
	return struct{}{}, errors.Join(errs...)
}

// askPIN asks the parent for the PIN.
func (c *child) askPIN(_ context.Context, token pkcs11.TokenInfo) (pkcs11.PIN, error) {
	if err := c.send(frameAsk, token); err != nil {
		return pkcs11.PIN{}, err
	}
	answer := <-c.pins
	if answer.Error != nil {
		return pkcs11.PIN{}, answer.Error
	}
	return pkcs11.NewPIN(answer.PIN), nil
}

// record is the pkcs11.Trace that tells the parent where a module died.
func (c *child) record(call string) (done func(rv uint)) {
	slot := c.recorder.enter(call)
	return func(uint) { c.recorder.leave(slot) }
}

// report is record for a parent that logs each call.
func (c *child) report(call string) (done func(rv uint)) {
	leave, start := c.record(call), time.Now()
	return func(rv uint) {
		took := time.Since(start)
		leave(rv)
		c.send(frameCall, finishedCall{call, rv, took.Nanoseconds()})
	}
}

// asError gives an error the type that goes over the pipe.
func asError(err error) *pkcs11.Error {
	var e *pkcs11.Error
	if errors.As(err, &e) {
		return e
	}
	return &pkcs11.Error{Kind: pkcs11.KindCall, Message: err.Error()}
}
