// SPDX-License-Identifier: Apache-2.0

package revocation

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/notaryproject/notation-core-go/revocation"
	"github.com/notaryproject/notation-core-go/revocation/crl"
	"github.com/notaryproject/notation-core-go/revocation/purpose"
	"github.com/notaryproject/notation-core-go/revocation/result"
)

// How long a server may take to answer: those of notation's command.
const (
	ocspTimeout = 2 * time.Second
	crlTimeout  = 5 * time.Second
)

// revocationTimeout is for all servers of a certificate chain together, of
// which its certificates can name any number.
const revocationTimeout = 30 * time.Second

// New returns what asks OCSP responders and fetches CRLs that are not at hand, for
// each certificate chain once. The answers are for one run.
func New(transport http.RoundTripper, atHand Lists) (codeSigning, timestamping *Memory, err error) {
	lists, err := crl.NewHTTPFetcher(&http.Client{Transport: transport, Timeout: crlTimeout})
	if err != nil {
		return nil, nil, fmt.Errorf("fetch CRLs: %w", err)
	}
	lists.Cache = &listMemory{}
	lists.DiscardCacheError = true
	remember := func(p purpose.Purpose) (*Memory, error) {
		validator, err := revocation.NewWithOptions(revocation.Options{
			OCSPHTTPClient:   &http.Client{Transport: transport, Timeout: ocspTimeout},
			CRLFetcher:       listsFirst{atHand, lists},
			CertChainPurpose: p,
		})
		if err != nil {
			return nil, fmt.Errorf("check revocation: %w", err)
		}
		return &Memory{validator: validator}, nil
	}
	if codeSigning, err = remember(purpose.CodeSigning); err != nil {
		return nil, nil, err
	}
	timestamping, err = remember(purpose.Timestamping)
	return codeSigning, timestamping, err
}

// Bounds of what is remembered.
const (
	// answerAge is how long an answer is good for. Most OCSP answers are good for
	// hours.
	answerAge = 10 * time.Minute
	// failureAge is how long a server that did not answer is not asked again:
	// long enough that the explanation of a verdict says the same as the verdict.
	failureAge = 30 * time.Second
	maxAnswers = 1000
)

// Memory is a revocation.Validator that asks for each certificate
// chain once, also where many ask at once.
type Memory struct {
	validator revocation.Validator

	mu      sync.Mutex
	answers map[chainKey]*revocationAnswer
}

type chainKey [sha256.Size]byte

// revocationAnswer is what came back; its other fields are set when done is
// closed.
type revocationAnswer struct {
	done    chan struct{}
	results []*result.CertRevocationResult
	err     error
	until   time.Time
}

