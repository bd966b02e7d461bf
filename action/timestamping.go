// SPDX-License-Identifier: Apache-2.0

package action

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/notaryproject/notation-core-go/revocation"
	"github.com/notaryproject/notation-go/verifier/truststore"
	"github.com/notaryproject/tspclient-go"
)

// timestamping countersigns signatures at a timestamping authority (RFC 3161).
type timestamping struct {
	timestamper tspclient.Timestamper
	roots       *x509.CertPool
	revocation  revocation.Validator
}

// newTimestamping checks the inputs of that name. It makes no request.
func newTimestamping(endpoint, rootCert string, transport http.RoundTripper) (*timestamping, error) {
	certs, err := readCertificates("timestamp_root_cert", rootCert, truststore.TypeTSA)
	if err != nil {
		return nil, err
	}
	address, err := url.Parse(endpoint)
	if err != nil || address.Host == "" || address.Scheme != "http" && address.Scheme != "https" {
		return nil, fmt.Errorf("timestamp_url: %s is not a URL such as http://timestamp.example.com", quote(endpoint))
	}
	client := &http.Client{Transport: &authority{next: transport, pause: time.Second}, Timeout: timestampTimeout}
	timestamper, err := tspclient.NewHTTPTimestamper(client, endpoint)
	if err != nil {
		return nil, fmt.Errorf("timestamp_url: %w", err)
	}
	_, validator, err := newRevocation(transport)
	if err != nil {
		return nil, err
	}
	t := &timestamping{timestamper: timestamper, roots: x509.NewCertPool(), revocation: validator}
	for _, cert := range certs {
		t.roots.AddCert(cert)
	}
	return t, nil
}

// timestampTimeout is for all tries of one countersignature together.
const timestampTimeout = 30 * time.Second

// authority is the way to a timestamping authority, which may be busy, and may
// answer 201 where notation's client wants 200.
type authority struct {
	next  http.RoundTripper
	pause time.Duration // before the second try; it doubles with each
}

const timestampTries = 4

// RoundTrip implements http.RoundTripper.
func (a *authority) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := readBody(req)
	if err != nil {
		return nil, err
	}
	for try, pause := 1, a.pause; ; try, pause = try+1, 2*pause {
		again := req.Clone(req.Context())
		again.Body = io.NopCloser(bytes.NewReader(body))
		resp, err := a.next.RoundTrip(again)
		if err == nil && resp.StatusCode == http.StatusCreated {
			resp.StatusCode, resp.Status = http.StatusOK, "200 OK"
		}
		if try == timestampTries || !worthATry(resp, err) || req.Context().Err() != nil {
			return resp, err
		}
		wait := pause
		if err == nil {
			wait = max(pause, min(retryAfter(resp), timestampTimeout))
			resp.Body.Close()
		}
		if err := sleep(req.Context(), wait); err != nil {
			return nil, err
		}
	}
}

// readBody takes over the body of a request: a RoundTripper closes it.
func readBody(req *http.Request) ([]byte, error) {
	if req.Body == nil {
		return nil, nil
	}
	defer req.Body.Close()
	return io.ReadAll(req.Body)
}

// worthATry says whether another try may go better.
func worthATry(resp *http.Response, err error) bool {
	return err != nil || resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode >= 500
}
