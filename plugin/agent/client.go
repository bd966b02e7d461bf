// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
	"unicode"

	contract "github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
	"github.com/notation-pkcs11/notation-pkcs11/plugin"
)

// silence is how long an agent may be silent, which gives a sign of life every few
// seconds.
const silence = 30 * time.Second

// Client opens keys that an agent holds. It is a plugin.Opener for
// plugin.Plugin.Agent: its contexts need no deadline, since it counts the settings'
// timeout from the signature's turn.
type Client struct{}

// Open connects to the agent at Settings.Agent and has it show the key's public half. Errors are
// of the framework's type, with what to do.
func (Client) Open(ctx context.Context, s plugin.Settings) (plugin.Key, error) {
	k := &clientKey{path: s.Agent, timeout: s.Timeout}
	k.request = request{Version: protocolVersion, Key: s.URI.Selection()}
	if err := k.connect(ctx); err != nil {
		return nil, err
	}
	d, err := k.describe(ctx, opDescribe)
	if err == nil {
		if k.public, err = pkcs11.ParsePublicKey(d.PublicKey); err != nil {
			err = k.strange()
		}
	}
	if err != nil {
		k.Close()
		return nil, err
	}
	return k, nil
}

// clientKey is a key that an agent holds, over a connection of its own.
type clientKey struct {
	path    string
	timeout time.Duration
	conn    *net.UnixConn
	request request // what all of its requests have
	public  crypto.PublicKey
}

var _ plugin.Key = (*clientKey)(nil)

// connect connects, and sends nothing before it is known that the agent is of the
// same user.
func (k *clientKey) connect(ctx context.Context) error {
	if err := Check(); err != nil {
		return plugin.Refuse(contract.ErrorCodeValidation, "Unset "+Variable+" to log in without an agent", "%v", err)
	}
	if !filepath.IsAbs(k.path) {
		return plugin.Refuse(contract.ErrorCodeValidation, startAgain, "%s is not the absolute path of a socket", Variable)
	}
	limited, cancel := context.WithTimeout(ctx, silence)
	defer cancel()
	conn, err := dial(limited, k.path)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return k.unreachable(err)
	}
	peer, err := peerOf(conn)
	switch {
	case err != nil:
		err = plugin.Refuse(contract.ErrorCodeGeneric, startAgain, "nothing was sent, because it is unknown which user's process listens at %s, to which %s points: %v", quoted(k.path), Variable, err)
	case peer.UID != ownUID():
		err = plugin.Refuse(contract.ErrorCodeAccessDenied, startAgain, "nothing was sent, because the process that listens at %s, to which %s points, belongs to user %d, and an agent must be your own", quoted(k.path), Variable, peer.UID)
	}
	if err != nil {
		conn.Close()
		return err
	}
	k.conn = conn
	return nil
}

// unreachable says that there is no agent.
func (k *clientKey) unreachable(err error) error {
	why := err.Error()
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		why = "it accepts no connection"
	case errors.Is(err, fs.ErrNotExist):
		why = "there is no socket"
	case errors.Is(err, syscall.ECONNREFUSED):
		why = "no process listens on it"
	case errors.Is(err, fs.ErrPermission):
		why = "this user may not connect to it"
	}
	return plugin.Refuse(contract.ErrorCodeGeneric, startAgain, "the agent at %s, to which %s points, can't be reached: %s", quoted(k.path), Variable, why)
}

func quoted(path string) string { return fmt.Sprintf("%+.120q", path) }

// describe has the agent show something of the key.
func (k *clientKey) describe(ctx context.Context, o operation) (d description, err error) {
	r := k.request
	r.Operation = o
	body, err := k.ask(ctx, r, nil, frameDescribed)
	if err != nil {
		return d, err
	}
	if err := json.Unmarshal(body, &d); err != nil || d.Version != protocolVersion {
		return d, k.strange()
	}
	return d, nil
}

