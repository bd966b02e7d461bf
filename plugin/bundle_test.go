// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/binary"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	contract "github.com/notaryproject/notation-plugin-framework-go/plugin"
	"github.com/smallstep/pkcs7"

	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

// forms writes certificates in each form in which authorities send them and
// programs leave them.
func forms(tb testing.TB, certs ...*x509.Certificate) map[string][]byte {
	tb.Helper()
	text := testenv.EncodePEM(certs...)
	utf16 := func(order binary.AppendByteOrder, mark string) []byte {
		var out []byte
		for _, r := range mark + string(text) {
			out = order.AppendUint16(out, uint16(r))
		}
		return out
	}
	var raw []byte
	for _, cert := range certs {
		raw = append(raw, cert.Raw...)
	}
	p7, err := pkcs7.DegenerateCertificate(raw)
	if err != nil {
		tb.Fatal(err)
	}
	block := func(kind string) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: p7}) }
	return map[string][]byte{
		"PEM":                       text,
		"text between":              bytes.ReplaceAll(text, []byte("-----BEGIN"), []byte("subject=CN = a\n-----BEGIN")),
		"CR and LF":                 bytes.ReplaceAll(text, []byte("\n"), []byte("\r\n")),
		"CR alone":                  bytes.ReplaceAll(text, []byte("\n"), []byte("\r")),
		"glued":                     bytes.ReplaceAll(text, []byte("-----\n-----"), []byte("----------")),
		"on one line":               bytes.ReplaceAll(text, []byte("\n"), nil),
		"indented":                  bytes.ReplaceAll(append([]byte("\n"), text...), []byte("\n"), []byte(" \t\n    ")),
		"byte order mark":           append([]byte("\ufeff"), text...),
		"UTF-16":                    utf16(binary.LittleEndian, "\ufeff"),
		"UTF-16, big endian":        utf16(binary.BigEndian, "\ufeff"),
		"UTF-16 without a mark":     utf16(binary.LittleEndian, ""),
		"X509 CERTIFICATE":          bytes.ReplaceAll(text, []byte(" CERTIFICATE"), []byte(" X509 CERTIFICATE")),
		"DER, one behind the other": raw,
		"DER, padded":               append(slices.Clone(raw), 0, '\n'),
		"PKCS#7":                    p7,
		"PKCS#7 in PEM":             block("PKCS7"),
		"PKCS#7 as CMS":             block("CMS"),
		"PKCS#7 as a certificate":   block("CERTIFICATE"), // Microsoft's certificate services
		"PKCS#7 in BER":             indefinite(p7),
		"PKCS#7 in BER and in PEM":  pem.EncodeToMemory(&pem.Block{Type: "PKCS7", Bytes: indefinite(p7)}),
		"a mark before CR and LF's": append([]byte("\ufeff"), bytes.ReplaceAll(text, []byte("\n"), []byte("\r\n"))...),
	}
}

// indefinite writes the outermost sequence with its length left open.
func indefinite(der []byte) []byte {
	var outer asn1.RawValue
	if _, err := asn1.Unmarshal(der, &outer); err != nil {
		panic(err) // of what was just made
	}
	return slices.Concat([]byte{0x30, 0x80}, outer.Bytes, []byte{0, 0})
}

func TestBundleIsReadInWhateverFormItIsSent(t *testing.T) {
	chain := newChain(t, testKeys[contract.KeySpecEC256]().Public())
	for name, data := range forms(t, chain...) {
		got, err := parseBundle(data)
		if err != nil || !slices.EqualFunc(got, chain, (*x509.Certificate).Equal) {
			t.Errorf("%s: %d certificates, %v", name, len(got), err)
		}
	}
	if got, err := parseBundle(chain[1].Raw); err != nil || len(got) != 1 || !got[0].Equal(chain[1]) {
		t.Errorf("one certificate in DER: %d certificates, %v", len(got), err)
	}
}

