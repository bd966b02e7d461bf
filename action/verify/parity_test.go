// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/notaryproject/notation-core-go/signature"
	"github.com/notaryproject/notation-core-go/signature/jws"
	"github.com/notaryproject/notation-go/dir"
	pluginmanager "github.com/notaryproject/notation-go/plugin"
	"github.com/notaryproject/notation-go/verifier/trustpolicy"

	"github.com/notation-pkcs11/notation-pkcs11/action/report"
	"github.com/notation-pkcs11/notation-pkcs11/testenv"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/pki"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/signed"
)

type (
	policyStatement = trustpolicy.TrustPolicy
	override        = map[trustpolicy.ValidationType]trustpolicy.ValidationAction
)

// parityArtifacts pushes artifacts in all the states that a verifier can meet,
// each with the state for a tag.
func parityArtifacts(w *verifyWorld) []string {
	hour := time.Hour
	now := time.Now()
	other := pki.New(w.TB, "other root", nil, pki.AsAuthority)
	stranger := pki.New(w.TB, "stranger", other, pki.AsSigner)
	expired := pki.New(w.TB, "expired", w.Intermediate, pki.AsExpired)
	wasValid := now.Add(-15 * hour)
	tsa := pki.NewTimestampAuthority(w.TB, "tsa", wasValid)
	nowTSA := pki.TimestampAuthority{Signer: tsa.Signer, Time: now.Add(-time.Minute)}
	otherTSA := pki.NewTimestampAuthority(w.TB, "tsa of others", wasValid)
	revokedTSA := tsa.Renamed(w.TB, "tsa revoked", pki.WithOCSP(w.Servers.URL+"/ocsp", pki.AsTimestampAuthority))
	silentTSA := tsa.Renamed(w.TB, "tsa silent", pki.WithOCSP("http://127.0.0.1:1/", pki.AsTimestampAuthority))
	w.Servers.Add(tsa.Signer.Issuer)
	w.Servers.Revoke(revokedTSA.Signer)
	w.Trusts("ca/other", other)
	w.Trusts("signingAuthority/acme", w.Root)
	w.Trusts("tsa/stamps", tsa.Signer.Issuer)
	w.Trusts("tsa/others", pki.NewTimestampAuthority(w.TB, "other tsa", now).Signer.Issuer)

	ocsp := w.Servers.URL + "/ocsp"
	const nobody = "http://127.0.0.1:1/"
	crl := func(issuer *pki.Certificate) string {
		return w.Servers.URL + "/crl/" + strings.ReplaceAll(issuer.Cert.Subject.CommonName, " ", "%20")
	}
	signer := func(name string, change func(*x509.Certificate)) *pki.Certificate {
		return pki.New(w.TB, name, w.Intermediate, change)
	}
	revokedByOCSP := signer("revoked by OCSP", pki.WithOCSP(ocsp, pki.AsSigner))
	revokedByCRL := signer("revoked by CRL", pki.WithCRL(crl(w.Intermediate), pki.AsSigner))
	takenBack := pki.New(w.TB, "intermediate taken back", w.Root, pki.WithCRL(crl(w.Root), pki.AsAuthority))
	for _, c := range []*pki.Certificate{revokedByOCSP, revokedByCRL, takenBack} {
		w.Servers.Revoke(c)
	}

	// sign makes an artifact with one signature.
	signings := map[string]func(tag string){}
	one := func(tag string, by *pki.Certificate, s signed.How) {
		signings[tag] = func(tag string) { w.Sign(by, w.Image(tag), s) }
	}
	one("good", w.Good, signed.How{})
	one("good-jws", w.Good, signed.How{MediaType: jws.MediaTypeEnvelope})
	one("good-metadata", w.Good, signed.How{Metadata: map[string]string{"commit": "abc", "more": "x"}})
	one("timestamped", w.Good, signed.How{Stamp: &nowTSA})
	one("expired-certificate", expired, signed.How{At: wasValid})
	one("expired-certificate-timestamped", expired, signed.How{At: wasValid, Stamp: &tsa})
	one("expired-certificate-timestamped-jws", expired, signed.How{At: wasValid, Stamp: &tsa, MediaType: jws.MediaTypeEnvelope})
	one("expired-certificate-timestamped-late", expired, signed.How{At: wasValid, Stamp: &nowTSA})
	one("expired-certificate-timestamped-by-others", expired, signed.How{At: wasValid, Stamp: &otherTSA})
	one("expired-certificate-timestamped-revoked", expired, signed.How{At: wasValid, Stamp: &revokedTSA})
	one("expired-certificate-timestamped-unreachable", expired, signed.How{At: wasValid, Stamp: &silentTSA})
	one("expired-signature", w.Good, signed.How{At: now.Add(-2 * hour), Expiry: now.Add(-hour)})
	one("expires-later", w.Good, signed.How{Expiry: now.Add(hour)})
	one("untrusted-root", stranger, signed.How{})
	one("other-signer", signer("somebody else", pki.AsSigner), signed.How{})
	one("signing-authority", w.Good, signed.How{Scheme: signature.SigningSchemeX509SigningAuthority})
	one("signing-authority-expired", expired, signed.How{At: wasValid, Scheme: signature.SigningSchemeX509SigningAuthority})
	one("ocsp-good", signer("ocsp good", pki.WithOCSP(ocsp, pki.AsSigner)), signed.How{})
	one("crl-good", signer("crl good", pki.WithCRL(crl(w.Intermediate), pki.AsSigner)), signed.How{})
	one("ocsp-revoked", revokedByOCSP, signed.How{})
	one("crl-revoked", revokedByCRL, signed.How{})
	one("intermediate-revoked", pki.New(w.TB, "below", takenBack, pki.AsSigner), signed.How{})
	one("ocsp-unreachable", signer("ocsp unreachable", pki.WithOCSP(nobody, pki.AsSigner)), signed.How{})
	one("ocsp-unreachable-crl-good", signer("ocsp, crl", pki.WithOCSP(nobody, pki.WithCRL(crl(w.Intermediate), pki.AsSigner))), signed.How{})
	one("crl-unreachable", signer("crl unreachable", pki.WithCRL(nobody, pki.AsSigner)), signed.How{})
	one("untrusted-root-revocable", pki.New(w.TB, "stranger, ocsp", other, pki.WithOCSP(nobody, pki.AsSigner)), signed.How{})
	one("plugin-missing", w.Good, signed.How{Plugin: "missing"})
	one("plugin-accepts", w.Good, signed.How{Plugin: "accepts"})
	one("plugin-refuses", w.Good, signed.How{Plugin: "refuses"})
	one("plugin-accepts-untrusted-root", stranger, signed.How{Plugin: "accepts"})

	signings["unsigned"] = func(tag string) { w.Image(tag) }
	signings["tampered-envelope"] = func(tag string) {
		image := w.Image(tag)
		blob, mediaType := w.Envelope(w.Good, image, signed.How{})
		w.Attach(image, signed.FlipLast(blob), mediaType)
	}
	signings["tampered-payload"] = func(tag string) {
		image, another := w.Image(tag), w.Image("tampered-payload-source")
		blob, mediaType := w.Envelope(w.Good, another, signed.How{})
		w.Attach(image, bytes.ReplaceAll(blob, []byte(another.Digest), []byte(image.Digest)), mediaType)
	}
	signings["tampered-payload-jws"] = func(tag string) {
		image := w.Image(tag)
		blob, mediaType := w.Envelope(w.Good, image, signed.How{MediaType: jws.MediaTypeEnvelope})
		var envelope map[string]any
		if err := json.Unmarshal(blob, &envelope); err != nil {
			w.TB.Fatal(err)
		}
		payload, err := base64.RawURLEncoding.DecodeString(envelope["payload"].(string))
		if err != nil {
			w.TB.Fatal(err)
		}
		envelope["payload"] = base64.RawURLEncoding.EncodeToString(append(payload, ' '))
		if blob, err = json.Marshal(envelope); err != nil {
			w.TB.Fatal(err)
		}
		w.Attach(image, blob, mediaType)
	}
	signings["of-another-artifact"] = func(tag string) {
		blob, mediaType := w.Envelope(w.Good, w.Image("another-artifact"), signed.How{})
		w.Attach(w.Image(tag), blob, mediaType)
	}
	signings["of-another-size"] = func(tag string) {
		image := w.Image(tag)
		wrong := image
		wrong.Size++
		blob, mediaType := w.Envelope(w.Good, wrong, signed.How{})
		w.Attach(image, blob, mediaType)
	}
	signings["unknown-envelope-type"] = func(tag string) {
		image := w.Image(tag)
		blob, _ := w.Envelope(w.Good, image, signed.How{})
		w.Attach(image, blob, "application/unknown")
	}
	signings["envelope-of-the-other-type"] = func(tag string) {
		image := w.Image(tag)
		blob, _ := w.Envelope(w.Good, image, signed.How{})
		w.Attach(image, blob, jws.MediaTypeEnvelope)
	}
	signings["garbage"] = func(tag string) { w.Attach(w.Image(tag), []byte("garbage"), jws.MediaTypeEnvelope) }
	// Larger than what is opened, and not than what notation reads.
	signings["large-garbage-then-good"] = func(tag string) {
		image := w.Image(tag)
		w.Attach(image, bytes.Repeat([]byte("garbage "), 1<<18), jws.MediaTypeEnvelope)
		w.Sign(w.Good, image, signed.How{})
	}
	signings["large-manifest"] = func(tag string) {
		image := w.Image(tag)
		blob, mediaType := w.Envelope(w.Good, image, signed.How{})
		w.AttachAnnotated(image, blob, mediaType, map[string]string{"large": strings.Repeat("x", 3<<20)})
	}
	signings["one-good-of-many"] = func(tag string) {
		image := w.Image(tag)
		w.Sign(stranger, image, signed.How{})
		w.Sign(expired, image, signed.How{At: wasValid})
		blob, mediaType := w.Envelope(w.Good, image, signed.How{})
		w.Attach(image, signed.FlipLast(blob), mediaType)
		w.Sign(w.Good, image, signed.How{})
	}
	signings["none-good-of-many"] = func(tag string) {
		image := w.Image(tag)
		w.Sign(stranger, image, signed.How{})
		w.Sign(revokedByOCSP, image, signed.How{})
	}
	signings["broken-manifest"] = func(tag string) { w.AttachBroken(w.Image(tag)) }
	signings["good-then-broken-manifest"] = func(tag string) {
		image := w.Image(tag)
		w.Sign(w.Good, image, signed.How{})
		w.AttachBroken(image)
	}
	signings["broken-manifest-then-good"] = func(tag string) {
		image := w.Image(tag)
		w.AttachBroken(image)
		w.Sign(w.Good, image, signed.How{})
	}

	tags := slices.Sorted(maps.Keys(signings))
	for _, tag := range tags {
		signings[tag](tag)
	}
	return tags
}

