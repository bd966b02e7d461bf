// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/notaryproject/notation-core-go/signature/jws"
	pluginmanager "github.com/notaryproject/notation-go/plugin"
	"github.com/notaryproject/notation-go/verifier/trustpolicy"
	"github.com/notaryproject/notation-plugin-framework-go/plugin"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/notation-pkcs11/notation-pkcs11/action/envelope"
	"github.com/notation-pkcs11/notation-pkcs11/action/registry"
	"github.com/notation-pkcs11/notation-pkcs11/action/report"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/pki"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/signed"
)

// checkOf returns a signature's check of a name.
func checkOf(t *testing.T, s report.Signature, name string) report.Check {
	t.Helper()
	for _, c := range s.Checks {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("there is no check %s: %+v", name, s)
	return report.Check{}
}

// results are the results of a signature's checks, in their order.
func results(s report.Signature) string {
	var all []string
	for _, c := range s.Checks {
		all = append(all, c.Name+" "+string(c.Result))
	}
	return strings.Join(all, ", ")
}

func TestVerifyAsksTheRegistryFourTimes(t *testing.T) {
	w := newVerifyWorld(t)
	w.Sign(w.Good, w.Image("app"), signed.How{})
	before := len(w.Registry.Requests())
	if _, err := w.verify("app", Options{}, nil); err != nil {
		t.Error(err)
	}
	if got := w.Registry.Requests()[before:]; len(got) != 4 || got[0].Method != http.MethodHead {
		t.Errorf("requests %v, want HEAD manifest, GET referrers, manifest and envelope", got)
	}
}

func TestSkippedArtifactIsNotAskedFor(t *testing.T) {
	w := newVerifyWorld(t)
	w.Image("app")
	target := w.target("app")
	before := len(w.Registry.Requests())
	v, err := w.verifier(Options{}, signed.Statement(func(s *trustpolicy.TrustPolicy) {
		s.SignatureVerification.VerificationLevel, s.TrustStores, s.TrustedIdentities = "skip", nil, nil
	})).Verify(t.Context(), target)
	if v.Verdict != report.Skipped || err != nil || len(w.Registry.Requests()) != before {
		t.Errorf("verdict %s after %v", v.Verdict, w.Registry.Requests()[before:])
	}
}

func TestAllSignaturesAreEvaluatedBeyondTheFirstGoodOne(t *testing.T) {
	w := newVerifyWorld(t)
	image := w.Image("app")
	stranger := pki.New(t, "stranger", pki.New(t, "strange root", nil, pki.AsAuthority), pki.AsSigner)
	w.Sign(w.Good, image, signed.How{})
	w.Sign(stranger, image, signed.How{})
	w.Sign(w.Good, image, signed.How{MediaType: jws.MediaTypeEnvelope, Metadata: map[string]string{"commit": "abc"}})
	v, err := w.verify("app", Options{}, nil)
	valid := 0
	for _, s := range v.Signatures {
		if s.Valid {
			valid++
		}
	}
	if err != nil || len(v.Signatures) != 3 || valid != 2 || v.More {
		t.Errorf("%s with %d signatures, %d of them valid: %v", v.Verdict, len(v.Signatures), valid, err)
	}
	v, _ = w.verify("app", Options{MaxSignatures: 2}, nil)
	if len(v.Signatures) != 2 || !v.More {
		t.Errorf("%d signatures, more: %t", len(v.Signatures), v.More)
	}
}

// TestEachFailureIsExplained has one fault for each check, and wants that check
// to fail, with all others as they are.
func TestEachFailureIsExplained(t *testing.T) {
	w := newVerifyWorld(t)
	wasValid := time.Now().Add(-15 * time.Hour)
	tsa := pki.NewTimestampAuthority(t, "stamps", wasValid)
	w.Trusts("tsa/stamps", tsa.Signer.Issuer)
	expired := pki.New(t, "expired", w.Intermediate, pki.AsExpired)
	stranger := pki.New(t, "stranger", pki.New(t, "strange root", nil, pki.AsAuthority), pki.AsSigner)
	revoked := pki.New(t, "revoked", w.Intermediate, pki.WithOCSP(w.Servers.URL+"/ocsp", pki.AsSigner))
	unreachable := pki.New(t, "unreachable", w.Intermediate, pki.WithCRL("http://127.0.0.1:1/list", pki.AsSigner))
	w.Servers.Revoke(revoked)
	withStamps := func(s *trustpolicy.TrustPolicy) { s.TrustStores = append(s.TrustStores, "tsa:stamps") }

	for _, c := range []struct {
		name   string
		by     *pki.Certificate
		how    signed.How
		wanted map[string]string
		policy func(*trustpolicy.TrustPolicy)
		fails  string
		reason string // a part of it
		remedy string
	}{
		{"untrusted", stranger, signed.How{}, nil, nil, checkAuthenticity, "does not contain any trusted certificate", "strange root"},
		{"no identity", w.Good, signed.How{}, nil, func(s *trustpolicy.TrustPolicy) {
			s.TrustedIdentities = []string{"x509.subject: C=US, ST=WA, O=acme"}
		}, checkAuthenticity, "does not match the X.509 trusted identities", "CN=release"},
		{"no such store", w.Good, signed.How{}, nil, func(s *trustpolicy.TrustPolicy) {
			s.TrustStores = []string{"ca:nowhere"}
		}, checkAuthenticity, "does not exist", "fix trust store ca:nowhere"},
		{"expired signature", w.Good, signed.How{At: wasValid, Expiry: wasValid.Add(time.Hour)}, nil, nil, checkExpiry, "expired", "sign the artifact again"},
		{"expired certificate", expired, signed.How{At: wasValid}, nil, nil, checkTimestamp, "expired", "timestamp_url"},
		{"timestamp that does not count", expired, signed.How{At: wasValid, Stamp: &tsa}, nil, nil, checkTimestamp, "expired", "type tsa"},
		{"no timestamp", w.Good, signed.How{}, nil, withStamps, checkTimestamp, "no timestamp", "verifyTimestamp"},
		{"revoked", revoked, signed.How{}, nil, nil, checkRevocation, "is revoked", "was revoked"},
		{"revocation unknown", unreachable, signed.How{}, nil, nil, checkRevocation, "unknown", "http://127.0.0.1:1/list"},
		{"no such metadata", w.Good, signed.How{}, map[string]string{"commit": "abc"}, nil, checkUserMetadata, `"commit" is not in`, "user_metadata"},
		{"other metadata", w.Good, signed.How{Metadata: map[string]string{"commit": "x"}}, map[string]string{"commit": "abc"}, nil, checkUserMetadata, `"x"`, "user_metadata"},
		{"no such plugin", w.Good, signed.How{Plugin: "absent"}, nil, nil, checkPlugin, "absent", "install it"},
	} {
		t.Run(c.name, func(t *testing.T) {
			tag := strings.ReplaceAll(c.name, " ", "-")
			w.Sign(c.by, w.Image(tag), c.how)
			v, err := w.verify(tag, Options{UserMetadata: c.wanted}, c.policy)
			if err == nil || len(v.Signatures) != 1 {
				t.Fatalf("%s: %+v", v.Verdict, v.Signatures)
			}
			for _, got := range v.Signatures[0].Checks {
				if fatal(got) != (got.Name == c.fails) {
					t.Errorf("%s %s: %s", got.Name, got.Result, got.Reason)
				}
			}
			got := checkOf(t, v.Signatures[0], c.fails)
			if !strings.Contains(got.Reason, c.reason) || !strings.Contains(got.Remedy, c.remedy) {
				t.Errorf("reason %q, remedy %q; want %q, %q", got.Reason, got.Remedy, c.reason, c.remedy)
			}
		})
	}
}

func TestSeveralFailuresAreAllFound(t *testing.T) {
	w := newVerifyWorld(t)
	stranger := pki.New(t, "stranger", pki.New(t, "strange root", nil, pki.AsAuthority), pki.AsExpired)
	at := time.Now().Add(-15 * time.Hour)
	another := w.Image("another")
	blob, mediaType := w.Envelope(stranger, another, signed.How{At: at, Expiry: at.Add(time.Hour)})
	w.Attach(w.Image("app"), blob, mediaType)
	v, _ := w.verify("app", Options{UserMetadata: map[string]string{"commit": "abc"}}, nil)
	want := "integrity passed, authenticity failed, expiry failed, authenticTimestamp failed, revocation not evaluated, descriptor failed, userMetadata failed"
	if got := results(v.Signatures[0]); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	if got := checkOf(t, v.Signatures[0], checkDescriptor).Reason; !strings.Contains(got, another.Digest.String()) {
		t.Errorf("the artifact that was signed is not named: %s", got)
	}
}

func TestGoodSignatureSaysWhatWasFound(t *testing.T) {
	w := newVerifyWorld(t)
	tsa := pki.NewTimestampAuthority(t, "stamps", time.Now().Add(-time.Minute))
	w.Trusts("tsa/stamps", tsa.Signer.Issuer)
	signer := pki.New(t, "signer", w.Intermediate, pki.WithOCSP(w.Servers.URL+"/ocsp", pki.AsSigner))
	w.Sign(signer, w.Image("app"), signed.How{Stamp: &tsa, Metadata: map[string]string{"commit": "abc"}, Expiry: time.Now().Add(time.Hour)})
	v, err := w.verify("app", Options{UserMetadata: map[string]string{"commit": "abc"}}, func(s *trustpolicy.TrustPolicy) {
		s.TrustStores = append(s.TrustStores, "tsa:stamps")
	})
	if err != nil {
		t.Fatal(err)
	}
	s := v.Signatures[0]
	for name, want := range map[string]string{
		checkIntegrity:    "ECDSA-SHA-256",
		checkAuthenticity: "ca:acme",
		checkExpiry:       "expires on",
		checkTimestamp:    "CN=stamps",
		checkRevocation:   "CRL: 1 of 3",
		checkDescriptor:   "sha256:",
		checkUserMetadata: "contains everything",
	} {
		if got := checkOf(t, s, name); got.Result != report.CheckPassed || !strings.Contains(got.Reason, want) {
			t.Errorf("%s: %s, %q, want %q", name, got.Result, got.Reason, want)
		}
	}
	if s.TrustedBy.Store != "ca:acme" || s.TrustedBy.Certificate.Thumbprint != envelope.DescribeCertificate(w.Root.Cert).Thumbprint {
		t.Errorf("anchor %+v", s.TrustedBy)
	}
	if len(s.Revocation) != 3 || len(s.Revocation[0].Servers) != 1 || s.Revocation[0].Servers[0].Error != "" {
		t.Errorf("revocation %+v", s.Revocation)
	}
	if s.Format != "cose" || s.Algorithm != "ECDSA-SHA-256" || len(s.Certificates) != 3 || s.UserMetadata["commit"] != "abc" ||
		s.Timestamp == nil || s.Timestamp.Error != "" || s.Expiry == nil || s.SigningTime == nil {
		t.Errorf("claims %+v", s.Claims)
	}
}

// sourceOf is a registry whose signatures are these functions.
type sourceOf struct {
	list func() ([]ocispec.Descriptor, error)
	read func() ([]byte, string)
}

func (s sourceOf) Signatures(context.Context, registry.Target, int, ...digest.Digest) ([]ocispec.Descriptor, error) {
	return s.list()
}

func (s sourceOf) Envelope(_ context.Context, _ registry.Target, _ ocispec.Descriptor, use func([]byte, string)) error {
	use(s.read())
	return nil
}

func TestWhatCanNotBeListedOrParsedFailsItsArtifactAlone(t *testing.T) {
	w := newVerifyWorld(t)
	v := w.verifier(Options{}, signed.Statement(nil))
	image := w.Image("app")
	target := w.target("app")
	one := []ocispec.Descriptor{{Digest: digest.FromString("manifest")}}
	blob, mediaType := w.Envelope(w.Good, image, signed.How{})
	good := func() ([]byte, string) { return blob, mediaType }
	for _, c := range []struct {
		name   string
		source sourceOf
		want   string // of the error; empty: verified
	}{
		{"no list", sourceOf{list: func() ([]ocispec.Descriptor, error) { return nil, errors.New("no list") }}, "no list"},
		{"good one before the list ends", sourceOf{func() ([]ocispec.Descriptor, error) { return one, errors.New("no second page") }, good}, ""},
		{"panic", sourceOf{func() ([]ocispec.Descriptor, error) { return one, nil }, func() ([]byte, string) { panic("defect") }}, "defect"},
	} {
		v.source = c.source
		got, err := v.Verify(t.Context(), target)
		if (err == nil) != (c.want == "") || c.want != "" && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %s, %v", c.name, got.Verdict, err)
		}
	}
}

