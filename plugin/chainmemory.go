// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"crypto"
	"crypto/x509"
	"slices"
	"sync"
	"time"
)

// chainMemory remembers the last chain that was found: who signs a thousand
// artifacts with one key has it searched and checked once. Errors are not
// remembered. It is safe for concurrent use, and its zero value is empty.
type chainMemory struct {
	mu    sync.Mutex
	seen  []*x509.Certificate // among which the chain was found
	chain []*x509.Certificate // of the key whose certificate is the first
	valid span                // of times at which the same is found
}

// find is findChain.
func (m *chainMemory) find(public crypto.PublicKey, onToken, configured []*x509.Certificate, now time.Time) ([]*x509.Certificate, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	seen := slices.Concat(onToken, configured)
	if m.has(public, seen, now) {
		return m.chain, nil
	}
	chain, err := findChain(public, onToken, configured, now)
	if err != nil {
		return nil, err
	}
	m.seen, m.chain, m.valid = seen, chain, unchanged(seen, now)
	return chain, nil
}

// has reports whether findChain would return the same as the last time.
func (m *chainMemory) has(public crypto.PublicKey, seen []*x509.Certificate, now time.Time) bool {
	key, ok := public.(interface{ Equal(crypto.PublicKey) bool })
	return ok && len(m.chain) > 0 && key.Equal(m.chain[0].PublicKey) &&
		m.valid.has(now) && slices.EqualFunc(m.seen, seen, (*x509.Certificate).Equal)
}

// span is a span of time, its end not included. A zero end is none.
type span struct{ from, until time.Time }

func (s span) has(t time.Time) bool {
	return !t.Before(s.from) && (s.until.IsZero() || t.Before(s.until))
}

// unchanged returns the span around now in which no certificate begins or ends
// to be valid. The choice can change with any of them, not only with those of
// the chain.
func unchanged(certs []*x509.Certificate, now time.Time) (s span) {
	for _, cert := range certs {
		for _, turn := range []time.Time{cert.NotBefore, cert.NotAfter.Add(time.Nanosecond)} { // valid at both, too
			switch {
			case !turn.After(now):
				if turn.After(s.from) {
					s.from = turn
				}
			case s.until.IsZero() || turn.Before(s.until):
				s.until = turn
			}
		}
	}
	return s
}