// brainpoolCertificate is self-signed with a key on a curve that Go lacks:
// openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:brainpoolP256r1 -subj /CN=Brainpool
func brainpoolCertificate(t *testing.T) *x509.Certificate {
	t.Helper()
	out, err := exec.Command("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:brainpoolP256r1",
		"-nodes", "-keyout", os.DevNull, "-subj", "/CN=Brainpool", "-days", "99", "-outform", "DER").Output()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := pkcs11.ParseCertificate(out)
	if err == nil {
		t.Fatal("Go knows brainpool curves now")
	}
	return cert
}

func TestCertificateThatIsNotNeededNeedNotBeParsed(t *testing.T) {
	public := testKeys[contract.KeySpecEC256]().Public()
	chain := newChain(t, public)
	for name, data := range forms(t, append(slices.Clone(chain), brainpoolCertificate(t))...) {
		certs, err := parseBundle(data)
		if strings.Contains(name, "BER") { // all or none, and a command that helps
			if err == nil || !strings.Contains(err.Error(), "openssl pkcs7 -inform der -in FILE -print_certs") {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if found, err := findChain(public, nil, certs, time.Now()); err != nil || len(certs) != len(chain)+1 || !slices.EqualFunc(found, chain, (*x509.Certificate).Equal) {
			t.Errorf("%s: of %d certificates the chain %v, %v", name, len(certs), found, err)
		}
	}
}

func TestErrorOfABundleHasTheCommandForThisFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "it's a key store")
	if err := os.WriteFile(path, append([]byte{0x30, 0x81, 0x80, 2, 1, 3}, make([]byte, 125)...), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := ReadBundle(path)
	if want := `openssl pkcs12 -in '` + strings.ReplaceAll(path, "'", `'\''`) + `' -nokeys`; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}

// The command is one that works: with the lines that Windows ends in CR LF, too.
func TestCommandForBase64MakesAFileThatIsRead(t *testing.T) {
	chain := newChain(t, testKeys[contract.KeySpecEC256]().Public())
	text := base64.StdEncoding.EncodeToString(chain[0].Raw)
	for name, end := range map[string]string{"LF": "\n", "CR LF": "\r\n"} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "leaf.txt")
			if err := os.WriteFile(path, []byte(text[:64]+end+text[64:]+end), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := ReadBundle(path)
			if err == nil {
				t.Fatal("it was read")
			}
			_, command, _ := strings.Cut(err.Error(), "run: ")
			if out, err := exec.Command("sh", "-c", command).CombinedOutput(); err != nil {
				t.Fatalf("%s: %v: %s", command, err, out)
			}
			if got, err := ReadBundle(path + ".der"); err != nil || len(got) != 1 || !got[0].Equal(chain[0]) {
				t.Errorf("%d certificates, %v", len(got), err)
			}
		})
	}
}

// Another user must not be able to replace the chain.
func TestBundleThatEveryUserCanChangeIsRefused(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "chain.pem")
	if err := os.WriteFile(path, testenv.EncodePEM(testPKI().Root), 0o644); err != nil {
		t.Fatal(err)
	}
	for changed, mode := range map[string]os.FileMode{path: 0o646, dir: 0o777} {
		if _, err := ReadBundle(path); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(changed)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(changed, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadBundle(path); err == nil || !strings.Contains(err.Error(), "chmod o-w '"+changed+"'") {
			t.Errorf("%s with mode %o: error %v", changed, mode, err)
		}
		if err := os.Chmod(changed, info.Mode()); err != nil {
			t.Fatal(err)
		}
	}
}

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
	for _, form := range forms(f, testPKI().Root) {
		f.Add(form)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		certs, err := parseBundle(data)
		if err != nil {
			if certs != nil || len(err.Error()) > 1000 {
				t.Fatalf("%d certificates, error %v", len(certs), err)
			}
			return
		}
		if n := bytes.Count(data, []byte("-----BEGIN ")); n > len(certs) || len(certs) == 0 || len(certs) > maxBundleCertificates || bytes.Contains(data, []byte("PRIVATE KEY-----\n")) {
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