// parityPolicies are policies of all kinds, by a name. "*" in a trust store or a
// scope is no pattern but what notation takes it for.
func parityPolicies(scope string) map[string][]policyStatement {
	statement := signed.Statement
	level := func(name string, o override) func(*policyStatement) {
		return func(s *policyStatement) {
			s.SignatureVerification.VerificationLevel, s.SignatureVerification.Override = name, o
		}
	}
	stores := func(names ...string) func(*policyStatement) {
		return func(s *policyStatement) { s.TrustStores = names }
	}
	identities := func(names ...string) func(*policyStatement) {
		return func(s *policyStatement) { s.TrustedIdentities = names }
	}
	scopes := func(name string, scopes ...string) func(*policyStatement) {
		return func(s *policyStatement) { s.Name, s.RegistryScopes = name, scopes }
	}
	stamps := func(o trustpolicy.TimestampOption, names ...string) func(*policyStatement) {
		return func(s *policyStatement) {
			s.TrustStores, s.SignatureVerification.VerifyTimestamp = append([]string{"ca:acme"}, names...), o
		}
	}
	both := func(changes ...func(*policyStatement)) func(*policyStatement) {
		return func(s *policyStatement) {
			for _, change := range changes {
				change(s)
			}
		}
	}
	skip := func(s *policyStatement) {
		s.SignatureVerification.VerificationLevel, s.TrustStores, s.TrustedIdentities = "skip", nil, nil
	}
	const acme = "x509.subject: C=DE, ST=Berlin, O=acme"
	policies := map[string][]policyStatement{
		"skip":                                {statement(skip)},
		"exact scope, and * that skips":       {statement(scopes("exact", scope)), statement(both(scopes("others", "*"), skip))},
		"exact scope that skips, and *":       {statement(both(scopes("exact", scope), skip)), statement(scopes("others", "*"))},
		"exact scope of others' store, and *": {statement(both(scopes("exact", scope), stores("ca:other"))), statement(scopes("others", "*"))},
		"no scope":                            {statement(scopes("else", "registry.example/acme/app"))},
		"scope above":                         {statement(scopes("above", strings.TrimSuffix(scope, "/app")))},
		"several scopes":                      {statement(scopes("several", "registry.example/app", scope))},
		"missing store of another scope":      {statement(scopes("exact", scope)), statement(both(scopes("others", "*"), stores("ca:nowhere")))},
	}
	for name, change := range map[string]func(*policyStatement){
		"strict":                          nil,
		"permissive":                      level("permissive", nil),
		"audit":                           level("audit", nil),
		"strict, revocation skipped":      level("strict", override{"revocation": "skip"}),
		"strict, revocation logged":       level("strict", override{"revocation": "log"}),
		"strict, authenticity logged":     level("strict", override{"authenticity": "log"}),
		"strict, expiry logged":           level("strict", override{"expiry": "log"}),
		"strict, timestamp logged":        level("strict", override{"authenticTimestamp": "log"}),
		"permissive, expiry enforced":     level("permissive", override{"expiry": "enforce"}),
		"audit, revocation enforced":      level("audit", override{"revocation": "enforce"}),
		"identity subset":                 identities(acme),
		"identity whole":                  identities(acme + ", CN=release"),
		"identity mismatch":               identities("x509.subject: C=DE, ST=Berlin, O=evil"),
		"identity of several":             identities("x509.subject: C=US, ST=WA, O=acme", acme+", CN=release"),
		"identity mismatch, audit":        both(level("audit", nil), identities("x509.subject: C=DE, ST=Berlin, O=evil")),
		"identity of another kind":        identities("somewhere:else"),
		"several stores":                  stores("ca:other", "ca:acme"),
		"others' store":                   stores("ca:other"),
		"others' store, audit":            both(level("audit", nil), stores("ca:other")),
		"missing store":                   stores("ca:nowhere"),
		"missing store, audit":            both(level("audit", nil), stores("ca:nowhere")),
		"missing store beside a good one": stores("ca:acme", "ca:nowhere"),
		"signing authority":               stores("signingAuthority:acme"),
		"signing authority and ca":        stores("signingAuthority:acme", "ca:acme"),
		"timestamp":                       stamps("", "tsa:stamps"),
		"timestamp always":                stamps(trustpolicy.OptionAlways, "tsa:stamps"),
		"timestamp after expiry":          stamps(trustpolicy.OptionAfterCertExpiry, "tsa:stamps"),
		"timestamp of others":             stamps(trustpolicy.OptionAlways, "tsa:others"),
		"timestamp of others, after":      stamps(trustpolicy.OptionAfterCertExpiry, "tsa:others"),
		"timestamp store missing":         stamps(trustpolicy.OptionAlways, "tsa:nowhere"),
		"timestamp permissive":            both(level("permissive", nil), stamps(trustpolicy.OptionAlways, "tsa:stamps")),
	} {
		policies[name] = []policyStatement{statement(change)}
	}
	return policies
}

