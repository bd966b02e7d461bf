// SPDX-License-Identifier: Apache-2.0

// Package pki has an in-memory public key infrastructure for tests: certificates
// with their keys, a server of OCSP and CRLs, and a timestamping authority. Start
// with [New].
package pki

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/notaryproject/tspclient-go"
	"golang.org/x/crypto/ocsp"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

// Certificate is a certificate with its key and what is above it.
type Certificate struct {
	Cert   *x509.Certificate
	Key    *ecdsa.PrivateKey
	Issuer *Certificate // nil: itself
}

// New issues a certificate. Names are as trusted identities want
// them: with country, state and organization.
func New(tb testing.TB, commonName string, issuer *Certificate, change func(*x509.Certificate)) *Certificate {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 100))
	if err != nil {
		tb.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{Country: []string{"DE"}, Province: []string{"Berlin"}, Organization: []string{"acme"}, CommonName: commonName},
		NotBefore:             time.Now().Add(-24 * time.Hour),
		NotAfter:              time.Now().Add(24 * time.Hour),
		BasicConstraintsValid: true,
	}
	change(template)
	above, aboveKey := template, key
	if issuer != nil {
		above, aboveKey = issuer.Cert, issuer.Key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, above, key.Public(), aboveKey)
	if err != nil {
		tb.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	return &Certificate{cert, key, issuer}
}

// Chain returns the certificate and all above it.
func (c *Certificate) Chain() []*x509.Certificate {
	var chain []*x509.Certificate
	for ; c != nil; c = c.Issuer {
		chain = append(chain, c.Cert)
	}
	return chain
}

// PemOf is the PEM of certificates.
func PemOf(certs ...*Certificate) string {
	var b strings.Builder
	for _, c := range certs {
		b.Write(testenv.EncodePEM(c.Cert))
	}
	return b.String()
}

// AsAuthority makes a certification authority, valid for 1000 hours either way.
func AsAuthority(t *x509.Certificate) {
	t.IsCA, t.KeyUsage = true, x509.KeyUsageCertSign|x509.KeyUsageCRLSign
	t.NotBefore, t.NotAfter = time.Now().Add(-1000*time.Hour), time.Now().Add(1000*time.Hour)
}

// AsSigner makes a code-signing certificate.
func AsSigner(t *x509.Certificate) {
	t.KeyUsage, t.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}
}

// AsExpired is a signer whose certificate was valid from 20 to 10 hours ago.
func AsExpired(t *x509.Certificate) {
	AsSigner(t)
	t.NotBefore, t.NotAfter = time.Now().Add(-20*time.Hour), time.Now().Add(-10*time.Hour)
}

// WithOCSP names an OCSP responder in what another function makes.
func WithOCSP(server string, change func(*x509.Certificate)) func(*x509.Certificate) {
	return func(t *x509.Certificate) { change(t); t.OCSPServer = []string{server} }
}

// WithCRL names the place of a CRL in what another function makes.
func WithCRL(server string, change func(*x509.Certificate)) func(*x509.Certificate) {
	return func(t *x509.Certificate) { change(t); t.CRLDistributionPoints = []string{server} }
}

// StatusServer answers OCSP requests and serves CRLs, at /ocsp and /crl/
// and a common name, for authorities that are added to it.
type StatusServer struct {
	*httptest.Server

	mu       sync.Mutex
	issuers  []*Certificate
	revoked  map[string]bool // by serial number
	requests int
}

// NewStatusServer starts a server that ends with the test.
func NewStatusServer(tb testing.TB) *StatusServer {
	s := &StatusServer{revoked: map[string]bool{}}
	s.Server = httptest.NewServer(s)
	tb.Cleanup(s.Close)
	return s
}

// Add makes the server answer for authorities. It must not be called beside a request.
func (s *StatusServer) Add(issuers ...*Certificate) {
	s.issuers = append(s.issuers, issuers...)
}

// Revoke revokes a certificate. It must not be called beside a request.
func (s *StatusServer) Revoke(c *Certificate) {
	s.revoked[c.Cert.SerialNumber.String()] = true
}

// Count returns how many requests there have been.
func (s *StatusServer) Count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests
}