// noManager fails the test that asks it for a plugin.
type noManager struct {
	pluginmanager.Manager
	t *testing.T
}

func (m noManager) Get(_ context.Context, name string) (plugin.Plugin, error) {
	m.t.Errorf("asked for plugin %q", name)
	return nil, errors.New("no plugin")
}

func TestSignatureCanNotNameAPluginElsewhere(t *testing.T) {
	w := newVerifyWorld(t)
	for i, name := range []string{"../../tmp/evil", "..", "a/b", `a\b`, "a\x00b"} {
		tag := "app" + string(rune('a'+i))
		w.Sign(w.Good, w.Image(tag), signed.How{Plugin: name})
		v, err := w.verify(tag, Options{Plugins: noManager{t: t}}, nil)
		if got := checkOf(t, v.Signatures[0], checkPlugin); err == nil || got.Result != report.CheckFailed {
			t.Errorf("%q: %s, %+v", name, v.Verdict, got)
		}
	}
}

// stuckSource never answers for one artifact, and says when it is asked.
type stuckSource struct {
	registry.SignatureSource
	artifact digest.Digest
	asked    chan struct{}
}

func (s stuckSource) Signatures(ctx context.Context, t registry.Target, max int, also ...digest.Digest) ([]ocispec.Descriptor, error) {
	if t.Desc.Digest == s.artifact {
		return make([]ocispec.Descriptor, 10), nil
	}
	return s.SignatureSource.Signatures(ctx, t, max, also...)
}