// TestVerdictIsNotations verifies each artifact under each policy, here and with
// the notation command.
func TestVerdictIsNotations(t *testing.T) {
	w := newVerifyWorld(t)
	tags := parityArtifacts(w)
	notation := testenv.Start(t, testenv.NewNotation)
	libexec := parityPlugins(t)
	for name, statements := range parityPolicies(w.Scope()) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := w.parity(t, notation, libexec, signed.PolicyJSON(t, statements...), Options{MaxSignatures: 100})
			for _, tag := range tags {
				p.compare(t, tag)
			}
		})
	}
	t.Run("user metadata", func(t *testing.T) {
		t.Parallel()
		for _, wanted := range []map[string]string{
			{"commit": "abc"}, {"commit": "abc", "more": "x"}, {"commit": "ABC"}, {"absent": "abc"},
		} {
			p := w.parity(t, notation, libexec, signed.PolicyJSON(t, signed.Statement(nil)), Options{MaxSignatures: 100, UserMetadata: wanted})
			for _, tag := range []string{"good", "good-metadata", "tampered-envelope", "one-good-of-many", "of-another-artifact"} {
				p.compare(t, tag)
			}
		}
	})
	t.Run("max signatures", func(t *testing.T) {
		t.Parallel()
		for max := 1; max <= 5; max++ {
			p := w.parity(t, notation, libexec, signed.PolicyJSON(t, signed.Statement(nil)), Options{MaxSignatures: max})
			for _, tag := range []string{"good", "unsigned", "one-good-of-many", "none-good-of-many", "good-then-broken-manifest", "broken-manifest-then-good"} {
				p.compare(t, tag)
			}
		}
	})
}

