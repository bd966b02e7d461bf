// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
)

// Main is the module host. In the child process that Open starts it serves
// until the parent closes its pipe, and exits; elsewhere it returns at once. In
// both it first closes the process to others: no core dumps, no secrets in the
// environment that other processes may see, no files that were left open for its
// children. (On Linux no other process can look into it since before Go started.)
// Call it first in main, before flags are read.
func Main() {
	guard()
	eraseSecrets()
	if !isChild() {
		return
	}
	in, out, calls, err := inherited()
	if err != nil {
		os.Stderr.WriteString("this command is not for users: it serves a parent process that starts it itself\n")
		os.Exit(2)
	}
	checkWalls()
	c := &child{pipe: pipe{in: in, out: out}, recorder: recorder{file: calls}, pins: make(chan pinAnswer)}
	c.serve()
	exit() // without the library's exit handlers
}

// child is the state of the module host: one module, one token, one key.
type child struct {
	pipe
	recorder recorder
	pins     chan pinAnswer
	uri      pkcs11.URI
	options  pkcs11.KeyOptions
	trace    pkcs11.Trace
	module   *pkcs11.Module
	token    *pkcs11.Token
	session  *pkcs11.Session
	key      *pkcs11.Key
	siblings []*pkcs11.Key
}

// pinAnswer is what the parent says when it is asked for a PIN.
type pinAnswer struct {
	pin pkcs11.PIN
	err error
}

// operations has a function for each operation.
var operations = map[operation]func(*child, json.RawMessage) (any, error){
	opOpen:  with((*child).open),
	opSign:  with((*child).sign),
	opCerts: with((*child).certificates),
	opClose: with((*child).close),
	opShare: with((*child).share),

	opLoad:       with((*child).load),
	opSurvey:     with((*child).survey),
	opToken:      with((*child).selectToken),
	opLogin:      with((*child).login),
	opKeys:       with((*child).keys),
	opKey:        with((*child).openKey),
	opMechanisms: with((*child).mechanisms),
	opGenerate:   with((*child).generate),
	opImport:     with((*child).importCertificates),
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
			c.pins <- pinAnswer{pin: pkcs11.NewPIN(body)}
		case frameNoPIN:
			var none pkcs11.Error
			if err := json.Unmarshal(body, &none); err != nil {
				return
			}
			c.pins <- pinAnswer{err: &none}
		}
	}
}

func (c *child) answer(r request) {
	answer := reply{ID: r.ID}
	result, err := c.do(r)
	if err == nil {
		answer.Result, err = json.Marshal(result)
	}
	if err != nil {
		answer.Error = asError(err)
	}
	c.send(frameReply, answer) // fails only when the parent is gone
}

// do does what is asked. A mistake of this program must not look like a crash of
// the module, whose signals don't come here.
func (c *child) do(r request) (result any, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("internal error in the module host, please report it: %v", p)
		}
	}()
	if f, known := operations[r.Operation]; known {
		return f(c, r.Parameters)
	}
	return nil, errors.New("the module host doesn't know this operation")
}

func (c *child) open(p openParameters) (any, error) {
	if err := c.prepare(p.loadParameters); err != nil {
		return nil, err
	}
	var err error
	if c.token, err = c.module.Token(c.uri); err != nil {
		return nil, err
	}
	if p.PublicOnly {
		public, err := c.token.PublicKey(context.Background(), c.uri, c.options)
		if err != nil {
			return nil, err
		}
		return describe(public, 0)
	}
	if c.key, err = c.token.Key(context.Background(), c.uri, c.options); err != nil {
		return nil, err
	}
	return describeKey(c.key, p.Describe)
}

// share opens another key with the login of the first one.
func (c *child) share(p shareParameters) (any, error) {
	if c.key == nil {
		return nil, errNoKey
	}
	sibling, err := c.key.Sibling(context.Background(), p.URI, c.options)
	if err != nil {
		return nil, err
	}
	c.siblings = append(c.siblings, sibling)
	return describeKey(sibling, true)
}