func (s stuckSource) Envelope(ctx context.Context, t registry.Target, manifest ocispec.Descriptor, use func([]byte, string)) error {
	if t.Desc.Digest != s.artifact {
		return s.SignatureSource.Envelope(ctx, t, manifest, use)
	}
	s.asked <- struct{}{}
	<-ctx.Done()
	return ctx.Err()
}

func TestSlowArtifactDoesNotHoldUpAnother(t *testing.T) {
	w := newVerifyWorld(t)
	w.Sign(w.Good, w.Image("app"), signed.How{})
	slow, good := w.target("app").Beside(w.Image("slow")), w.target("app")
	v := w.verifier(Options{}, signed.Statement(nil))
	asked := make(chan struct{}, 10)
	v.source = stuckSource{v.source, slow.Desc.Digest, asked}
	ctx, cancel := context.WithCancel(t.Context())
	verify := func(ctx context.Context, t registry.Target) <-chan error {
		result := make(chan error, 1)
		go func() {
			_, err := v.Verify(ctx, t)
			result <- err
		}()
		return result
	}
	stuck := verify(ctx, slow)
	for range cap(v.slots) {
		<-asked
	}
	select {
	case err := <-verify(t.Context(), good):
		if err != nil {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Error("it waits for the slow artifact")
	}
	cancel()
	if err := <-stuck; !errors.Is(err, context.Canceled) {
		t.Errorf("the slow artifact: %v", err)
	}
}

func TestUnsignedArtifactSaysSo(t *testing.T) {
	w := newVerifyWorld(t)
	w.Image("app")
	if _, err := w.verify("app", Options{}, nil); !errors.Is(err, errUnsigned) {
		t.Errorf("error %v", err)
	}
}

func TestEndOfTimeFailsTheArtifact(t *testing.T) {
	w := newVerifyWorld(t)
	w.Sign(w.Good, w.Image("app"), signed.How{})
	target := w.target("app")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.verifier(Options{}, signed.Statement(nil)).Verify(ctx, target); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func BenchmarkVerifyOneSignature(b *testing.B) {
	w := newVerifyWorld(b)
	image := w.Image("app")
	blob, mediaType := w.Envelope(w.Good, image, signed.How{})
	target := w.target("app")
	v := w.verifier(Options{}, signed.Statement(nil))
	v.source = sourceOf{
		func() ([]ocispec.Descriptor, error) { return []ocispec.Descriptor{{}}, nil },
		func() ([]byte, string) { return blob, mediaType },
	}
	for b.Loop() {
		if _, err := v.Verify(b.Context(), target); err != nil {
			b.Fatal(err)
		}
	}
}
