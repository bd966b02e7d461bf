// SPDX-License-Identifier: Apache-2.0

package action

import (
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"maps"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/pki"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/softplugin"
)

// reissued is the same authority, by another certificate of its key.
func reissued(t *testing.T, c *pki.Certificate) *pki.Certificate {
	t.Helper()
	template := *c.Cert
	template.SerialNumber = big.NewInt(4711)
	der, err := x509.CreateCertificate(rand.Reader, &template, c.Issuer.Cert, c.Key.Public(), c.Issuer.Key)
	if err != nil {
		t.Fatal(err)
	}
	again := *c
	if again.Cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return &again
}

// A signature stands for a new one if it is as good as that would be.
func TestSkipSigned(t *testing.T) {
	authority := pki.NewTimestampAuthority(t, "tsa", time.Now())
	url, _ := tsa(t, authority, 0)
	stamped := map[string]string{"INPUT_TIMESTAMP_URL": url, "INPUT_TIMESTAMP_ROOT_CERT": string(testenv.EncodePEM(authority.Signer.Issuer.Cert))}
	w := newRunWorld(t)
	issuing := pki.New(t, "issuing", w.root, pki.AsAuthority)
	w.signer = pki.New(t, "release", issuing, pki.AsSigner)
	ours := softplugin.New(w.signer)
	other := *w.signer
	other.Issuer = reissued(t, issuing)
	for i, c := range []struct {
		name        string
		before, now map[string]string
		by          *softplugin.Plugin
		skipped     bool
	}{
		{"the same", nil, nil, ours, true},
		{"the same, with all", with(stamped, map[string]string{"INPUT_EXPIRY": "24h"}), with(stamped, map[string]string{"INPUT_EXPIRY": "24h"}), ours, true},
		{"a timestamp that is not wanted", stamped, nil, ours, true},
		{"another certificate of the authority", nil, nil, softplugin.New(&other), false},
		{"no timestamp", nil, stamped, ours, false},
		{"a shorter life", map[string]string{"INPUT_EXPIRY": "1h"}, map[string]string{"INPUT_EXPIRY": "24h"}, ours, false},
		{"an end", map[string]string{"INPUT_EXPIRY": "1h"}, nil, ours, false},
		{"no end", nil, map[string]string{"INPUT_EXPIRY": "1h"}, ours, false},
		{"another format", map[string]string{"INPUT_SIGNATURE_FORMAT": "jws"}, nil, ours, false},
		{"other metadata", map[string]string{"INPUT_USER_METADATA": "a=b"}, nil, ours, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			reference, _ := w.image(t, fmt.Sprintf("app%d", i), "v1")
			inputs := map[string]string{"INPUT_MODE": "sign", "INPUT_TARGET_ARTIFACT_REFERENCE": reference}
			w.plugin = c.by
			if r := w.run(t, with(inputs, c.before)); r.code != 0 {
				t.Fatalf("exit code %d", r.code)
			}
			w.plugin = ours
			inputs["INPUT_SKIP_SIGNED"] = "true"
			r := w.run(t, with(inputs, c.now))
			if r.code != 0 || (r.artifact.AlreadySigned != "") != c.skipped || (r.artifact.Signed == nil) != c.skipped {
				t.Errorf("exit code %d, signed before %q", r.code, r.artifact.AlreadySigned)
			}
			// And the new one is as good as itself.
			if again := w.run(t, with(inputs, c.now)); again.artifact.AlreadySigned == "" {
				t.Errorf("signed a third time")
			}
		})
	}
}

func with(m, more map[string]string) map[string]string {
	all := map[string]string{}
	maps.Copy(all, m)
	maps.Copy(all, more)
	return all
}

// Other people's signatures before it do not hide a signature of this key, neither
// from skip_signed nor from the verification that follows signing.
func TestSignaturesBeyondMaxSignatures(t *testing.T) {
	w := newRunWorld(t)
	reference, _ := w.image(t, "app", "v1")
	inputs := map[string]string{"INPUT_MODE": "sign", "INPUT_TARGET_ARTIFACT_REFERENCE": reference}
	ours, others := w.plugin, softplugin.New(pki.New(t, "other", pki.New(t, "other root", nil, pki.AsAuthority), pki.AsSigner))
	w.plugin = others
	for range 3 {
		if r := w.run(t, inputs); r.code != 0 {
			t.Fatalf("exit code %d", r.code)
		}
	}
	w.plugin = ours
	inputs["INPUT_MODE"], inputs["INPUT_MAX_SIGNATURES"] = "sign-and-verify", "2"
	r := w.run(t, inputs)
	if r.code != 0 || len(r.artifact.Verification.Signatures) != 3 || !r.artifact.Verification.More {
		t.Fatalf("exit code %d, %+v", r.code, r.artifact.Verification)
	}
	if warnings := strings.Join(r.artifact.Warnings, "\n"); !strings.Contains(warnings, "max_signatures") {
		t.Errorf("warnings %q", warnings)
	}
	inputs["INPUT_MODE"], inputs["INPUT_SKIP_SIGNED"] = "sign", "true"
	if r := w.run(t, inputs); r.artifact.AlreadySigned == "" {
		t.Errorf("signed again: %v", r.artifact.Warnings)
	}
	inputs["INPUT_USER_METADATA"] = "is=new" // which no signature has
	if r := w.run(t, inputs); r.artifact.Signed == nil || !strings.Contains(strings.Join(r.artifact.Warnings, "\n"), "2 more signatures were not looked at") {
		t.Errorf("warnings %q", r.artifact.Warnings)
	}
}
