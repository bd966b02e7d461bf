// SPDX-License-Identifier: Apache-2.0

package action

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
	other := newCertificate(w.tb, "other root", nil, asAuthority)
	stranger := newCertificate(w.tb, "stranger", other, asSigner)
	expired := newCertificate(w.tb, "expired", w.intermediate, asExpired)
	wasValid := now.Add(-15 * hour)
	tsa := newTimestampAuthority(w.tb, "tsa", wasValid)
	nowTSA := timestampAuthority{tsa.signer, now.Add(-time.Minute)}
	otherTSA := newTimestampAuthority(w.tb, "tsa of others", wasValid)
	revokedTSA := tsa.renamed(w.tb, "tsa revoked", withOCSP(w.servers.URL+"/ocsp", asTimestampAuthority))
	silentTSA := tsa.renamed(w.tb, "tsa silent", withOCSP("http://127.0.0.1:1/", asTimestampAuthority))
	w.servers.add(tsa.signer.issuer)
	w.servers.revoke(revokedTSA.signer)
	w.trusts("ca/other", other)
	w.trusts("signingAuthority/acme", w.root)
	w.trusts("tsa/stamps", tsa.signer.issuer)
	w.trusts("tsa/others", newTimestampAuthority(w.tb, "other tsa", now).signer.issuer)

	ocsp := w.servers.URL + "/ocsp"
	const nobody = "http://127.0.0.1:1/"
	crl := func(issuer *testCertificate) string {
		return w.servers.URL + "/crl/" + strings.ReplaceAll(issuer.cert.Subject.CommonName, " ", "%20")
	}
	signer := func(name string, change func(*x509.Certificate)) *testCertificate {
		return newCertificate(w.tb, name, w.intermediate, change)
	}
	revokedByOCSP := signer("revoked by OCSP", withOCSP(ocsp, asSigner))
	revokedByCRL := signer("revoked by CRL", withCRL(crl(w.intermediate), asSigner))
	takenBack := newCertificate(w.tb, "intermediate taken back", w.root, withCRL(crl(w.root), asAuthority))
	for _, c := range []*testCertificate{revokedByOCSP, revokedByCRL, takenBack} {
		w.servers.revoke(c)
	}

	// sign makes an artifact with one signature.
	signed := map[string]func(tag string){}
	one := func(tag string, by *testCertificate, s signing) {
		signed[tag] = func(tag string) { w.sign(by, w.image(tag), s) }
	}
	one("good", w.good, signing{})
	one("good-jws", w.good, signing{mediaType: jws.MediaTypeEnvelope})
	one("good-metadata", w.good, signing{metadata: map[string]string{"commit": "abc", "more": "x"}})
	one("timestamped", w.good, signing{stamp: &nowTSA})
	one("expired-certificate", expired, signing{at: wasValid})
	one("expired-certificate-timestamped", expired, signing{at: wasValid, stamp: &tsa})
	one("expired-certificate-timestamped-jws", expired, signing{at: wasValid, stamp: &tsa, mediaType: jws.MediaTypeEnvelope})
	one("expired-certificate-timestamped-late", expired, signing{at: wasValid, stamp: &nowTSA})
	one("expired-certificate-timestamped-by-others", expired, signing{at: wasValid, stamp: &otherTSA})
	one("expired-certificate-timestamped-revoked", expired, signing{at: wasValid, stamp: &revokedTSA})
	one("expired-certificate-timestamped-unreachable", expired, signing{at: wasValid, stamp: &silentTSA})
	one("expired-signature", w.good, signing{at: now.Add(-2 * hour), expiry: now.Add(-hour)})
	one("expires-later", w.good, signing{expiry: now.Add(hour)})
	one("untrusted-root", stranger, signing{})
	one("other-signer", signer("somebody else", asSigner), signing{})
	one("signing-authority", w.good, signing{scheme: signature.SigningSchemeX509SigningAuthority})
	one("signing-authority-expired", expired, signing{at: wasValid, scheme: signature.SigningSchemeX509SigningAuthority})
	one("ocsp-good", signer("ocsp good", withOCSP(ocsp, asSigner)), signing{})
	one("crl-good", signer("crl good", withCRL(crl(w.intermediate), asSigner)), signing{})
	one("ocsp-revoked", revokedByOCSP, signing{})
	one("crl-revoked", revokedByCRL, signing{})
	one("intermediate-revoked", newCertificate(w.tb, "below", takenBack, asSigner), signing{})
	one("ocsp-unreachable", signer("ocsp unreachable", withOCSP(nobody, asSigner)), signing{})
	one("ocsp-unreachable-crl-good", signer("ocsp, crl", withOCSP(nobody, withCRL(crl(w.intermediate), asSigner))), signing{})
	one("crl-unreachable", signer("crl unreachable", withCRL(nobody, asSigner)), signing{})
	one("untrusted-root-revocable", newCertificate(w.tb, "stranger, ocsp", other, withOCSP(nobody, asSigner)), signing{})
	one("plugin-missing", w.good, signing{plugin: "missing"})
	one("plugin-accepts", w.good, signing{plugin: "accepts"})
	one("plugin-refuses", w.good, signing{plugin: "refuses"})
	one("plugin-accepts-untrusted-root", stranger, signing{plugin: "accepts"})

	signed["unsigned"] = func(tag string) { w.image(tag) }
	signed["tampered-envelope"] = func(tag string) {
		image := w.image(tag)
		blob, mediaType := w.envelope(w.good, image, signing{})
		w.attach(image, flipLast(blob), mediaType)
	}
	signed["tampered-payload"] = func(tag string) {
		image, another := w.image(tag), w.image("tampered-payload-source")
		blob, mediaType := w.envelope(w.good, another, signing{})
		w.attach(image, bytes.ReplaceAll(blob, []byte(another.Digest), []byte(image.Digest)), mediaType)
	}
	signed["tampered-payload-jws"] = func(tag string) {
		image := w.image(tag)
		blob, mediaType := w.envelope(w.good, image, signing{mediaType: jws.MediaTypeEnvelope})
		var envelope map[string]any
		if err := json.Unmarshal(blob, &envelope); err != nil {
			w.tb.Fatal(err)
		}
		payload, err := base64.RawURLEncoding.DecodeString(envelope["payload"].(string))
		if err != nil {
			w.tb.Fatal(err)
		}
		envelope["payload"] = base64.RawURLEncoding.EncodeToString(append(payload, ' '))
		if blob, err = json.Marshal(envelope); err != nil {
			w.tb.Fatal(err)
		}
		w.attach(image, blob, mediaType)
	}
	signed["of-another-artifact"] = func(tag string) {
		blob, mediaType := w.envelope(w.good, w.image("another-artifact"), signing{})
		w.attach(w.image(tag), blob, mediaType)
	}
	signed["of-another-size"] = func(tag string) {
		image := w.image(tag)
		wrong := image
		wrong.Size++
		blob, mediaType := w.envelope(w.good, wrong, signing{})
		w.attach(image, blob, mediaType)
	}
	signed["unknown-envelope-type"] = func(tag string) {
		image := w.image(tag)
		blob, _ := w.envelope(w.good, image, signing{})
		w.attach(image, blob, "application/unknown")
	}
	signed["envelope-of-the-other-type"] = func(tag string) {
		image := w.image(tag)
		blob, _ := w.envelope(w.good, image, signing{})
		w.attach(image, blob, jws.MediaTypeEnvelope)
	}
	signed["garbage"] = func(tag string) { w.attach(w.image(tag), []byte("garbage"), jws.MediaTypeEnvelope) }
	signed["one-good-of-many"] = func(tag string) {
		image := w.image(tag)
		w.sign(stranger, image, signing{})
		w.sign(expired, image, signing{at: wasValid})
		blob, mediaType := w.envelope(w.good, image, signing{})
		w.attach(image, flipLast(blob), mediaType)
		w.sign(w.good, image, signing{})
	}
	signed["none-good-of-many"] = func(tag string) {
		image := w.image(tag)
		w.sign(stranger, image, signing{})
		w.sign(revokedByOCSP, image, signing{})
	}
	signed["broken-manifest"] = func(tag string) { w.attachBroken(w.image(tag)) }
	signed["good-then-broken-manifest"] = func(tag string) {
		image := w.image(tag)
		w.sign(w.good, image, signing{})
		w.attachBroken(image)
	}
	signed["broken-manifest-then-good"] = func(tag string) {
		image := w.image(tag)
		w.attachBroken(image)
		w.sign(w.good, image, signing{})
	}

	tags := slices.Sorted(maps.Keys(signed))
	for _, tag := range tags {
		signed[tag](tag)
	}
	return tags
}

