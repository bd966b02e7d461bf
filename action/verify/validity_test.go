// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"crypto/x509"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/notaryproject/notation-core-go/signature"
	"github.com/notaryproject/notation-core-go/signature/jws"
	"github.com/notaryproject/notation-go/verifier/trustpolicy"

	"github.com/notation-pkcs11/notation-pkcs11/action/envelope"
	"github.com/notation-pkcs11/notation-pkcs11/action/report"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/pki"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/signed"
)

// What ends a signature, in the words of reports.
const (
	noExpiry        = "it has no expiry"
	expiryIgnored   = "the policy does not enforce its expiry"
	datesIgnored    = "the policy does not enforce that its certificates are valid"
	byAuthority     = "its certificates count at the time of the signing authority"
	byTimestamp     = "its certificates count at the time of its timestamp"
	signatureEnds   = "the signature expires"
	noDateEnds      = "no date ends it: "
	certificateEnds = `the certificate of "CN=release,O=acme,ST=Berlin,C=DE" expires`
)

// TestValidUntil has each date that can end a signature, in each relation to the
// others, under each kind of statement that looks at it or does not.
func TestValidUntil(t *testing.T) {
	w := newVerifyWorld(t)
	now := time.Now().Truncate(time.Second)
	soon, late := now.Add(3*time.Hour), now.Add(300*time.Hour)
	end := w.Good.Cert.NotAfter
	tsa := pki.TimestampAuthority{Signer: pki.NewTimestampAuthority(t, "stamps", now).Signer, Time: now.Add(-time.Minute)}
	early := pki.TimestampAuthority{Signer: tsa.Signer, Time: now.Add(-100 * time.Hour)} // before the certificate
	revoked := tsa.Renamed(t, "stamps no more", pki.WithOCSP(w.Servers.URL+"/ocsp", pki.AsTimestampAuthority))
	silent := tsa.Renamed(t, "silent stamps", pki.WithOCSP("http://127.0.0.1:1/", pki.AsTimestampAuthority))
	expired := pki.New(t, "expired", w.Intermediate, pki.AsExpired)
	then := now.Add(-15 * time.Hour)
	oldTSA := pki.TimestampAuthority{Signer: tsa.Signer, Time: then}
	w.Servers.Add(tsa.Signer.Issuer)
	w.Servers.Revoke(revoked.Signer)
	w.Trusts("tsa/stamps", tsa.Signer.Issuer)
	w.Trusts("signingAuthority/acme", w.Root)
	// The intermediate may be the first to end.
	brief := pki.New(t, "brief", w.Root, func(c *x509.Certificate) { pki.AsAuthority(c); c.NotAfter = now.Add(2 * time.Hour) })
	below := pki.New(t, "below", brief, pki.AsSigner)

	type policy = func(*trustpolicy.TrustPolicy)
	level := func(name string) policy {
		return func(s *trustpolicy.TrustPolicy) { s.SignatureVerification.VerificationLevel = name }
	}
	logs := func(kinds ...trustpolicy.ValidationType) policy {
		return func(s *trustpolicy.TrustPolicy) {
			s.SignatureVerification.Override = map[trustpolicy.ValidationType]trustpolicy.ValidationAction{}
			for _, kind := range kinds {
				s.SignatureVerification.Override[kind] = trustpolicy.ActionLog
			}
		}
	}
	stamps := func(option trustpolicy.TimestampOption) policy {
		return func(s *trustpolicy.TrustPolicy) {
			s.TrustStores = append(s.TrustStores, "tsa:stamps")
			s.SignatureVerification.VerifyTimestamp = option
		}
	}
	authority := func(s *trustpolicy.TrustPolicy) { s.TrustStores = []string{"signingAuthority:acme"} }
	const after, always = trustpolicy.OptionAfterCertExpiry, trustpolicy.OptionAlways

	for name, c := range map[string]struct {
		by     *pki.Certificate
		how    signed.How
		policy policy
		until  time.Time // zero: no date
		reason string
	}{
		"certificate":                        {w.Good, signed.How{}, nil, end, certificateEnds},
		"certificate, JWS":                   {w.Good, signed.How{MediaType: jws.MediaTypeEnvelope}, nil, end, certificateEnds},
		"intermediate":                       {below, signed.How{}, nil, brief.Cert.NotAfter, `the certificate of "CN=brief,O=acme,ST=Berlin,C=DE" expires`},
		"expiry first":                       {w.Good, signed.How{Expiry: soon}, nil, soon, signatureEnds},
		"expiry last":                        {w.Good, signed.How{Expiry: late}, nil, end, certificateEnds},
		"expiry logged":                      {w.Good, signed.How{Expiry: soon}, logs(trustpolicy.TypeExpiry), end, certificateEnds},
		"certificates logged":                {w.Good, signed.How{Expiry: late}, logs(trustpolicy.TypeAuthenticTimestamp), late, signatureEnds},
		"certificates logged, no expiry":     {w.Good, signed.How{}, logs(trustpolicy.TypeAuthenticTimestamp), time.Time{}, noDateEnds + noExpiry + ", and " + datesIgnored},
		"permissive":                         {w.Good, signed.How{Expiry: soon}, level("permissive"), time.Time{}, noDateEnds + expiryIgnored + ", and " + datesIgnored},
		"audit":                              {w.Good, signed.How{Expiry: soon}, level("audit"), time.Time{}, noDateEnds + expiryIgnored + ", and " + datesIgnored},
		"signing authority":                  {w.Good, signed.How{Scheme: signature.SigningSchemeX509SigningAuthority}, authority, time.Time{}, noDateEnds + noExpiry + ", and " + byAuthority},
		"signing authority, expiry":          {w.Good, signed.How{Scheme: signature.SigningSchemeX509SigningAuthority, Expiry: late}, authority, late, signatureEnds},
		"timestamp without a store":          {w.Good, signed.How{Stamp: &tsa}, nil, end, certificateEnds},
		"store without a timestamp":          {w.Good, signed.How{}, stamps(after), end, certificateEnds},
		"timestamp, always":                  {w.Good, signed.How{Stamp: &tsa}, stamps(always), time.Time{}, noDateEnds + noExpiry + ", and " + byTimestamp},
		"timestamp, by default":              {w.Good, signed.How{Stamp: &tsa}, stamps(""), time.Time{}, noDateEnds + noExpiry + ", and " + byTimestamp},
		"timestamp, after":                   {w.Good, signed.How{Stamp: &tsa}, stamps(after), time.Time{}, noDateEnds + noExpiry + ", and " + byTimestamp},
		"timestamp, after, JWS":              {w.Good, signed.How{Stamp: &tsa, MediaType: jws.MediaTypeEnvelope}, stamps(after), time.Time{}, noDateEnds + noExpiry + ", and " + byTimestamp},
		"timestamp, after, expiry":           {w.Good, signed.How{Stamp: &tsa, Expiry: late}, stamps(after), late, signatureEnds},
		"timestamp, after, it is after":      {expired, signed.How{Stamp: &oldTSA, At: then}, stamps(after), time.Time{}, noDateEnds + noExpiry + ", and " + byTimestamp},
		"timestamp before the certificate":   {w.Good, signed.How{Stamp: &early}, stamps(after), end, certificateEnds},
		"timestamp of one who was revoked":   {w.Good, signed.How{Stamp: &revoked}, stamps(after), end, certificateEnds},
		"timestamp, nobody answers":          {w.Good, signed.How{Stamp: &silent}, stamps(after), end, certificateEnds},
		"timestamp, nobody need be asked":    {w.Good, signed.How{Stamp: &silent, Expiry: soon}, stamps(after), soon, signatureEnds},
		"timestamp, certificates are logged": {w.Good, signed.How{Stamp: &tsa, Expiry: late}, func(s *trustpolicy.TrustPolicy) { stamps(after)(s); logs(trustpolicy.TypeAuthenticTimestamp)(s) }, late, signatureEnds},
	} {
		t.Run(name, func(t *testing.T) {
			tag := "a" + strings.Map(func(r rune) rune {
				if r == ' ' || r == ',' {
					return '-'
				}
				return r
			}, name)
			w.Sign(c.by, w.Image(tag), c.how)
			v, err := w.verify(tag, Options{}, c.policy)
			if err != nil {
				t.Fatal(err)
			}
			checkValidity(t, v.Signatures[0].Validity, c.until, c.reason)
		})
	}
}