// ServeHTTP implements http.Handler.
func (s *StatusServer) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	s.mu.Lock()
	s.requests++
	s.mu.Unlock()
	var answer []byte
	var err error
	if name, isCRL := strings.CutPrefix(req.URL.Path, "/crl/"); isCRL {
		answer, err = s.list(name)
	} else {
		answer, err = s.status(req)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Write(answer)
}

// list signs the CRL of an authority.
func (s *StatusServer) list(commonName string) ([]byte, error) {
	list := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Now().Add(-time.Hour), NextUpdate: time.Now().Add(time.Hour)}
	for serial := range s.revoked {
		n, _ := new(big.Int).SetString(serial, 10)
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries,
			x509.RevocationListEntry{SerialNumber: n, RevocationTime: time.Now().Add(-time.Hour)})
	}
	for _, issuer := range s.issuers {
		if issuer.Cert.Subject.CommonName == commonName {
			return x509.CreateRevocationList(rand.Reader, list, issuer.Cert, issuer.Key)
		}
	}
	return nil, http.ErrNoLocation
}

// status answers an OCSP request.
func (s *StatusServer) status(req *http.Request) ([]byte, error) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	if req.Method == http.MethodGet {
		encoded, err := url.QueryUnescape(strings.TrimPrefix(req.URL.EscapedPath(), "/ocsp/"))
		if err != nil {
			return nil, err
		}
		if encoded, err = url.QueryUnescape(encoded); err != nil { // notation escapes twice
			return nil, err
		}
		if body, err = base64.StdEncoding.DecodeString(strings.ReplaceAll(encoded, " ", "+")); err != nil {
			return nil, err
		}
	}
	question, err := ocsp.ParseRequest(body)
	if err != nil {
		return nil, err
	}
	for _, issuer := range s.issuers {
		if !bytes.Equal(question.IssuerKeyHash, keyHash(issuer.Cert)) {
			continue
		}
		answer := ocsp.Response{
			SerialNumber: question.SerialNumber, Status: ocsp.Good,
			ThisUpdate: time.Now().Add(-time.Hour), NextUpdate: time.Now().Add(time.Hour),
		}
		if s.revoked[question.SerialNumber.String()] {
			answer.Status, answer.RevokedAt = ocsp.Revoked, time.Now().Add(-time.Hour)
		}
		return ocsp.CreateResponse(issuer.Cert, issuer.Cert, answer, issuer.Key)
	}
	return nil, http.ErrNoLocation
}

// keyHash is the hash that OCSP knows an issuer by.
func keyHash(cert *x509.Certificate) []byte {
	var info struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       asn1.BitString
	}
	if _, err := asn1.Unmarshal(cert.RawSubjectPublicKeyInfo, &info); err != nil {
		panic(err) // the certificate was parsed
	}
	sum := sha1.Sum(info.Key.RightAlign())
	return sum[:]
}

// TimestampAuthority countersigns in process, with the time that it is told.
// It implements tspclient.Timestamper.
type TimestampAuthority struct {
	Signer *Certificate
	Time   time.Time
}

// NewTimestampAuthority makes an authority below a root of its own. Its
// certificates were valid 500 hours ago and are now.
func NewTimestampAuthority(tb testing.TB, commonName string, at time.Time) TimestampAuthority {
	root := New(tb, commonName+" root", nil, AsAuthority)
	return TimestampAuthority{New(tb, commonName, root, AsTimestampAuthority), at}
}

// Renamed returns an authority below the same root.
func (a TimestampAuthority) Renamed(tb testing.TB, commonName string, change func(*x509.Certificate)) TimestampAuthority {
	return TimestampAuthority{New(tb, commonName, a.Signer.Issuer, change), a.Time}
}

// AsTimestampAuthority makes the certificate of a timestamping authority.
func AsTimestampAuthority(t *x509.Certificate) {
	AsAuthority(t)
	t.IsCA, t.KeyUsage = false, x509.KeyUsageDigitalSignature
	t.ExtraExtensions = []pkix.Extension{timestampingUsage} // critical, which RFC 3161 wants
}

// Object identifiers of RFC 3161, RFC 5035 and RFC 5652.
var (
	oidSignedData       = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}
	oidContentType      = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 3}
	oidMessageDigest    = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 4}
	oidTSTInfo          = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 1, 4}
	oidSigningCertV2    = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 2, 47}
	oidSHA256           = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}
	oidECDSAWithSHA256  = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}
	oidExtendedKeyUsage = asn1.ObjectIdentifier{2, 5, 29, 37}
	oidTimestamping     = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 8}

	timestampingUsage = pkix.Extension{Id: oidExtendedKeyUsage, Critical: true, Value: mustMarshal([]asn1.ObjectIdentifier{oidTimestamping})}
)

