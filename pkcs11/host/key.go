// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/notation-pkcs11/notation-pkcs11/internal/sandbox"
	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
)

// Config says which key to open, and how.
type Config struct {
	Module   string // absolute path of the PKCS#11 module
	InitArgs string // as in pkcs11.Options
	URI      pkcs11.URI
	UserType uint           // as in pkcs11.KeyOptions
	PIN      pkcs11.PINFunc // likewise; it is called in this process, once, and what it returns is wiped when it is sent
	// AskEachTime is as in pkcs11.KeyOptions: PIN is called for each login. It is for Open.
	AskEachTime bool
	// Certificates and Sessions are as in pkcs11.KeyOptions.
	Certificates []*x509.Certificate
	Sessions     int
	// PublicOnly opens nothing but the public half, which needs a login only if
	// it can't be read without. Such a key can't sign.
	PublicOnly bool
	// Describe asks for what Key.Shown returns.
	Describe bool
	// SecretEnv names environment variables that the module must not see,
	// beside those that are always kept from it.
	SecretEnv []string
	// Sandbox is what the module may do. Nil: all that the user may. Linux alone has
	// one.
	Sandbox *sandbox.Sandbox
	// MayGainPrivileges lets programs that the module starts have more rights than
	// the user, as setuid programs do. Else on Linux they don't (no_new_privs); in a
	// Sandbox it starts none.
	MayGainPrivileges bool
	// Trace is a path at which strace(1) writes what the module opens, for
	// sandbox.Learn. Empty: none. The process is open to others then, as strace
	// needs it to be.
	Trace string
	// Log gets each PKCS#11 call, at the debug level, and no secret. Nil: no call
	// is recorded.
	Log *slog.Logger
	// ModuleLog gets what the module prints, at the debug level, which may be the
	// PIN. Nil: it is thrown away.
	ModuleLog *slog.Logger

	closing closing // of tests; nil: graceUntil
}

// closing returns the context that bounds how long a module is waited for when it
// is closed. deadline is that of the opening; zero: there was none.
type closing func(deadline time.Time) (context.Context, context.CancelFunc)

// Key is a private key on a token whose module runs in a process of its own.
// It may be used from several goroutines. Close it when done, which ends the
// process.
type Key struct {
	process  *process
	public   crypto.PublicKey
	shown    pkcs11.URI
	probed   bool
	sibling  int    // its number in the child; 0: the key of Open
	siblings int    // opened from this one
	borrowed bool   // the process is a Module's, or another key's, which ends it
	turns    *turns // those of its siblings, too
}

// Open starts a module host and opens the key in it, as pkcs11.Token.Key does.
// ctx bounds the opening; its deadline is remembered for Close. Errors are
// those of package pkcs11, or of KindTimeout if ctx ended first, or of KindCrash
// if the module took its process down: these name the module and the function
// it was in.
func Open(ctx context.Context, c Config) (*Key, error) {
	p, err := c.start(ctx)
	if err != nil {
		return nil, err
	}
	k := &Key{process: p, turns: &turns{limit: max(c.Sessions, 1)}}
	var result opened
	err = p.call(ctx, opOpen, openParameters{c.parameters(), c.PublicOnly, c.Describe}, &result)
	if err == nil {
		err = k.parse(result)
	}
	if err != nil {
		err = p.explain(err)
		k.Close()
		return nil, err
	}
	return k, nil
}

// start starts a module host. It is closed by the deadline of ctx, or a little later.
func (c Config) start(ctx context.Context) (*process, error) {
	if c.PIN == nil {
		c.PIN = func(context.Context, pkcs11.TokenInfo) (pkcs11.PIN, error) {
			return pkcs11.PIN{}, &pkcs11.Error{Kind: pkcs11.KindNoPIN, Message: "none is configured"}
		}
	}
	p, err := start(c)
	if err != nil {
		return nil, err
	}
	p.deadline, _ = ctx.Deadline()
	p.closing = graceUntil
	if c.closing != nil {
		p.closing = c.closing
	}
	return p, nil
}

func (c Config) parameters() loadParameters {
	return loadParameters{
		Module: c.Module, InitArgs: c.InitArgs, URI: c.URI, UserType: c.UserType, Sessions: c.Sessions,
		AskEachTime: c.AskEachTime, Certificates: encodeCertificates(c.Certificates), Log: c.Log != nil,
	}
}

func encodeCertificates(certificates []*x509.Certificate) [][]byte {
	var list [][]byte
	for _, certificate := range certificates {
		list = append(list, certificate.Raw)
	}
	return list
}

// parse reads what the child says of the key.
func (k *Key) parse(o opened) (err error) {
	if k.public, err = pkcs11.ParsePublicKey(o.PublicKey); err != nil {
		return fmt.Errorf("the key's public half can't be parsed: %w", err)
	}
	k.shown, k.probed = o.Shown, o.Probed
	k.turns.allow(o.AtOnce)
	return nil
}

// Sibling opens another private key of the token, in the same process and with the
// same login, as pkcs11.Key.Sibling does. It is closed with k. Call it before k and
// its siblings sign.
func (k *Key) Sibling(ctx context.Context, uri pkcs11.URI) (*Key, error) {
	var result opened
	if err := k.process.call(ctx, opShare, shareParameters{uri}, &result); err != nil {
		return nil, err
	}
	k.siblings++
	sibling := &Key{process: k.process, sibling: k.siblings, borrowed: true, turns: k.turns}
	if err := sibling.parse(result); err != nil {
		return nil, err
	}
	return sibling, nil
}

