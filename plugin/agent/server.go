// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	contract "github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/notation-pkcs11/notation-pkcs11/internal/auditlog"
	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
	"github.com/notation-pkcs11/notation-pkcs11/plugin"
	"github.com/notation-pkcs11/notation-pkcs11/plugin/payload"
)

// Bounds of what clients can have the server do at once.
const (
	// maxClients is how many are listened to; more wait to be connected.
	maxClients = 512
	// maxWaiting is how many signatures may wait for their turn.
	maxWaiting = 400
)

// Times.
const (
	// patience is how long the next bytes of a client are waited for.
	patience = time.Minute
	// signOfLife is how often a client that waits hears that it still does.
	signOfLife = 5 * time.Second
	// writing is how long a client may take to read an answer.
	writing = 30 * time.Second
)

// Question is what a person is asked before a signature.
type Question struct {
	// Key is the key that would sign.
	Key string
	// Payload is what it would sign. Its texts come from the requester.
	Payload *payload.Payload
	// Peer is the process that asks.
	Peer Peer
}

// Server answers plugin processes. Set it up, then call Serve once.
type Server struct {
	// Tokens are those whose keys it holds. They are closed by Serve.
	Tokens []*Token
	// Version is the program's, for errors.
	Version string
	// Timeout is how long a module may take for one request, from its turn on. It
	// is then killed.
	Timeout time.Duration
	// Log gets a line for each signature before it is given out, each refusal, and
	// each login that failed. Nil: none is kept.
	Log *auditlog.Log
	// Confirm asks a person, and returns an error if the answer isn't yes. It is
	// called by one request at a time. Nil: nobody is asked.
	Confirm func(context.Context, Question) error

	confirming sync.Mutex
	asking     atomic.Pointer[context.CancelFunc] // ends the question that a person is asked; nil: none is
	waiting    atomic.Int64
	expired    atomic.Pointer[string] // why nothing is signed any more
	used       atomic.Int64           // requests so far
	active     sync.RWMutex           // held for reading by requests that are being answered
	busy       atomic.Int64           // how many those are
}

// Expire has every request from now on answered with an error that begins with the
// reason, such as "the agent's lifetime of 8h is over", and so those that still wait
// for their turn or for a person, who is asked no longer. Signatures that are being made
// are finished; then the tokens are let go of, and their PINs forgotten.
func (s *Server) Expire(reason string) {
	s.expired.Store(&reason)
	if stop := s.asking.Load(); stop != nil {
		(*stop)()
	}
	s.wait()
	s.CloseTokens()
}

// over returns the error of requests once the server has expired; nil: it hasn't.
func (s *Server) over() error {
	if reason := s.expired.Load(); reason != nil {
		return plugin.Refuse(contract.ErrorCodeGeneric, startAgain, "%s", *reason)
	}
	return nil
}

// wait waits for the requests that are being answered.
func (s *Server) wait() {
	s.active.Lock()
	defer s.active.Unlock()
}

// CloseTokens closes all tokens, of a server that doesn't get to Serve.
func (s *Server) CloseTokens() {
	for _, t := range s.Tokens {
		t.Close()
	}
}

// Release lets go of all tokens, as Token.Release does.
func (s *Server) Release() {
	for _, t := range s.Tokens {
		t.Release()
	}
}

// Uses returns how many requests there were so far, and whether one is being
// answered.
func (s *Server) Uses() (count int64, busy bool) { return s.used.Load(), s.busy.Load() > 0 }

// lastMoments is how long signatures that are being made may take once the server
// ends.
const lastMoments = 500 * time.Millisecond

// Serve answers requests from the listener until ctx ends, then closes it and the
// tokens, and returns. Signatures that are being made then have half a second.
func (s *Server) Serve(ctx context.Context, listener *net.UnixListener) error {
	work, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWork()
	// Clients that don't read their answers hold nothing up once all others have theirs.
	connected, disconnect := context.WithCancel(context.WithoutCancel(ctx))
	defer disconnect()
	stop := context.AfterFunc(ctx, func() { listener.Close() })
	defer stop()
	err := s.accept(ctx, listener, func(conn *net.UnixConn) {
		stop := context.AfterFunc(connected, func() { conn.Close() })
		defer stop()
		s.serve(work, conn)
	})
	if ctx.Err() != nil {
		err = nil
	}
	listener.Close()
	over := "the agent ends"
	s.expired.Store(&over)
	patience := time.AfterFunc(lastMoments, stopWork)
	defer patience.Stop()
	unread := time.AfterFunc(lastMoments+lastMoments/2, disconnect)
	defer unread.Stop()
	s.wait()
	s.CloseTokens()
	return err
}