// parity compares verdicts under one policy.
type parity struct {
	world    *verifyWorld
	verifier *Verifier
	notation *testenv.Notation
	env      []string
}

func (w *verifyWorld) parity(t *testing.T, notation *testenv.Notation, libexec, policy string, o Options) parity {
	t.Helper()
	config := t.TempDir()
	if err := os.Symlink(w.Store, filepath.Join(config, "truststore")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(config, "trustpolicy.json"), []byte(policy), 0o600); err != nil {
		t.Fatal(err)
	}
	trust, err := LoadTrust(TrustOptions{NotationDir: config})
	if err != nil {
		t.Fatal(err)
	}
	o.Concurrency = 2
	o.Plugins = pluginmanager.NewCLIManager(dir.NewSysFS(filepath.Join(libexec, "plugins")))
	v, err := New(trust, w.clients, o)
	if err != nil {
		t.Fatal(err)
	}
	return parity{w, v, notation, []string{"NOTATION_CONFIG=" + config, "NOTATION_LIBEXEC=" + libexec}}
}

func (p parity) compare(t *testing.T, tag string) {
	t.Helper()
	options := p.verifier.options
	args := []string{"verify", "--max-signatures", strconv.Itoa(options.MaxSignatures)}
	for key, value := range options.UserMetadata {
		args = append(args, "--user-metadata", key+"="+value)
	}
	theirs, err := p.notation.Run(t.Context(), p.env, append(args, p.world.Scope()+":"+tag)...)
	if err != nil {
		t.Fatal(err)
	}
	target, err := p.world.clients.Resolve(t.Context(), p.world.Scope()+":"+tag)
	if err != nil {
		t.Fatal(err)
	}
	ours, err := p.verifier.Verify(t.Context(), target)
	if (err == nil) != (theirs.ExitCode == 0) {
		t.Errorf("%s %v: %s here (%v), exit status %d of notation: %s%s", tag, options.UserMetadata, ours.Verdict, err,
			theirs.ExitCode, theirs.Stdout, theirs.Stderr)
	}
	checkExplained(t, tag, ours, err)
}

