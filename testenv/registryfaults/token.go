// SPDX-License-Identifier: Apache-2.0

package registryfaults

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"strings"
)

// manyUses is how many requests a token is good for where nothing else is said.
const manyUses = 1 << 30

// admits reports whether a request has a good token, and uses it up.
func (p *Proxy) admits(r *http.Request) bool {
	token, isBearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	p.mu.Lock()
	defer p.mu.Unlock()
	if !isBearer || p.tokens[token] == 0 {
		return false
	}
	p.tokens[token]--
	return true
}

// challenge says where tokens are to be had.
func (p *Proxy) challenge() Answer {
	answer := failure(http.StatusUnauthorized, "authentication required")
	answer.Header.Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="http://%s/token",service="test"`, p.Host))
	return answer
}

// issue gives out a token for the password.
func (p *Proxy) issue(r *http.Request) Answer {
	if user, password, ok := r.BasicAuth(); !ok || user != Username || password != Password {
		return failure(http.StatusUnauthorized, "wrong password")
	}
	token := "token-" + rand.Text()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tokens[token] = p.tokenUses
	p.issued = append(p.issued, token)
	return Answer{
		Status: http.StatusOK,
		Header: http.Header{"Content-Type": {"application/json"}},
		Body:   fmt.Appendf(nil, `{"token":%q}`, token),
	}
}

// revoke makes all tokens useless; those that are issued from now on are good for
// so many requests.
func (p *Proxy) revoke(uses int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.tokens)
	p.tokenUses = uses
}
