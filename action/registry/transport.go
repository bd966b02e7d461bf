// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"oras.land/oras-go/v2/registry/remote/retry"
)

const (
	maxRetryAfter = time.Minute

	maxHeaderBytes = 256 << 10 // of an answer
)

// transport sends all requests of a run. It repeats those that met a busy
// registry, counts them, and keeps them from going where they should not.
type transport struct {
	withoutRetry http.RoundTripper
}

// contextKey are the keys of what a context tells the transport.
type contextKey int

const (
	withoutRetryKey contextKey = iota // a request that is not to be repeated
	counterKey                        // *atomic.Int64: requests so far
	dialKey                           // dial
	literalTypesKey                   // media types are to stay as the registry has them
)

// WithoutRetry marks the requests of a context as not to be repeated: the caller must
// look again before it does.
func WithoutRetry(ctx context.Context) context.Context {
	return context.WithValue(ctx, withoutRetryKey, true)
}

// CountRequests counts the requests that are sent with the context, repeated ones and
// those for tokens too.
func CountRequests(ctx context.Context) context.Context {
	return context.WithValue(ctx, counterKey, new(atomic.Int64))
}

// Requests is how many requests have been counted for a context so far.
func Requests(ctx context.Context) int64 {
	if counter, ok := ctx.Value(counterKey).(*atomic.Int64); ok {
		return counter.Load()
	}
	return 0
}

// newTransport makes the transport. plain says which hosts may be spoken to over
// plain HTTP; what requests are authorized with goes to sent.
func newTransport(options Options, plain func(host string) bool, sent *sentSecrets) *transport {
	gate := &redirectGuard{plain: plain, scopes: map[string]addressScope{}}
	dialer := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second, ControlContext: gate.dialled}
	pool := func() *http.Transport {
		base := http.DefaultTransport.(*http.Transport).Clone()
		base.DialContext = dialer.DialContext
		base.MaxIdleConns = 0
		base.MaxIdleConnsPerHost = max(options.Connections, 2)
		base.ResponseHeaderTimeout = time.Minute
		base.MaxResponseHeaderBytes = maxHeaderBytes
		base.DisableCompression = true // sizes stay what they are said to be, ETags strong
		return base
	}
	gate.direct = pool()
	for from := range gate.redirected {
		gate.redirected[from] = pool()
	}
	return &transport{withoutRetry: tokenServerGuard{secretRecorder{gate, sent}, options.TokenServers}}
}

// RoundTrip implements [http.RoundTripper].
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	through := t.withoutRetry
	if req.Context().Value(withoutRetryKey) == nil {
		deadline, _ := req.Context().Deadline()
		through = &retry.Transport{Base: t.withoutRetry, Policy: func() retry.Policy { return retryPolicy{deadline} }}
	}
	resp, err := through.RoundTrip(req)
	if err != nil || resp.StatusCode != http.StatusOK {
		return resp, err
	}
	if req.Context().Value(literalTypesKey) == nil {
		withoutParameters(resp.Header)
	}
	if lists(req.URL.Path) {
		resp.Body = &listingBody{ReadCloser: resp.Body, left: MaxListed}
	}
	return resp, nil
}

// withoutParameters takes the parameters off a media type, such as charset: it is the
// same type (RFC 9110 §8.3.1), and oras-go compares the whole text.
func withoutParameters(header http.Header) {
	if mediaType, _, err := mime.ParseMediaType(header.Get("Content-Type")); err == nil {
		header.Set("Content-Type", mediaType)
	}
}

// retryPolicy repeats what oras-go repeats, and what met a connection that was
// closed. It waits as long as the registry asks for where that is bearable.
type retryPolicy struct {
	// deadline is when the request's context ends; zero: it does not say. A wait
	// beyond it would end with the context's error, and not with the registry's
	// answer.
	deadline time.Time
}

// Retry implements [retry.Policy].
func (p retryPolicy) Retry(attempt int, resp *http.Response, err error) (time.Duration, error) {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF // before an answer the one is no better than the other
	}
	wait, err := retry.DefaultPolicy.Retry(attempt, resp, err)
	if err != nil || wait < 0 {
		return wait, err
	}
	wait = max(wait, RetryAfter(resp))
	if wait > maxRetryAfter || !p.deadline.IsZero() && time.Until(p.deadline) < wait {
		return -1, nil
	}
	return wait, nil
}

// RetryAfter is how long a response asks to wait, in seconds or until a date
// (RFC 9110 §10.2.3). Zero: it does not say.
func RetryAfter(resp *http.Response) time.Duration {
	if resp == nil {
		return 0
	}
	value := resp.Header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if date, err := http.ParseTime(value); err == nil {
		return max(0, time.Until(date))
	}
	return 0
}