func checkValidity(t *testing.T, got report.Validity, until time.Time, reason string) {
	t.Helper()
	if (got.ValidUntil == nil) != until.IsZero() || got.ValidUntil != nil && !got.ValidUntil.Equal(until) || got.ValidUntilReason != reason {
		t.Errorf("until %v because %q, not until %v because %q", got.ValidUntil, got.ValidUntilReason, until, reason)
	}
}

func TestWhatDoesNotVerifyHasNoEnd(t *testing.T) {
	w := newVerifyWorld(t)
	w.Sign(pki.New(t, "expired", w.Intermediate, pki.AsExpired), w.Image("app"), signed.How{At: time.Now().Add(-15 * time.Hour)})
	v, err := w.verify("app", Options{}, nil)
	if err == nil || v.Signatures[0].Validity != (report.Validity{}) {
		t.Errorf("%v, %+v", err, v.Signatures[0].Validity)
	}
	w.Sign(w.Good, w.Image("inspected"), signed.How{})
	i, err := Inspect(t.Context(), w.clients, w.target("inspected"), 1)
	if err != nil || !i.Signatures[0].Valid || i.Signatures[0].Validity != (report.Validity{}) {
		t.Errorf("%v, %+v: without a policy nothing is said", err, i.Signatures)
	}
}

