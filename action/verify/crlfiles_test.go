// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/notaryproject/notation-go/verifier/trustpolicy"

	"github.com/notation-pkcs11/notation-pkcs11/action/envelope"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/pki"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/signed"
)

// listFile writes the CRL of an authority, in DER.
func listFile(t *testing.T, issuer *pki.Certificate, next time.Time, revoked ...*pki.Certificate) string {
	t.Helper()
	list := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Now().Add(-2 * time.Hour), NextUpdate: next}
	for _, c := range revoked {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries,
			x509.RevocationListEntry{SerialNumber: c.Cert.SerialNumber, RevocationTime: time.Now().Add(-time.Hour)})
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, issuer.Cert, issuer.Key)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "ca.crl")
	if err := os.WriteFile(path, der, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// With the CRL in a file, revocation is checked where no server can be reached. The
// signature verifies until the CRL is due.
func TestRevocationIsCheckedOffline(t *testing.T) {
	const nobody = "http://127.0.0.1:1/list"
	w := newVerifyWorld(t)
	signer := pki.New(t, "offline", w.Intermediate, pki.WithCRL(nobody, pki.AsSigner))
	revoked := pki.New(t, "revoked", w.Intermediate, pki.WithCRL(nobody, pki.AsSigner))
	w.Sign(signer, w.Image("app"), signed.How{})
	w.Sign(revoked, w.Image("revoked"), signed.How{})
	next := time.Now().Add(2 * time.Hour).Truncate(time.Second)
	lists, warnings, err := ReadLists([]string{listFile(t, w.Intermediate, next, revoked)})
	if err != nil || warnings != nil {
		t.Fatal(warnings, err)
	}
	if _, err := w.verify("app", Options{}, nil); err == nil || !strings.Contains(err.Error(), "revocation") {
		t.Fatalf("without the file: %v", err)
	}
	v, err := w.verify("app", Options{Lists: lists}, nil)
	if err != nil {
		t.Fatal(err)
	}
	const due = "a CRL of crl_files is due for its next update"
	checkValidity(t, v.Signatures[0].Validity, next, due)
	if _, err := w.verify("revoked", Options{Lists: lists}, nil); err == nil || !strings.Contains(err.Error(), "revoked") {
		t.Errorf("the revoked one: %v", err)
	}
	v, err = w.verify("app", Options{Lists: lists}, func(s *trustpolicy.TrustPolicy) {
		s.SignatureVerification.Override = map[trustpolicy.ValidationType]trustpolicy.ValidationAction{trustpolicy.TypeRevocation: trustpolicy.ActionLog}
	})
	if err != nil {
		t.Fatal(err)
	}
	checkValidity(t, v.Signatures[0].Validity, signer.Cert.NotAfter, `the certificate of "CN=offline,O=acme,ST=Berlin,C=DE" expires`)

	strict, err := NewStrict(nil, http.DefaultTransport, lists)
	if err != nil {
		t.Fatal(err)
	}
	target := w.target("app")
	blob, mediaType := w.Envelope(signer, target.Desc, signed.How{})
	content, err := envelope.Open(mediaType, blob)
	if err != nil {
		t.Fatal(err)
	}
	checkValidity(t, strict.Validity(t.Context(), target, &content.SignerInfo, blob, mediaType), next, due)
}

func TestCRLFiles(t *testing.T) {
	root := pki.New(t, "root", nil, pki.AsAuthority)
	good := listFile(t, root, time.Now().Add(time.Hour))
	der, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	inPEM := filepath.Join(t.TempDir(), "ca.pem")
	armored := pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der})
	if err := os.WriteFile(inPEM, armored, 0o600); err != nil {
		t.Fatal(err)
	}
	if lists, warnings, err := ReadLists([]string{good, inPEM}); len(lists) != 2 || warnings != nil || err != nil {
		t.Errorf("%d lists, %q, %v", len(lists), warnings, err)
	}
	old := listFile(t, root, time.Now().Add(-time.Hour))
	if _, warnings, err := ReadLists([]string{old}); len(warnings) != 1 || !strings.Contains(warnings[0], "not used") || err != nil {
		t.Errorf("%q, %v", warnings, err)
	}
	for _, path := range []string{filepath.Join(t.TempDir(), "absent"), t.TempDir(), writeFile(t, root.Cert.Raw), writeFile(t, nil), writeFile(t, append(der, der...)), writeFile(t, append(armored, armored...))} {
		if _, _, err := ReadLists([]string{good, path}); err == nil || !strings.Contains(err.Error(), "crl_files") || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func writeFile(t *testing.T, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