// accept has connections served until ctx ends or there are no more to come. Those that
// it has meanwhile may stay.
func (s *Server) accept(ctx context.Context, listener *net.UnixListener, serve func(*net.UnixConn)) error {
	clients := make(chan struct{}, maxClients)
	for {
		select {
		case clients <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		conn, err := listener.AcceptUnix()
		switch {
		case err == nil:
			go func() {
				defer func() { <-clients }()
				serve(conn)
			}()
		case isPassing(err) && ctx.Err() == nil:
			<-clients
			time.Sleep(100 * time.Millisecond) // as when no file is left
		default:
			return err
		}
	}
}

// client is one connection.
type client struct {
	conn *net.UnixConn
	peer Peer
	// writing is held for a frame: signs of life come beside the answer.
	writing sync.Mutex
}

func (c *client) send(t frameType, body []byte) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	c.conn.SetWriteDeadline(time.Now().Add(writing))
	return writeFrame(c.conn, t, body)
}

func (c *client) sendJSON(t frameType, document any) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	c.conn.SetWriteDeadline(time.Now().Add(writing))
	return writeJSON(c.conn, t, document)
}

// serve answers the requests of one connection. A process of another user gets no
// answer.
func (s *Server) serve(work context.Context, conn *net.UnixConn) {
	defer conn.Close()
	peer, err := peerOf(conn)
	if err != nil || peer.UID != ownUID() {
		s.note(auditlog.Entry{Event: auditlog.Refusal, Peer: peer.logged(), Reason: "a process of another user connected"})
		return
	}
	peer.lookUp()
	c := &client{conn: conn, peer: peer}
	for s.serveOne(work, c) == nil {
	}
}

// serveOne answers one request. An error ends the connection.
func (s *Server) serveOne(work context.Context, c *client) error {
	c.conn.SetReadDeadline(time.Now().Add(patience))
	_, document, err := readFrame(c.conn, frameRequest)
	if err != nil {
		var v violation
		if errors.As(err, &v) {
			s.fail(c, refusalOf(err))
		}
		return err
	}
	r, err := parseRequest(document)
	var message []byte
	if err == nil && r.Operation == opSign {
		_, message, err = readFrame(c.conn, frameMessage)
	}
	if err != nil {
		s.fail(c, refusalOf(err))
		return err
	}
	return s.answer(work, c, r, message)
}

func (s *Server) answer(work context.Context, c *client, r request, message []byte) error {
	if err := s.over(); err != nil { // before it waits for those that are still answered
		return s.fail(c, err)
	}
	s.active.RLock()
	defer s.active.RUnlock()
	if err := s.over(); err != nil { // from here on Expire waits
		return s.fail(c, err)
	}
	s.busy.Add(1)
	defer s.busy.Add(-1)
	s.used.Add(1)
	h, err := s.find(r.Key)
	if err != nil {
		s.note(auditlog.Entry{Event: auditlog.Refusal, Key: r.Key.String(), Peer: c.peer.logged(), Reason: messageOf(err)})
		return s.fail(c, err)
	}
	if r.Operation == opSign {
		return s.sign(work, c, h, r.Hash, message)
	}
	return s.describe(work, c, h, r.Operation)
}

// describe answers from what the key showed at first, without the token. Certificates
// that are not known yet, or were forgotten, are read.
func (s *Server) describe(work context.Context, c *client, h *held, o operation) error {
	d := description{Version: protocolVersion}
	var err error
	wanted := ownCertificates
	switch o {
	case opDescribe:
		if d.PublicKey, err = x509.MarshalPKIXPublicKey(h.public); err != nil {
			return s.fail(c, err)
		}
		return c.sendJSON(frameDescribed, d)
	case opAll:
		wanted = allCertificates
	}
	list := h.known(wanted)
	if list == nil {
		err := s.queued(work, c, h, nil, func(j job) (err error) {
			list, err = h.read(j, wanted)
			return err
		})
		if err != nil {
			return s.fail(c, s.translate(h, err))
		}
	}
	for _, certificate := range list {
		d.Certificates = append(d.Certificates, certificate.Raw)
	}
	return c.sendJSON(frameDescribed, d)
}