// A run that signs judges its signature as a strict policy with its timestamping
// authority would.
func TestValidityForAStrictPolicy(t *testing.T) {
	w := newVerifyWorld(t)
	w.Image("app")
	target := w.target("app")
	now := time.Now().Truncate(time.Second)
	tsa := pki.TimestampAuthority{Signer: pki.NewTimestampAuthority(t, "stamps", now).Signer, Time: now.Add(-time.Minute)}
	other := pki.NewTimestampAuthority(t, "others", now)
	roots := []*x509.Certificate{tsa.Signer.Issuer.Cert}
	late, end := now.Add(300*time.Hour), w.Good.Cert.NotAfter
	for name, c := range map[string]struct {
		how    signed.How
		roots  []*x509.Certificate
		until  time.Time
		reason string
	}{
		"no authority":            {signed.How{Expiry: late}, nil, end, certificateEnds},
		"no store":                {signed.How{Stamp: &tsa}, nil, end, certificateEnds},
		"timestamp":               {signed.How{Stamp: &tsa}, roots, time.Time{}, noDateEnds + noExpiry + ", and " + byTimestamp},
		"timestamp, expiry":       {signed.How{Stamp: &tsa, Expiry: late, MediaType: jws.MediaTypeEnvelope}, roots, late, signatureEnds},
		"no timestamp":            {signed.How{}, roots, end, certificateEnds},
		"another authority's own": {signed.How{Stamp: &other}, roots, end, certificateEnds},
	} {
		t.Run(name, func(t *testing.T) {
			strict, err := NewStrict(c.roots, http.DefaultTransport, nil)
			if err != nil {
				t.Fatal(err)
			}
			blob, mediaType := w.Envelope(w.Good, target.Desc, c.how)
			content, err := envelope.Open(mediaType, blob)
			if err != nil {
				t.Fatal(err)
			}
			checkValidity(t, strict.Validity(t.Context(), target, &content.SignerInfo, blob, mediaType), c.until, c.reason)
		})
	}
}
