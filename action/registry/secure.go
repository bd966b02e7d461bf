// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"strings"

	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/errcode"
)

// turnsOutSecure finds out, after a request over plain HTTP has failed, whether the
// registry wants TLS: one on loopback may be the end of a tunnel. From then on it is
// spoken to over https.
func (r *Client) turnsOutSecure(ctx context.Context, repo *remote.Repository, failure error) bool {
	if !repo.PlainHTTP || !mayBeTLS(failure) {
		return false
	}
	host := repo.Reference.Host()
	r.mu.Lock()
	known := r.secure[host]
	r.mu.Unlock()
	if known {
		return true
	}
	req, err := http.NewRequestWithContext(WithoutRetry(ctx), http.MethodGet, "https://"+host+"/v2/", nil)
	if err != nil {
		return false
	}
	resp, err := r.client.Client.Transport.RoundTrip(req) // whatever it answers, and without credentials
	if err == nil {
		resp.Body.Close()
	} else if !errors.As(err, new(*tls.CertificateVerificationError)) {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.secure[host] = true
	return true
}

// mayBeTLS reports whether a server that speaks TLS fails plain requests like this: most
// refuse them with 400, some send a TLS alert.
func mayBeTLS(failure error) bool {
	var response *errcode.ErrorResponse
	if errors.As(failure, &response) {
		return response.StatusCode == http.StatusBadRequest
	}
	return strings.Contains(failure.Error(), "malformed HTTP response") // net/http has no value for it
}