// sign signs a message, if it is a payload, and gives the signature out once its
// line is in the log.
func (s *Server) sign(work context.Context, c *client, h *held, hash contract.HashAlgorithm, message []byte) error {
	entry := auditlog.Entry{Key: h.uri(), TokenSerial: h.serial(), Certificate: h.thumbprint(), Peer: c.peer.logged()}
	p, err := payload.Parse(message)
	if err == nil {
		err = p.CheckAlgorithm(h.public)
	}
	if err != nil {
		err = plugin.Refuse(contract.ErrorCodeValidation, "If a newer notation signs this payload, use a newer release of notation-pkcs11",
			"the agent signs only Notary Project payloads: %v; the agent's version is %s", err, s.Version)
		return s.refuse(c, entry, err)
	}
	entry.SigningTime = p.SigningTime
	entry.Artifact = &auditlog.Artifact{Digest: p.Target.Digest, MediaType: p.Target.MediaType, Size: p.Target.Size}
	opts, err := plugin.SignerOpts(h.public, hash)
	if err != nil {
		return s.refuse(c, entry, err)
	}
	var signature []byte
	err = s.queued(work, c, h, p, func(j job) (err error) {
		signature, err = h.sign(j, message, opts)
		return err
	})
	if err != nil {
		if plugin.IsLoginFailure(err) {
			entry.Event, entry.Reason = auditlog.LoginFailure, err.Error()
			s.note(entry)
			return s.fail(c, s.translate(h, err))
		}
		return s.refuse(c, entry, s.translate(h, err))
	}
	entry.Event, entry.Mechanism = auditlog.Signature, h.lastMechanism()
	if err := s.note(entry); err != nil {
		return s.fail(c, plugin.Refuse(contract.ErrorCodeGeneric, "Make room for the log, or move it back and start the agent again",
			"a signature was made and not given out, because the audit log has no line for it: %v", err))
	}
	return c.send(frameSignature, signature)
}

// refuse notes a refusal and tells the client.
func (s *Server) refuse(c *client, entry auditlog.Entry, err error) error {
	entry.Event, entry.Reason = auditlog.Refusal, messageOf(err)
	s.note(entry) // nothing is given out
	return s.fail(c, err)
}

// note writes a line to the log, if there is one.
func (s *Server) note(e auditlog.Entry) error {
	if s.Log == nil {
		return nil
	}
	_, err := s.Log.Append(e)
	return err
}

// fail sends an error and returns nil if that can be done: the connection goes on.
func (s *Server) fail(c *client, err error) error {
	var told *contract.Error
	if !errors.As(err, &told) {
		told = contract.NewGenericError(err.Error())
	}
	message := told.Message
	if most := int(maxFrame[frameError]) / 8; len(message) > most { // escapes take up to six bytes
		message = strings.ToValidUTF8(message[:most], "") + "…"
	}
	return c.sendJSON(frameError, failure{Version: protocolVersion, Code: told.ErrCode, Message: message})
}

// isPassing reports whether an error of Accept may be over soon.
func isPassing(err error) bool {
	var e net.Error
	return !errors.Is(err, net.ErrClosed) && !errors.Is(err, io.EOF) && errors.As(err, &e)
}

func isDeadline(err error) bool {
	var e net.Error
	return errors.As(err, &e) && e.Timeout()
}

// find returns the one key that a URI selects among those that are held, by what
// each showed. Nothing that a client says selects a token.
func (s *Server) find(uri pkcs11.URI) (*held, error) {
	var found []*held
	for _, h := range s.keysOf() {
		if uri.Selects(h.shown) {
			found = append(found, h)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return nil, plugin.Refuse(contract.ErrorCodeValidation, "Start the agent with this key, too, or unset "+Variable,
			"the agent does not hold the key %s; it holds %s", uri, strings.Join(s.URIs(), ", "))
	}
	all := s.keysOf()
	short := shortURIs(all)
	var uris []string
	for _, h := range found {
		uris = append(uris, short[slices.Index(all, h)])
	}
	return nil, plugin.Refuse(contract.ErrorCodeValidation, "Use one of these keys in the key URI",
		"the agent holds several keys that match %s: %s", uri, strings.Join(uris, ", "))
}

// shortURIs name keys for a user who has to choose.
func shortURIs(keys []*held) []string {
	var shown []pkcs11.URI
	for _, h := range keys {
		shown = append(shown, h.shown)
	}
	var uris []string
	for _, u := range pkcs11.ShortURIs(shown) {
		uris = append(uris, u.String())
	}
	return uris
}

// keysOf lists all keys.
func (s *Server) keysOf() []*held {
	var keys []*held
	for _, t := range s.Tokens {
		keys = append(keys, t.keys...)
	}
	return keys
}

// URIs selects the keys that are held, each among the others.
func (s *Server) URIs() []string {
	uris := shortURIs(s.keysOf())
	slices.Sort(uris)
	return uris
}

// Names names the keys that are held, in logs.
func (s *Server) Names() []string {
	var names []string
	for _, h := range s.keysOf() {
		names = append(names, h.uri())
	}
	slices.Sort(names)
	return names
}