// prepare loads the module.
func (c *child) prepare(p loadParameters) error {
	c.uri = p.URI
	c.options = pkcs11.KeyOptions{UserType: p.UserType, PIN: c.askPIN, AskEachTime: p.AskEachTime, Sessions: p.Sessions, Certificates: parseCertificates(p.Certificates)}
	if p.Sessions <= 1 {
		runtime.GOMAXPROCS(1) // as in a parent that makes one signature
	}
	c.trace = c.record
	if p.Log {
		c.trace = c.report
	}
	var err error
	c.module, err = pkcs11.Load(p.Module, pkcs11.Options{InitArgs: p.InitArgs, Trace: c.trace})
	return err
}

// parseCertificates takes certificates as they are: what crypto/x509 refuses of
// them, pkcs11.CheckParsed tells.
func parseCertificates(list [][]byte) []*x509.Certificate {
	var certificates []*x509.Certificate
	for _, der := range list {
		certificate, _ := pkcs11.ParseCertificate(der)
		certificates = append(certificates, certificate)
	}
	return certificates
}

// describeKey describes a key that was opened, with all that it shows if it is to
// be found by that.
func describeKey(k *pkcs11.Key, shown bool) (opened, error) {
	result, err := describe(k.Public(), k.AtOnce())
	if err == nil && shown {
		result.Shown = k.Shown()
	}
	result.Probed = k.Probed()
	return result, err
}

func describe(public crypto.PublicKey, atOnce int) (opened, error) {
	der, err := x509.MarshalPKIXPublicKey(public)
	return opened{PublicKey: der, AtOnce: atOnce}, err
}

func (c *child) certificates(p certificatesParameters) (any, error) {
	key, err := c.keyOf(p.Sibling)
	if err != nil {
		return nil, err
	}
	read := key.Certificates
	if p.Own {
		read = key.OwnCertificates
	}
	list, err := read()
	return certificates{encodeCertificates(list)}, err
}

// errNoKey is what a key that was opened for its public half gives.
var errNoKey = &pkcs11.Error{Kind: pkcs11.KindClosed, Message: "the key was not opened for signing"}

func (c *child) sign(p signParameters) (any, error) {
	key, err := c.keyOf(p.Sibling)
	if err != nil {
		return nil, err
	}
	signature, err := key.SignMessage(nil, p.Message, p.options())
	return signed{signature, key.AtOnce()}, err
}

// keyOf returns the key of opOpen, or the one of opShare that has the number.
func (c *child) keyOf(sibling int) (*pkcs11.Key, error) {
	if sibling > 0 && sibling <= len(c.siblings) {
		return c.siblings[sibling-1], nil
	}
	if c.key == nil {
		return nil, errNoKey
	}
	return c.key, nil
}

func (p signParameters) options() crypto.SignerOpts {
	if p.PSS {
		return &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.Hash(p.Hash)}
	}
	return crypto.Hash(p.Hash)
}

func (c *child) close(struct{}) (any, error) {
	var errs []error
	if c.key != nil {
		errs = append(errs, c.key.Close())
	}
	if c.session != nil {
		errs = append(errs, c.session.Close())
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
	if err := answer.pin.Lock(); err != nil {
		c.trace(callMlock)(0, err) // into the log, and nothing else
	}
	return answer.pin, answer.err
}

// record is the pkcs11.Trace that tells the parent where a module died.
func (c *child) record(call string) (done func(rv uint, wrong error)) {
	slot := c.recorder.enter(call)
	return func(uint, error) { c.recorder.leave(slot) }
}

// report is record for a parent that logs each call.
func (c *child) report(call string) (done func(rv uint, wrong error)) {
	leave, start := c.record(call), time.Now()
	return func(rv uint, wrong error) {
		finished := finishedCall{Call: call, RV: rv, Nanoseconds: time.Since(start).Nanoseconds(), Wrong: wrongOf(wrong)}
		leave(rv, wrong)
		c.send(frameCall, finished)
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
