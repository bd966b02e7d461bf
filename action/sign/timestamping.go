// SPDX-License-Identifier: Apache-2.0

package sign

import (
	"context"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/notation-pkcs11/notation-pkcs11/action/registry"
	"github.com/notation-pkcs11/notation-pkcs11/action/revocation"

	corerevocation "github.com/notaryproject/notation-core-go/revocation"
	"github.com/notaryproject/notation-core-go/revocation/result"
	"github.com/notaryproject/notation-core-go/signature"
	corex509 "github.com/notaryproject/notation-core-go/x509"
	"github.com/notaryproject/tspclient-go"
	"oras.land/oras-go/v2/registry/remote/retry"

	"github.com/notation-pkcs11/notation-pkcs11/action/report"
)

// Timestamping countersigns signatures at a timestamping authority (RFC 3161).
type Timestamping struct {
	timestamper tspclient.Timestamper
	roots       *x509.CertPool
	revocation  corerevocation.Validator
}

// NewTimestamping prepares to ask the authority at an http or https URL, of which
// these are the root certificates. It makes no request.
func NewTimestamping(endpoint string, roots []*x509.Certificate, transport http.RoundTripper) (*Timestamping, error) {
	address, err := url.Parse(endpoint)
	if err != nil || address.Host == "" || address.Scheme != "http" && address.Scheme != "https" {
		return nil, fmt.Errorf("timestamp_url: %s is not a URL such as http://timestamp.example.com", report.Quote(endpoint))
	}
	client := &http.Client{Transport: toAuthority(transport, time.Second), Timeout: timestampTimeout}
	timestamper, err := tspclient.NewHTTPTimestamper(client, endpoint)
	if err != nil {
		return nil, fmt.Errorf("timestamp_url: %w", err)
	}
	_, validator, err := revocation.New(transport, nil)
	if err != nil {
		return nil, err
	}
	t := &Timestamping{timestamper: timestamper, roots: x509.NewCertPool(), revocation: validator}
	for _, cert := range roots {
		t.roots.AddCert(cert)
	}
	return t, nil
}

// stamped reports whether a signature has a good timestamp of the authority, made while
// its certificates were valid: one that the signer would not throw away. Nobody signs
// that there is a timestamp.
func (t *Timestamping) stamped(ctx context.Context, signer signature.SignerInfo) bool {
	token, err := tspclient.ParseSignedToken(signer.UnsignedAttributes.TimestampSignature)
	if err != nil {
		return false
	}
	info, err := token.Info()
	if err != nil {
		return false
	}
	stamp, err := info.Validate(signer.Signature)
	if err != nil {
		return false
	}
	chain, err := token.Verify(ctx, x509.VerifyOptions{CurrentTime: stamp.Value, Roots: t.roots})
	if err != nil || corex509.ValidateTimestampingCertChain(chain) != nil {
		return false
	}
	for _, cert := range signer.CertificateChain {
		if !stamp.BoundedAfter(cert.NotBefore) || !stamp.BoundedBefore(cert.NotAfter) {
			return false
		}
	}
	results, err := t.revocation.ValidateContext(ctx, corerevocation.ValidateContextOptions{CertChain: chain})
	return err == nil && len(results) == len(chain) && !slices.ContainsFunc(results, func(r *result.CertRevocationResult) bool {
		return r.Result != result.ResultOK && r.Result != result.ResultNonRevokable
	})
}

const (
	timestampTimeout = 30 * time.Second // for all attempts of one countersignature together
	timestampRetries = 3
)

// toAuthority is the way to a timestamping authority, which may be busy. The
// pause is before the first retry; it doubles with each.
func toAuthority(next http.RoundTripper, pause time.Duration) http.RoundTripper {
	return &retry.Transport{Base: createdIsOK{next}, Policy: func() retry.Policy { return authorityPolicy(pause) }}
}

// authorityPolicy is its pause before the first retry.
type authorityPolicy time.Duration

// Retry implements retry.Policy.
func (p authorityPolicy) Retry(attempt int, resp *http.Response, err error) (time.Duration, error) {
	busy := err != nil || resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode >= 500
	if !busy || attempt == timestampRetries {
		return -1, nil
	}
	return max(time.Duration(p)<<attempt, min(registry.RetryAfter(resp), timestampTimeout)), nil
}

// createdIsOK answers 200 where an authority answers 201, which notation's client
// doesn't take.
type createdIsOK struct{ http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (c createdIsOK) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := c.RoundTripper.RoundTrip(req)
	if err == nil && resp.StatusCode == http.StatusCreated {
		resp.StatusCode, resp.Status = http.StatusOK, "200 OK"
	}
	return resp, err
}