// Shown returns all by which a URI can select the key, as pkcs11.Key.Shown does;
// the zero URI unless Config.Describe or Sibling asked for it.
func (k *Key) Shown() pkcs11.URI { return k.shown }

// Probed reports whether the opening has made signatures of no meaning, as
// pkcs11.Key.Probed does.
func (k *Key) Probed() bool { return k.probed }

// Public returns the key's public half, an *rsa.PublicKey or *ecdsa.PublicKey.
func (k *Key) Public() crypto.PublicKey { return k.public }

// Certificates reads all X.509 certificates on the token, as pkcs11.Key.Certificates does.
// When ctx ends first, the module's process is killed and the key is of no more use.
func (k *Key) Certificates(ctx context.Context) ([]*x509.Certificate, error) {
	return k.read(ctx, certificatesParameters{Sibling: k.sibling})
}

// OwnCertificates reads those that go with the key, as pkcs11.Key.OwnCertificates does. It
// ends as Certificates does.
func (k *Key) OwnCertificates(ctx context.Context) ([]*x509.Certificate, error) {
	return k.read(ctx, certificatesParameters{Own: true, Sibling: k.sibling})
}

func (k *Key) read(ctx context.Context, parameters certificatesParameters) ([]*x509.Certificate, error) {
	parameters.Sibling = k.sibling
	var result certificates
	if err := k.process.call(ctx, opCerts, parameters, &result); err != nil {
		return nil, err
	}
	return parseCertificates(result.Certificates), nil
}

// SignMessage hashes a message and signs it, with options and result as in
// pkcs11.Key.SignMessage. It waits for its turn, if as many signatures are being made as
// the token has sessions. When ctx ends before its turn, nothing else happens; when it ends
// after that, the module's process is killed and the key is of no more use.
func (k *Key) SignMessage(ctx context.Context, message []byte, opts crypto.SignerOpts) ([]byte, error) {
	end, err := k.Turn(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	return k.SignInTurn(ctx, message, opts)
}

// Turn waits for the turn of a signature, as SignMessage does, for callers who count
// their time from the turn and not from the request. SignInTurn signs in it, and the
// caller calls end, once, when it has. Nobody else has that turn meanwhile. An error
// wraps that of ctx, which ended first.
func (k *Key) Turn(ctx context.Context) (end func(), err error) {
	// Here and not in the child, which is killed when somebody's time is up.
	if err := k.turns.take(ctx); err != nil {
		return nil, err
	}
	return k.turns.giveBack, nil
}

// SignInTurn is SignMessage for a caller who has a Turn. It doesn't wait, and when ctx
// ends, the module's process is killed.
func (k *Key) SignInTurn(ctx context.Context, message []byte, opts crypto.SignerOpts) ([]byte, error) {
	parameters, err := parametersOf(opts)
	if err != nil {
		return nil, err
	}
	parameters.Message, parameters.Sibling = message, k.sibling
	var result signed
	if err := k.process.call(ctx, opSign, parameters, &result); err != nil {
		return nil, err
	}
	k.turns.allow(result.AtOnce)
	return result.Signature, nil
}

// Mechanisms names the mechanisms with which the key signs, as
// pkcs11.Key.Mechanisms does.
func (k *Key) Mechanisms(ctx context.Context, opts crypto.SignerOpts) (names []string, err error) {
	parameters, err := parametersOf(opts)
	if err != nil {
		return nil, err
	}
	parameters.Sibling = k.sibling
	err = k.process.call(ctx, opMechanisms, parameters, &names)
	return names, err
}

// parametersOf writes signer options for the pipe.
func parametersOf(opts crypto.SignerOpts) (signParameters, error) {
	if opts == nil {
		return signParameters{}, errors.New("no signer options were given; they name the hash")
	}
	parameters := signParameters{Hash: uint(opts.HashFunc())}
	if pss, ok := opts.(*rsa.PSSOptions); ok {
		if n := pss.SaltLength; n != rsa.PSSSaltLengthEqualsHash && n != pss.Hash.Size() {
			return signParameters{}, errors.New("RSA-PSS signatures are made with a salt as long as the hash only")
		}
		parameters.PSS = true
	}
	return parameters, nil
}

// How long a module may take to log out and finalize.
const (
	minGrace = time.Second
	maxGrace = 5 * time.Second
)

// Close logs out, finalizes the module and ends its process; all that for at
// most the rest of the time that Open had, but one to five seconds, then the
// process is killed. An error means that the token may still count a session;
// what was signed before is good all the same. A key of a Module, and a
// sibling, is closed with that, and Close does nothing.
func (k *Key) Close() error {
	if k.borrowed {
		return nil
	}
	return k.process.stop()
}

func graceUntil(deadline time.Time) (context.Context, context.CancelFunc) {
	grace := maxGrace
	if !deadline.IsZero() {
		grace = min(max(time.Until(deadline), minGrace), maxGrace)
	}
	return context.WithTimeout(context.Background(), grace)
}