// ValidateContext implements revocation.Validator.
func (m *Memory) ValidateContext(ctx context.Context, opts revocation.ValidateContextOptions) ([]*result.CertRevocationResult, error) {
	answer, found := m.find(opts)
	if !found {
		// Others wait for this answer, so the end of one's context must not be
		// theirs. It does end: there is a timeout.
		go m.ask(context.WithoutCancel(ctx), opts, answer)
	}
	select {
	case <-answer.done:
		return answer.results, answer.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Known returns the results for a chain if there are any, and asks nobody.
func (m *Memory) Known(chain []*x509.Certificate, signingTime time.Time) []*result.CertRevocationResult {
	m.mu.Lock()
	answer := m.answers[keyOf(revocation.ValidateContextOptions{CertChain: chain, AuthenticSigningTime: signingTime})]
	m.mu.Unlock()
	if answer == nil {
		return nil
	}
	select {
	case <-answer.done:
		return answer.results
	default:
		return nil
	}
}

// find returns the answer for a chain, or a new one that is to be filled.
func (m *Memory) find(opts revocation.ValidateContextOptions) (_ *revocationAnswer, found bool) {
	key := keyOf(opts)
	m.mu.Lock()
	defer m.mu.Unlock()
	if answer := m.answers[key]; answer != nil && !answer.stale(time.Now()) {
		return answer, true
	}
	if m.answers == nil || len(m.answers) >= maxAnswers {
		m.answers = map[chainKey]*revocationAnswer{} // a goroutine that waits has a pointer
	}
	answer := &revocationAnswer{done: make(chan struct{})}
	m.answers[key] = answer
	return answer, false
}

// stale says whether the answer is there and too old.
func (a *revocationAnswer) stale(now time.Time) bool {
	select {
	case <-a.done:
		return now.After(a.until)
	default:
		return false
	}
}

// ask fills an answer.
func (m *Memory) ask(ctx context.Context, opts revocation.ValidateContextOptions, answer *revocationAnswer) {
	defer close(answer.done)
	defer func() { // core-go hands on the panics of its own goroutines
		if p := recover(); p != nil {
			answer.results, answer.err = nil, fmt.Errorf("check revocation: %v", p)
		}
	}()
	ctx, cancel := context.WithTimeout(context.WithValue(ctx, askedChain{}, opts.CertChain), revocationTimeout)
	defer cancel()
	answer.results, answer.err = m.validator.ValidateContext(ctx, opts)
	age := answerAge
	if answer.err != nil || HasUnknown(answer.results) {
		age = failureAge
	}
	answer.until = time.Now().Add(age)
}

// HasUnknown reports whether it is not known of a certificate whether it was
// revoked.
func HasUnknown(results []*result.CertRevocationResult) bool {
	for _, r := range results {
		if r.Result == result.ResultUnknown {
			return true
		}
	}
	return false
}

// keyOf tells chains apart by what the answer depends on.
func keyOf(opts revocation.ValidateContextOptions) chainKey {
	h := sha256.New()
	for _, cert := range opts.CertChain {
		sum := sha256.Sum256(cert.Raw)
		h.Write(sum[:])
	}
	var t [8]byte
	binary.BigEndian.PutUint64(t[:], uint64(opts.AuthenticSigningTime.Unix()))
	h.Write(t[:])
	return chainKey(h.Sum(nil))
}

// listMemory remembers CRLs, which intermediate certificates of many chains
// share. It implements crl.Cache.
type listMemory struct {
	mu    sync.Mutex
	lists map[string]*crl.Bundle
	size  int
}

// maxListMemory is in bytes of DER. A CRL that does not fit is fetched for each
// chain.
const maxListMemory = 16 << 20

// Get implements crl.Cache. The caller checks that the list is not too old.
func (m *listMemory) Get(_ context.Context, url string) (*crl.Bundle, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if list, found := m.lists[url]; found {
		return list, nil
	}
	return nil, crl.ErrCacheMiss
}

// Set implements crl.Cache.
func (m *listMemory) Set(_ context.Context, url string, list *crl.Bundle) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	size := listSize(list) - listSize(m.lists[url])
	if m.size+size > maxListMemory {
		return errors.New("the memory for CRLs is full")
	}
	if m.lists == nil {
		m.lists = map[string]*crl.Bundle{}
	}
	m.lists[url] = list
	m.size += size
	return nil
}

func listSize(list *crl.Bundle) int {
	size := 0
	if list != nil {
		for _, l := range []*x509.RevocationList{list.BaseCRL, list.DeltaCRL} {
			if l != nil {
				size += len(l.Raw)
			}
		}
	}
	return size
}

// ErrNotAsked is why revocation is unknown where nobody was asked.
var ErrNotAsked = errors.New("the certificate chain leads to no trusted certificate, so revocation was not checked")

// TrustedChains is a revocation.Validator that asks only about chains with a
// trusted certificate in them. A registry could else have any URL requested, by
// a signature with a certificate that names it.
type TrustedChains struct {
	Next    revocation.Validator
	Anchors []*x509.Certificate
}

// ValidateContext implements revocation.Validator.
func (v TrustedChains) ValidateContext(ctx context.Context, opts revocation.ValidateContextOptions) ([]*result.CertRevocationResult, error) {
	if AnchorOf(opts.CertChain, v.Anchors) == nil {
		return nil, ErrNotAsked
	}
	return v.Next.ValidateContext(ctx, opts)
}

// AnchorOf returns the first certificate of a chain that is a trusted one, or
// nil.
func AnchorOf(chain, anchors []*x509.Certificate) *x509.Certificate {
	for _, cert := range chain {
		for _, anchor := range anchors {
			if anchor.Equal(cert) {
				return anchor
			}
		}
	}
	return nil
}