// parityPolicies are policies of all kinds, by a name. "*" in a trust store or a
// scope is no pattern but what notation takes it for.
func parityPolicies(scope string) map[string][]policyStatement {
	statement := statementOf
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
	for name, statements := range parityPolicies(w.scope()) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := w.parity(t, notation, libexec, policyJSON(t, statements...), verifyOptions{maxSignatures: 100})
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
			p := w.parity(t, notation, libexec, policyJSON(t, statementOf(nil)), verifyOptions{maxSignatures: 100, userMetadata: wanted})
			for _, tag := range []string{"good", "good-metadata", "tampered-envelope", "one-good-of-many", "of-another-artifact"} {
				p.compare(t, tag)
			}
		}
	})
	t.Run("max signatures", func(t *testing.T) {
		t.Parallel()
		for max := 1; max <= 5; max++ {
			p := w.parity(t, notation, libexec, policyJSON(t, statementOf(nil)), verifyOptions{maxSignatures: max})
			for _, tag := range []string{"good", "unsigned", "one-good-of-many", "none-good-of-many", "good-then-broken-manifest", "broken-manifest-then-good"} {
				p.compare(t, tag)
			}
		}
	})
}

// parity compares verdicts under one policy.
type parity struct {
	world    *verifyWorld
	verifier *verifier
	notation *testenv.Notation
	env      []string
}

