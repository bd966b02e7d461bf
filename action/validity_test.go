// SPDX-License-Identifier: Apache-2.0

package action

import (
	"strings"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/pki"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/signed"
)

// signedBefore attaches a signature by the run's key to an artifact of the
// repository app.
func (w *runWorld) signedBefore(t *testing.T, image ocispec.Descriptor, how signed.How) {
	t.Helper()
	repository, err := w.registry.Repository("app")
	if err != nil {
		t.Fatal(err)
	}
	world := &signed.World{TB: t, Registry: w.registry, Repository: repository}
	world.Sign(w.signer, image, how)
}

func endWarnings(r ran) (list []string) {
	for _, warning := range r.artifact.Warnings {
		if strings.Contains(warning, "verifies until") || strings.Contains(warning, "renew the certificate") {
			list = append(list, warning)
		}
	}
	return list
}

// The signer's certificate ends in 24 hours.
func TestSignatureThatEndsSoonIsAWarning(t *testing.T) {
	w := newRunWorld(t)
	for _, c := range []struct {
		mode, within, expiry string
		warns                string // a part of the warning; empty: none
	}{
		{"sign", "", "", "the certificate of"},
		{"sign", "1h", "", ""},
		{"sign", "0", "", ""},
		{"sign", "3h", "2h", "the signature expires"},
		{"sign-and-verify", "", "", "the certificate of"},
		{"sign-and-verify", "0", "", ""},
		{"sign-and-verify", "3h", "2h", "the signature expires"},
	} {
		reference, _ := w.image(t, "app", "v"+c.mode+c.within+c.expiry)
		r := w.run(t, map[string]string{
			"INPUT_TARGET_ARTIFACT_REFERENCE": reference, "INPUT_MODE": c.mode, "INPUT_WARN_WITHIN": c.within, "INPUT_EXPIRY": c.expiry,
		})
		if got := endWarnings(r); r.code != 0 || len(got) != min(1, len(c.warns)) || c.warns != "" && !strings.Contains(got[0], c.warns) {
			t.Errorf("%+v: exit code %d, warnings %q", c, r.code, got)
		}
		validity := r.artifact.Signed.Validity
		if c.mode == "sign-and-verify" {
			validity = r.artifact.Verification.Signatures[0].Validity
		}
		end := w.signer.Cert.NotAfter
		if c.expiry == "2h" {
			end = r.report.Started.Add(2 * time.Hour)
		}
		if validity.ValidUntil == nil || validity.ValidUntil.Sub(end).Abs() > 10*time.Minute || validity.ValidUntilReason == "" {
			t.Errorf("%+v: until %v, not %v, because %q", c, validity.ValidUntil, end, validity.ValidUntilReason)
		}
		for where, text := range map[string]string{"log": r.log, "summary": r.summary} {
			if day := validity.ValidUntil.Format(time.DateOnly); !strings.Contains(text, "until "+day) {
				t.Errorf("%+v: the %s doesn't say %s", c, where, day)
			}
		}
	}
}

// A signature that another outlasts may end.
func TestSignatureThatIsOutlastedIsNoWarning(t *testing.T) {
	w := newRunWorld(t)
	reference, image := w.image(t, "app", "v1")
	w.signedBefore(t, image, signed.How{Expiry: time.Now().Add(time.Hour)})
	verify := map[string]string{"INPUT_TARGET_ARTIFACT_REFERENCE": reference, "INPUT_MODE": "verify", "INPUT_WARN_WITHIN": "2h"}
	if r := w.run(t, verify); r.code != 0 || len(endWarnings(r)) != 1 {
		t.Errorf("exit code %d, warnings %q", r.code, r.artifact.Warnings)
	}
	w.signedBefore(t, image, signed.How{Expiry: time.Now().Add(3 * time.Hour)})
	if r := w.run(t, verify); r.code != 0 || endWarnings(r) != nil {
		t.Errorf("exit code %d, warnings %q", r.code, r.artifact.Warnings)
	}
}

// A timestamped signature outlasts its certificate, for a verifier who has the
// authority in a trust store.
func TestTimestampedSignatureHasNoEndInModeSign(t *testing.T) {
	w := newRunWorld(t)
	reference, _ := w.image(t, "app", "v1")
	authority := pki.NewTimestampAuthority(t, "tsa", time.Now())
	url, _ := tsa(t, authority, 0)
	r := w.run(t, map[string]string{
		"INPUT_TARGET_ARTIFACT_REFERENCE": reference, "INPUT_MODE": "sign", "INPUT_TIMESTAMP_URL": url, "INPUT_WARN_WITHIN": "",
		"INPUT_TIMESTAMP_ROOT_CERT": string(testenv.EncodePEM(authority.Signer.Issuer.Cert)),
	})
	if v := r.artifact.Signed.Validity; r.code != 0 || v.ValidUntil != nil || !strings.Contains(v.ValidUntilReason, "timestamp") || endWarnings(r) != nil {
		t.Errorf("exit code %d, %+v, %q", r.code, v, r.artifact.Warnings)
	}
}

// A nightly run keeps signatures alive, and makes no other.
func TestSignatureThatEndsSoonIsRenewedOnce(t *testing.T) {
	w := newRunWorld(t)
	reference, image := w.image(t, "app", "v1")
	now := time.Now()
	w.signedBefore(t, image, signed.How{At: now.Add(-8 * time.Hour), Expiry: now.Add(2 * time.Hour)})
	nightly := map[string]string{
		"INPUT_TARGET_ARTIFACT_REFERENCE": reference, "INPUT_SKIP_SIGNED": "true", "INPUT_EXPIRY": "10h", "INPUT_RENEW_WITHIN": "1h", "INPUT_WARN_WITHIN": "1h",
	}
	if r := w.run(t, nightly); r.code != 0 || r.artifact.Signed != nil || r.artifact.AlreadySigned == "" {
		t.Fatalf("exit code %d, %+v: the signature lasts for two hours", r.code, r.artifact)
	}
	nightly["INPUT_RENEW_WITHIN"] = "3h"
	if r := w.run(t, nightly); r.code != 0 || r.artifact.Signed == nil || endWarnings(r) != nil {
		t.Fatalf("exit code %d, %+v: the signature was to be renewed", r.code, r.artifact)
	}
	if r := w.run(t, nightly); r.code != 0 || r.artifact.Signed != nil || r.artifact.AlreadySigned == "" {
		t.Errorf("exit code %d, %+v: the renewed signature was renewed", r.code, r.artifact)
	}
}

// Where the certificate is what ends, another signature is of no use.
func TestCertificateThatEndsSoonIsNotRenewedBySigning(t *testing.T) {
	w := newRunWorld(t)
	reference, _ := w.image(t, "app", "v1")
	for _, mode := range []string{"sign", "sign-and-verify"} {
		nightly := map[string]string{"INPUT_TARGET_ARTIFACT_REFERENCE": reference, "INPUT_MODE": mode, "INPUT_SKIP_SIGNED": "true", "INPUT_RENEW_WITHIN": "48h", "INPUT_WARN_WITHIN": ""}
		w.run(t, nightly)
		r := w.run(t, nightly)
		if warnings := endWarnings(r); r.code != 0 || r.artifact.AlreadySigned == "" || len(warnings) != 1 || !strings.Contains(warnings[0], "renew the certificate") {
			t.Errorf("%s: exit code %d, %+v", mode, r.code, r.artifact)
		}
	}
}