// checkExplained checks that an explanation is complete and fits the verdict.
func checkExplained(t *testing.T, tag string, v report.Verification, err error) {
	t.Helper()
	if (err != nil) != (v.Verdict == report.Failed) || (v.Error != "") != (err != nil) {
		t.Errorf("%s: verdict %s, %q with error %v", tag, v.Verdict, v.Error, err)
	}
	for _, s := range v.Signatures {
		if s.Valid != (s.Error == "") {
			t.Errorf("%s: valid %t with error %s", tag, s.Valid, s.Error)
		}
		if s.Format == "" { // it could not be fetched
			continue
		}
		if fails := slices.ContainsFunc(s.Checks, fatal); fails == s.Valid {
			t.Errorf("%s: a signature is valid: %t, and one of its enforced checks failed: %t: %v", tag, s.Valid, fails, s.Checks)
		}
		for _, c := range s.Checks {
			if c.Reason == "" || c.Action == "" || (c.Remedy != "") != (c.Result == report.CheckFailed) {
				t.Errorf("%s: a check is not explained: %+v", tag, c)
			}
			if c.Reason == "verification ended earlier" {
				t.Errorf("%s: a check was not made: %+v", tag, c)
			}
		}
	}
}

// parityPlugins installs verification plugins that are shell scripts, and
// returns the directory that they are in.
func parityPlugins(t *testing.T) string {
	t.Helper()
	libexec := t.TempDir()
	for name, success := range map[string]bool{"accepts": true, "refuses": false} {
		script := fmt.Sprintf(`#!/bin/sh
cat >/dev/null
case $1 in
get-plugin-metadata)
	echo '{"name":"%s","description":"test","version":"1.0.0","url":"https://example.com","supportedContractVersions":["1.0"],"capabilities":["SIGNATURE_VERIFIER.TRUSTED_IDENTITY","SIGNATURE_VERIFIER.REVOCATION_CHECK"]}' ;;
verify-signature)
	echo '{"verificationResults":{"SIGNATURE_VERIFIER.TRUSTED_IDENTITY":{"success":%t,"reason":"says so"},"SIGNATURE_VERIFIER.REVOCATION_CHECK":{"success":true}},"processedAttributes":[]}' ;;
esac
`, name, success)
		path := filepath.Join(libexec, "plugins", name, "notation-"+name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return libexec
}