func (w *verifyWorld) parity(t *testing.T, notation *testenv.Notation, libexec, policy string, o verifyOptions) parity {
	t.Helper()
	config := t.TempDir()
	if err := os.Symlink(w.store, filepath.Join(config, "truststore")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(config, "trustpolicy.json"), []byte(policy), 0o600); err != nil {
		t.Fatal(err)
	}
	trust, err := loadTrust(trustOptions{notationDir: config})
	if err != nil {
		t.Fatal(err)
	}
	o.concurrency = 2
	o.plugins = pluginmanager.NewCLIManager(dir.NewSysFS(filepath.Join(libexec, "plugins")))
	v, err := newVerifier(trust, w.clients, o)
	if err != nil {
		t.Fatal(err)
	}
	return parity{w, v, notation, []string{"NOTATION_CONFIG=" + config, "NOTATION_LIBEXEC=" + libexec}}
}

func (p parity) compare(t *testing.T, tag string) {
	t.Helper()
	options := p.verifier.options
	args := []string{"verify", "--max-signatures", strconv.Itoa(options.maxSignatures)}
	for key, value := range options.userMetadata {
		args = append(args, "--user-metadata", key+"="+value)
	}
	theirs, err := p.notation.Run(t.Context(), p.env, append(args, p.world.scope()+":"+tag)...)
	if err != nil {
		t.Fatal(err)
	}
	target, err := p.world.clients.resolve(t.Context(), p.world.scope()+":"+tag)
	if err != nil {
		t.Fatal(err)
	}
	ours, err := p.verifier.verify(t.Context(), target)
	if (err == nil) != (theirs.ExitCode == 0) {
		t.Errorf("%s %v: %s here (%v), exit status %d of notation: %s%s", tag, options.userMetadata, ours.Verdict, err,
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
			if c.Reason == "the verification ended before" {
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
