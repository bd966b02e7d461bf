// SPDX-License-Identifier: Apache-2.0

package pkcs11

import (
	"cmp"
	"errors"
	"sync"
	"time"

	"github.com/miekg/pkcs11"
)

// What openSession asks for.
const (
	readOnly  = pkcs11.CKF_SERIAL_SESSION
	readWrite = pkcs11.CKF_SERIAL_SESSION | pkcs11.CKF_RW_SESSION
)

// openPauses come before further tries to open a session: AWS CloudHSM answers
// CKR_ARGUMENTS_BAD to a client that is faster than its connection.
var openPauses = []time.Duration{20 * time.Millisecond, 100 * time.Millisecond, 500 * time.Millisecond}

// openSession opens a read-only session, since write-protected tokens have no
// other, and a read-write one where the module refuses that (AWS CloudHSM).
func (t *Token) openSession() (pkcs11.SessionHandle, error) {
	return t.openFirst(readOnly, readWrite)
}

// openFirst opens a session with the first flags that the module takes. No two
// modules refuse flags with the same CKR, so any but those of missing resources
// leads on to the next ones.
func (t *Token) openFirst(kinds ...uint) (pkcs11.SessionHandle, error) {
	for i := 0; ; i++ {
		var refused error
		early := false
		for _, flags := range kinds {
			s, err := t.calls.openSession(t.SlotID, flags)
			switch _, rv := returned(err); rv {
			case pkcs11.CKR_OK:
				return s, nil
			case pkcs11.CKR_SESSION_COUNT, pkcs11.CKR_HOST_MEMORY, pkcs11.CKR_DEVICE_MEMORY,
				pkcs11.CKR_DEVICE_REMOVED, pkcs11.CKR_TOKEN_NOT_PRESENT:
				return noSession, err
			case pkcs11.CKR_ARGUMENTS_BAD:
				early = true
			}
			refused = cmp.Or(refused, err)
		}
		if !early || i == len(openPauses) {
			return noSession, refused
		}
		time.Sleep(openPauses[i])
	}
}

// isLost reports whether a CKR means that the session or its login is gone, as
// after a node of a network HSM went away, so that a new session may help.
func isLost(rv uint) bool {
	switch rv {
	case pkcs11.CKR_SESSION_HANDLE_INVALID, pkcs11.CKR_SESSION_CLOSED, pkcs11.CKR_USER_NOT_LOGGED_IN,
		pkcs11.CKR_OBJECT_HANDLE_INVALID, pkcs11.CKR_KEY_HANDLE_INVALID:
		return true
	}
	return false
}

// noSession is the handle of a session that could not be replaced
// (CK_INVALID_HANDLE).
const noSession pkcs11.SessionHandle = 0

// sessions are the sessions of one key: each is used by one goroutine at a
// time, and is opened when the first one needs it.
type sessions struct {
	token  *Token
	resume func(pkcs11.SessionHandle) error // logs in and finds the key again
	others []func(pkcs11.SessionHandle)     // find the keys again that share the sessions

	mu     sync.Mutex
	freed  sync.Cond // a session came back, or its place did
	idle   []pkcs11.SessionHandle
	places int // taken by open sessions, idle or in use
	most   int
	ready  bool // the token is logged in and the key is found
	closed bool
}

func (p *sessions) init(token *Token, most int, resume func(pkcs11.SessionHandle) error) {
	p.token, p.most, p.resume = token, most, resume
	p.freed.L = &p.mu
}

// limit lowers the number of sessions.
func (p *sessions) limit(most int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.most = min(p.most, most)
}

// first opens a session and hands it to enter, which does what resume does
// later.
func (p *sessions) first(enter func(pkcs11.SessionHandle) error) error {
	s, err := p.token.openSession()
	if err != nil {
		return failed(err, "no session with the token %s can be opened", p.token.URI())
	}
	p.mu.Lock()
	p.places, p.ready = 1, true
	p.mu.Unlock()
	p.release(s, true)
	return enter(s)
}

