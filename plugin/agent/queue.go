// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	contract "github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/notation-pkcs11/notation-pkcs11/plugin"
	"github.com/notation-pkcs11/notation-pkcs11/plugin/payload"
)

// errCrowded is for more requests than wait.
var errCrowded = plugin.Refuse(contract.ErrorCodeThrottled, "Try again later", "%d signatures wait for the agent, which is the limit", maxWaiting)

// queued has a request wait for its turn, after a person was asked about the payload
// if there is one, and then does it. Meanwhile the client gets signs of life. One that
// leaves gives up its place.
func (s *Server) queued(work context.Context, c *client, h *held, p *payload.Payload, do func(job) error) error {
	if s.waiting.Add(1) > maxWaiting {
		s.waiting.Add(-1)
		return errCrowded
	}
	defer s.waiting.Add(-1)
	left, leave := context.WithCancel(work)
	defer leave()
	c.conn.SetReadDeadline(time.Time{})
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		var more [1]byte
		_, err := c.conn.Read(more[:]) // a client has nothing to say now
		if err == nil || !isDeadline(err) {
			leave()
		}
	}()
	defer func() {
		c.conn.SetReadDeadline(time.Now())
		<-watched
	}()
	alive := time.NewTicker(signOfLife)
	defer alive.Stop()
	done := make(chan struct{})
	defer close(done)
	go func() {
		for {
			select {
			case <-alive.C:
				if c.send(frameWaiting, nil) != nil {
					leave()
				}
			case <-done:
				return
			}
		}
	}()
	if p != nil {
		if err := s.confirm(left, c, h, p); err != nil {
			return err
		}
	}
	return do(job{left: left, work: work, timeout: s.Timeout, turn: func() error {
		if err := s.over(); err != nil { // it only waited until now
			return err
		}
		if c.send(frameTurn, nil) != nil {
			return errLeft
		}
		return nil
	}})
}

// gone returns why nobody waits for an answer any more; nil: somebody does.
func gone(left, work context.Context) error {
	switch {
	case work.Err() != nil:
		return errEnding
	case left.Err() != nil:
		return errLeft
	}
	return nil
}

var (
	errLeft   = errors.New("the plugin has left")
	errEnding = errors.New("the agent ends")
)

// confirm asks the person, where one is to be asked.
func (s *Server) confirm(left context.Context, c *client, h *held, p *payload.Payload) error {
	if s.Confirm == nil {
		return nil
	}
	s.confirming.Lock()
	defer s.confirming.Unlock()
	if left.Err() != nil {
		return errLeft
	}
	asking, stop := context.WithCancel(left)
	defer stop()
	s.asking.Store(&stop)
	defer s.asking.Store(nil)
	if err := s.over(); err != nil {
		return err
	}
	err := s.Confirm(asking, Question{Key: h.uri(), Payload: p, Peer: c.peer})
	if over := s.over(); over != nil {
		return over
	}
	if err != nil {
		return contract.NewError(contract.ErrorCodeAccessDenied, fmt.Sprintf("the signature was not confirmed: %v", err))
	}
	return nil
}