// Timestamp implements tspclient.Timestamper.
func (a TimestampAuthority) Timestamp(_ context.Context, req *tspclient.Request) (*tspclient.Response, error) {
	info := mustMarshal(tspclient.TSTInfo{
		Version: 1, Policy: asn1.ObjectIdentifier{1, 2, 3}, MessageImprint: req.MessageImprint,
		SerialNumber: big.NewInt(1), GenTime: a.Time.UTC().Truncate(time.Second), Nonce: req.Nonce,
		Accuracy: tspclient.Accuracy{Seconds: 1},
	})
	token, err := a.sign(info)
	if err != nil {
		return nil, err
	}
	return &tspclient.Response{TimestampToken: asn1.RawValue{FullBytes: token}}, nil
}

// cmsAttribute is an attribute of RFC 5652, section 5.3.
type cmsAttribute struct {
	Type   asn1.ObjectIdentifier
	Values []asn1.RawValue `asn1:"set"`
}

// sign wraps the content into SignedData of RFC 5652, section 5.
func (a TimestampAuthority) sign(content []byte) ([]byte, error) {
	type issuerAndSerial struct {
		Issuer asn1.RawValue
		Serial *big.Int
	}
	type signerInfo struct {
		Version   int
		Signer    issuerAndSerial
		Digest    pkix.AlgorithmIdentifier
		Signed    []cmsAttribute `asn1:"set,tag:0"`
		Algorithm pkix.AlgorithmIdentifier
		Signature []byte
	}
	type encapsulated struct {
		Type    asn1.ObjectIdentifier
		Content []byte `asn1:"explicit,tag:0"`
	}
	type signedData struct {
		Version      int
		Digests      []pkix.AlgorithmIdentifier `asn1:"set"`
		Content      encapsulated
		Certificates asn1.RawValue
		Signers      []signerInfo `asn1:"set"`
	}
	type certificateID struct{ Hash []byte }
	type signingCertificate struct{ Certificates []certificateID }

	digest, certificate := sha256.Sum256(content), sha256.Sum256(a.Signer.Cert.Raw)
	attributes := []cmsAttribute{
		{oidContentType, []asn1.RawValue{raw(oidTSTInfo)}},
		{oidMessageDigest, []asn1.RawValue{raw(digest[:])}},
		{oidSigningCertV2, []asn1.RawValue{raw(signingCertificate{[]certificateID{{certificate[:]}}})}},
	}
	encoded, err := asn1.MarshalWithParams(attributes, "set")
	if err != nil {
		return nil, err
	}
	toSign := sha256.Sum256(encoded)
	signature, err := a.Signer.Key.Sign(rand.Reader, toSign[:], crypto.SHA256)
	if err != nil {
		return nil, err
	}
	var certs []byte
	for _, cert := range a.Signer.Chain() {
		certs = append(certs, cert.Raw...)
	}
	data := mustMarshal(signedData{
		Version:      3,
		Digests:      []pkix.AlgorithmIdentifier{{Algorithm: oidSHA256}},
		Content:      encapsulated{oidTSTInfo, content},
		Certificates: asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: certs},
		Signers: []signerInfo{{
			Version:   1,
			Signer:    issuerAndSerial{asn1.RawValue{FullBytes: a.Signer.Cert.RawIssuer}, a.Signer.Cert.SerialNumber},
			Digest:    pkix.AlgorithmIdentifier{Algorithm: oidSHA256},
			Signed:    attributes,
			Algorithm: pkix.AlgorithmIdentifier{Algorithm: oidECDSAWithSHA256},
			Signature: signature,
		}},
	})
	return asn1.Marshal(struct {
		Type    asn1.ObjectIdentifier
		Content asn1.RawValue
	}{oidSignedData, asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: data}})
}

func raw(value any) asn1.RawValue { return asn1.RawValue{FullBytes: mustMarshal(value)} }

// mustMarshal is for values that can't fail.
func mustMarshal(value any) []byte {
	der, err := asn1.Marshal(value)
	if err != nil {
		panic(err)
	}
	return der
}