// renew opens a session in the place of the only one, which is idle.
func (p *sessions) renew() (pkcs11.SessionHandle, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.token.calls.closeSession(p.idle[0]) // one that fails may not be closed, either
	p.idle, p.places = nil, 0
	s, err := p.token.openSession()
	if err == nil {
		p.idle, p.places = []pkcs11.SessionHandle{s}, 1
	}
	return s, err
}

// acquire takes an idle session, opens one, or waits. Where the token has no
// more of them, those that are open must do.
func (p *sessions) acquire() (pkcs11.SessionHandle, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		switch {
		case p.closed:
			return noSession, newError(KindClosed, "the key is closed")
		case len(p.idle) > 0:
			s := p.idle[len(p.idle)-1]
			p.idle = p.idle[:len(p.idle)-1]
			return s, nil
		case p.places >= p.most:
			p.freed.Wait()
			continue
		}
		p.places++
		s, err := p.openOneMore()
		if err == nil {
			return s, nil
		}
		p.places--
		if call, _ := returned(err); call != "C_OpenSession" || p.places == 0 {
			p.freed.Signal()
			return noSession, err
		}
		p.most = p.places // whatever it says of one more: the others are good
	}
}

// atOnce is how many are worth to wait for a session: few at first, and then as many again
// as there are sessions, until the token grants no more.
func (p *sessions) atOnce() int {
	const first = 4
	p.mu.Lock()
	defer p.mu.Unlock()
	return max(1, min(p.most, max(first, 2*p.places)))
}

// openOneMore opens a session. p.mu is held, but not meanwhile where there is nothing else
// to do: others can give theirs back, and open more. If the login is lost at that time, the
// signature finds it out, as with any session.
func (p *sessions) openOneMore() (pkcs11.SessionHandle, error) {
	if !p.ready {
		return p.openReady()
	}
	p.mu.Unlock()
	defer p.mu.Lock()
	return p.token.openSession()
}

// openReady opens a session, logged in and with the key found. p.mu is held, so
// that only one goroutine logs in.
func (p *sessions) openReady() (pkcs11.SessionHandle, error) {
	s, err := p.token.openSession()
	if err != nil || p.ready {
		return s, err
	}
	if err := p.resume(s); err != nil {
		return noSession, errors.Join(err, p.token.calls.closeSession(s))
	}
	for _, findAgain := range p.others {
		findAgain(s)
	}
	p.ready = true
	return s, nil
}

// release gives a session back. One that isn't healthy is closed.
func (p *sessions) release(s pkcs11.SessionHandle, healthy bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if healthy {
		p.idle = append(p.idle, s)
	} else {
		p.end(s)
		p.places--
	}
	p.freed.Signal()
}

// end closes a session. With the last one the login goes, too (section 5.6).
func (p *sessions) end(s pkcs11.SessionHandle) {
	if s != noSession {
		p.token.calls.closeSession(s) // one that is lost can't be closed
	}
	p.ready = p.ready && p.places > 1
}

// lost notes that the login is gone, or the key's handle.
func (p *sessions) lost() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ready = false
}

// replace opens another session in the place of one. The old one is closed
// after that, to keep the login; before, where the token has no more sessions.
// If it fails it returns noSession, to be released.
func (p *sessions) replace(s pkcs11.SessionHandle) (pkcs11.SessionHandle, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fresh, err := p.openReady()
	if err == nil {
		p.token.calls.closeSession(s)
		return fresh, nil
	}
	p.end(s)
	if _, rv := returned(err); rv == pkcs11.CKR_SESSION_COUNT {
		return p.openReady()
	}
	return noSession, err
}

// close waits for the sessions in use and closes all. The last one is handed
// to logout before.
func (p *sessions) close(logout func(pkcs11.SessionHandle) error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.freed.Broadcast()
	for len(p.idle) < p.places {
		p.freed.Wait()
	}
	var errs []error
	for i, s := range p.idle {
		if i == len(p.idle)-1 {
			errs = append(errs, logout(s))
		}
		errs = append(errs, p.token.calls.closeSession(s))
	}
	p.idle, p.places = nil, 0
	return errors.Join(errs...)
}
