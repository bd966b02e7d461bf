// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"sync/atomic"
	"syscall"
)

// redirectGuard is the last thing that a request passes. A registry decides where we are
// redirected to, so it could make us send requests inside our own network, or in
// the clear. The gate refuses that. (What a registry names as its token server is
// judged by [tokenServerGuard].)
type redirectGuard struct {
	direct *http.Transport
	// redirected are for requests that follow a redirect, by the address scope of
	// the host that sent it: a connection that is kept for the next such request was
	// admitted for it too, while one of direct was admitted for none.
	redirected [local + 1]*http.Transport
	plain      func(host string) bool // may be spoken to over plain HTTP

	mu     sync.Mutex
	scopes map[string]addressScope // of hosts that were dialled, by host:port
}

// guardError is the gate's word, not that of a network.
type guardError string

func (e guardError) Error() string { return string(e) }

// IsRefused reports whether a request was not sent, because it would have gone where it
// must not.
func IsRefused(err error) bool { return errors.As(err, new(guardError)) }

func refused(format string, args ...any) error { return guardError(fmt.Sprintf(format, args...)) }

// dial tells the dialer which host is dialled, and which host redirected us there.
type dial struct {
	to, from string       // host:port; from is empty without a redirect
	scope    addressScope // of from
}

func (g *redirectGuard) RoundTrip(req *http.Request) (*http.Response, error) {
	if counter, ok := req.Context().Value(counterKey).(*atomic.Int64); ok {
		counter.Add(1)
	}
	if req.URL.Scheme != "https" && !g.plain(req.URL.Host) {
		return nil, refused("refused to send a request to %s over plain HTTP: if that is meant, name the host in insecure_registries", req.URL.Host)
	}
	d := dial{to: hostPort(req.URL), from: redirectedBy(req)}
	through := g.direct
	if d.from != "" {
		g.mu.Lock()
		d.scope = g.scopes[d.from]
		g.mu.Unlock()
		through = g.redirected[d.scope]
	}
	if literal, err := netip.ParseAddr(req.URL.Hostname()); err == nil && d.from != "" {
		if err := d.admit(literal); err != nil { // here too, for a proxy might dial
			return nil, err
		}
	}
	if proxy, err := through.Proxy(req); err == nil && proxy == nil {
		req = req.WithContext(context.WithValue(req.Context(), dialKey, d))
	}
	return through.RoundTrip(req)
}

// dialled is called with each address that is about to be dialled: after the name
// was resolved, so that it can't resolve to something else after the judgement.
func (g *redirectGuard) dialled(ctx context.Context, _, address string, _ syscall.RawConn) error {
	d, direct := ctx.Value(dialKey).(dial)
	if !direct {
		return nil // a proxy, whose choice it is
	}
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("dial %s: %w", address, err)
	}
	if d.from != "" {
		return d.admit(to.Addr())
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.scopes[d.to] = addressScopeOf(to.Addr())
	return nil
}

// admit refuses an address that is further inside than the host that sent us
// there.
func (d dial) admit(to netip.Addr) error {
	if r := addressScopeOf(to); r > d.scope || r == local {
		return refused("refused the redirect of %s to %s: the address %s is %s", d.from, d.to, to, r)
	}
	return nil
}

// redirectedBy returns the host that was asked first, where the request follows a
// redirect to another one.
func redirectedBy(req *http.Request) string {
	first := req
	for first.Response != nil && first.Response.Request != nil {
		first = first.Response.Request
	}
	if from := hostPort(first.URL); from != hostPort(req.URL) {
		return from
	}
	return ""
}

func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = u.Scheme // as good a name for its default port
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// addressScope is from where an address can be reached: the greater, the further inside.
type addressScope int

const (
	public   addressScope = iota
	private               // from a company's or a cloud's network
	loopback              // from this machine
	local                 // from this link or nowhere; clouds keep their metadata services there
)

func (r addressScope) String() string {
	return [...]string{"public", "private", "on loopback", "local to this link"}[r]
}

// Addresses that the standard library has no name for.
var (
	sharedAddresses = netip.MustParsePrefix("100.64.0.0/10") // RFC 6598, behind a carrier's NAT
	translated      = netip.MustParsePrefix("64:ff9b::/96")  // RFC 6052, IPv4 in IPv6
	thisNetwork     = netip.MustParsePrefix("0.0.0.0/8")     // RFC 1122 §3.2.1.3
	metadata        = map[netip.Addr]bool{                   // of clouds that keep it elsewhere
		netip.MustParseAddr("100.100.100.200"): true,
		netip.MustParseAddr("168.63.129.16"):   true,
		netip.MustParseAddr("fd00:ec2::254"):   true,
		netip.MustParseAddr("fd20:ce::254"):    true,
	}
)

func addressScopeOf(address netip.Addr) addressScope {
	address = address.Unmap().WithZone("")
	if translated.Contains(address) {
		last := address.As16()
		address = netip.AddrFrom4([4]byte(last[12:]))
	}
	switch {
	case address.IsLinkLocalUnicast(), address.IsMulticast(), address.IsUnspecified(), thisNetwork.Contains(address), metadata[address]:
		return local
	case address.IsLoopback():
		return loopback
	case address.IsPrivate(), sharedAddresses.Contains(address):
		return private
	}
	return public
}