// ask sends a request and returns the body of its answer. The time counts from when
// it is the request's turn; before that the agent must not fall silent.
func (k *clientKey) ask(ctx context.Context, r request, message []byte, want frameType) ([]byte, error) {
	var out bytes.Buffer
	if err := writeJSON(&out, frameRequest, r); err != nil {
		return nil, contract.NewValidationErrorf("the key URI can't be sent to the agent: %v", err)
	}
	if message != nil {
		if err := writeFrame(&out, frameMessage, message); err != nil {
			return nil, contract.NewValidationErrorf("the message can't be sent to the agent: %v", err)
		}
	}
	stop := context.AfterFunc(ctx, func() { k.conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	k.setDeadline(ctx, silence)
	if _, err := k.conn.Write(out.Bytes()); err != nil && !errors.Is(err, syscall.EPIPE) { // an agent that refuses may not read all
		return nil, k.lost(ctx, err, false)
	}
	for turn := false; ; {
		if !turn {
			k.setDeadline(ctx, silence)
		}
		t, body, err := readFrame(k.conn, want, frameWaiting, frameTurn, frameError)
		if err != nil {
			return nil, k.lost(ctx, err, turn)
		}
		switch t {
		case want:
			return body, nil
		case frameError:
			return nil, k.told(body)
		case frameTurn:
			if !turn {
				turn = true
				k.setDeadline(ctx, k.timeout)
			}
		}
	}
}

// setDeadline bounds what comes next, unless ctx has ended.
func (k *clientKey) setDeadline(ctx context.Context, after time.Duration) {
	k.conn.SetDeadline(time.Now().Add(after))
	if ctx.Err() != nil {
		k.conn.SetDeadline(time.Unix(1, 0))
	}
}

// lost says how a connection ended.
func (k *clientKey) lost(ctx context.Context, err error, turn bool) error {
	var v violation
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &v):
		return k.strange()
	case isDeadline(err) && turn:
		return plugin.Refuse(contract.ErrorCodeTimeout, "Check that the HSM can be reached, or raise the plugin config timeout or NOTATION_PKCS11_TIMEOUT",
			"the agent at %s got no answer from the token within %v", quoted(k.path), k.timeout)
	case isDeadline(err):
		return plugin.Refuse(contract.ErrorCodeTimeout, "End the agent, then start it again", "the agent at %s, to which %s points, doesn't answer", quoted(k.path), Variable)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return plugin.Refuse(contract.ErrorCodeGeneric, startAgain, "the agent at %s, to which %s points, ended the connection without an answer", quoted(k.path), Variable)
	}
	return plugin.Refuse(contract.ErrorCodeGeneric, startAgain, "the connection to the agent at %s, to which %s points, was lost: %v", quoted(k.path), Variable, err)
}

// strange says that what answers doesn't speak the protocol.
func (k *clientKey) strange() error {
	return plugin.Refuse(contract.ErrorCodeGeneric, "Use the same release for the plugin and the agent, then start the agent again",
		"the program that answers at %s, to which %s points, is no agent, or one of another version of notation-pkcs11", quoted(k.path), Variable)
}

// codes are those of the contract.
var codes = []contract.ErrorCode{
	contract.ErrorCodeValidation, contract.ErrorCodeUnsupportedContractVersion, contract.ErrorCodeAccessDenied,
	contract.ErrorCodeTimeout, contract.ErrorCodeThrottled, contract.ErrorCodeGeneric,
}

// told returns the agent's own error.
func (k *clientKey) told(body []byte) error {
	var f failure
	if err := json.Unmarshal(body, &f); err != nil || !slices.Contains(codes, f.Code) {
		return k.strange()
	}
	// Whoever listens there: it ends up on terminals and in logs of pipelines.
	return contract.NewError(f.Code, strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, f.Message))
}

// Public implements plugin.Key.
func (k *clientKey) Public() crypto.PublicKey { return k.public }

// SignMessage implements plugin.Key. The options are those of plugin.SignerOpts: of
// them the hash alone is sent, and the rest follows from the key.
func (k *clientKey) SignMessage(ctx context.Context, message []byte, opts crypto.SignerOpts) ([]byte, error) {
	hash, err := plugin.HashOf(k.public)
	if err != nil {
		return nil, err
	}
	if own, err := plugin.SignerOpts(k.public, hash); err != nil || own.HashFunc() != opts.HashFunc() {
		return nil, contract.NewValidationErrorf("for this key, the agent signs only with %s", hash)
	}
	r := k.request
	r.Operation, r.Hash = opSign, hash
	return k.ask(ctx, r, message, frameSignature)
}

// Certificates implements plugin.Key.
func (k *clientKey) Certificates(ctx context.Context) ([]*x509.Certificate, error) {
	return k.certificates(ctx, opAll)
}

// OwnCertificates implements plugin.Key.
func (k *clientKey) OwnCertificates(ctx context.Context) ([]*x509.Certificate, error) {
	return k.certificates(ctx, opOwn)
}

func (k *clientKey) certificates(ctx context.Context, o operation) ([]*x509.Certificate, error) {
	d, err := k.describe(ctx, o)
	var certificates []*x509.Certificate
	for _, der := range d.Certificates {
		certificate, _ := pkcs11.ParseCertificate(der) // what is wrong with it, the plugin says
		certificates = append(certificates, certificate)
	}
	return certificates, err
}

// Close implements plugin.Key. The key stays open in the agent.
func (k *clientKey) Close() error { return k.conn.Close() }
