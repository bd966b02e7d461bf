// SPDX-License-Identifier: Apache-2.0

package sign

import (
	"crypto/x509"
	"fmt"
	"time"

	"github.com/notation-pkcs11/notation-pkcs11/action/report"
)

// endsWithin says whether a signature ends so soon.
func endsWithin(v report.Validity, within time.Duration, now time.Time) bool {
	return v.ValidUntil != nil && v.ValidUntil.Before(now.Add(within))
}

// renew decides on the signature that lasts longest of those that count: whether it
// ends so soon that another is made, which must last longer.
func (s *Signer) renew(last *Before, chain []*x509.Certificate, now time.Time) bool {
	if !endsWithin(last.Validity, s.RenewWithin, now) {
		return false
	}
	if s.wouldLast(chain, now).Outlasts(last.Validity) {
		return true
	}
	last.MustRenew = fmt.Sprintf("the signature %s ends on %s (%s), and a new one would end no later: renew the certificate of the key",
		last.Manifest.Digest, last.ValidUntil.Format(time.RFC3339), last.ValidUntilReason)
	return false
}

// wouldLast says until when a strict policy accepts a signature that is made now. A
// timestamp stands for the certificates.
func (s *Signer) wouldLast(chain []*x509.Certificate, now time.Time) report.Validity {
	var until *time.Time
	earlier := func(t time.Time) {
		if until == nil || t.Before(*until) {
			until = &t
		}
	}
	if s.Expiry > 0 {
		earlier(now.Add(s.Expiry))
	}
	if s.Timestamping == nil {
		for _, cert := range chain {
			earlier(cert.NotAfter)
		}
	}
	return report.Validity{ValidUntil: until}
}
