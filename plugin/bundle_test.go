// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"slices"
	"strings"
	"testing"
	"time"

	contract "github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

// FuzzBundle holds that a bundle which is accepted has certificates and nothing
// else, none of them lost, and that whatever they are, a chain of them is one that
// notation takes, or the reason why not can be shown.
func FuzzBundle(f *testing.F) {
	for _, variant := range slices.Concat(testenv.Broken, testenv.Harmless) {
		bundle, err := variant.Bundle(testPKI(), testKeys[contract.KeySpecEC256]().Public())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(testenv.EncodePEM(bundle...))
	}
	root := testenv.EncodePEM(testPKI().Root)
	for _, block := range []*pem.Block{
		{Type: "CERTIFICATE", Bytes: testPKI().Root.Raw, Headers: map[string]string{"Proc-Type": "4,ENCRYPTED"}},
		{Type: "CERTIFICATE", Bytes: testPKI().Root.Raw[:100]},
		{Type: "EC PRIVATE KEY", Bytes: []byte{1}},
		{Type: "\x1b[2J", Bytes: []byte{1}},
	} {
		f.Add(slices.Concat(root, pem.EncodeToMemory(block)))
	}
	f.Add(slices.Concat([]byte("subject=CN = a\n"), root, root[:len(root)/2], root))
	f.Add(slices.Concat(root, []byte("BEGIN EC PRIVATE KEY-----\nAQ==\n-----END EC PRIVATE KEY-----\n")))
	f.Add(bytes.ReplaceAll(root, []byte("\n"), []byte("\r\n")))
	f.Fuzz(func(t *testing.T, data []byte) {
		certs, err := parseBundle(data)
		if err != nil {
			if certs != nil || len(err.Error()) > 1000 {
				t.Fatalf("%d certificates, error %v", len(certs), err)
			}
			return
		}
		if n := bytes.Count(data, []byte("-----BEGIN ")); n != len(certs) || n == 0 || n > maxBundleCertificates || bytes.Contains(data, []byte("PRIVATE KEY-----\n")) {
			t.Fatalf("%d certificates of %d blocks", len(certs), n)
		}
		again, err := parseBundle(testenv.EncodePEM(certs...))
		if err != nil || !slices.EqualFunc(certs, again, (*x509.Certificate).Equal) {
			t.Fatalf("%d certificates were written, %d are read, %v", len(certs), len(again), err)
		}
		chain, err := findChain(certs[0].PublicKey, certs, nil, time.Now())
		if err != nil {
			if len(err.Error()) > 8<<10 {
				t.Fatalf("%d bytes of error", len(err.Error()))
			}
			return
		}
		checkPath(t, chain, certs)
		if related := Related(certs[0].PublicKey, certs); len(related) < len(chain) || !slices.ContainsFunc(related, chain[0].Equal) {
			t.Fatalf("%d certificates are related, and %d are the chain", len(related), len(chain))
		}
	})
}

// checkPath checks a chain without the code that made it.
func checkPath(t *testing.T, chain, among []*x509.Certificate) {
	t.Helper()
	for i, cert := range chain {
		issuer := chain[min(i+1, len(chain)-1)]
		if err := cert.CheckSignatureFrom(issuer); err != nil && !strings.Contains(err.Error(), "parent certificate cannot sign") {
			t.Errorf("certificate %d is not issued by the next: %v", i, err)
		}
		if !slices.ContainsFunc(among, cert.Equal) || slices.ContainsFunc(chain[:i], cert.Equal) {
			t.Errorf("certificate %d was not given, or is there twice", i)
		}
	}
	if len(chain) == 0 || len(chain) > maxChain {
		t.Errorf("%d certificates", len(chain))
	}
}
