// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/notaryproject/notation-go/dir"
	"github.com/notaryproject/notation-go/verifier/trustpolicy"
	"github.com/notaryproject/notation-go/verifier/truststore"

	"github.com/notation-pkcs11/notation-pkcs11/internal/trustedfile"
)

// certificateStores are trust stores in memory, by the names that a policy
// calls them, such as "ca:acme". It implements truststore.X509TrustStore.
type certificateStores map[string]certificateStore

// certificateStore is one of them.
type certificateStore struct {
	certs []*x509.Certificate
	err   error // why there are none
}

// GetCertificates implements truststore.X509TrustStore.
func (s certificateStores) GetCertificates(_ context.Context, kind truststore.Type, name string) ([]*x509.Certificate, error) {
	store, known := s[storeName(kind, name)]
	if !known { // the policy's stores are all loaded
		return nil, truststore.TrustStoreError{Msg: fmt.Sprintf("trust store %q is not loaded", storeName(kind, name))}
	}
	return store.certs, store.err
}

// add fills a store, and returns what a policy calls it.
func (s certificateStores) add(kind truststore.Type, name string, certs []*x509.Certificate) string {
	full := storeName(kind, name)
	s[full] = certificateStore{certs: certs}
	return full
}

// names returns the names of the stores, in order.
func (s certificateStores) names() []string { return slices.Sorted(maps.Keys(s)) }

// of returns the stores of a type among those that a statement names, in its
// order.
func (s certificateStores) of(kind truststore.Type, statement *trustpolicy.TrustPolicy) []string {
	var names []string
	for _, name := range statement.TrustStores {
		if strings.HasPrefix(name, storeName(kind, "")) && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

func storeName(kind truststore.Type, name string) string { return string(kind) + ":" + name }

// loadStores reads the stores that a policy names, by notation's own rules. One
// that can't be read is kept as such: it fails the signatures that need it, and
// no other, as with notation.
func loadStores(folder dir.SysFS, policy *trustpolicy.Document) certificateStores {
	reader := truststore.NewX509TrustStore(folder)
	stores := certificateStores{}
	for _, statement := range policy.TrustPolicies {
		for _, full := range statement.TrustStores {
			if _, done := stores[full]; done {
				continue
			}
			kind, name, _ := strings.Cut(full, ":") // the policy is valid
			certs, err := reader.GetCertificates(context.Background(), truststore.Type(kind), name)
			if errors.Is(err, fs.ErrNotExist) {
				path, _ := folder.SysPath(dir.X509TrustStoreDir(kind, name)) // never fails
				err = fmt.Errorf("%w; its certificates belong in %s", err, path)
			}
			stores[full] = certificateStore{certs, withReason(err)}
		}
	}
	return stores
}

// withReason returns an error of a trust store with its cause, which notation-go leaves
// out of the text.
func withReason(err error) error {
	var certificate truststore.CertificateError
	var store truststore.TrustStoreError
	switch {
	case errors.As(err, &certificate) && certificate.Msg != "" && certificate.InnerError != nil:
		return fmt.Errorf("%w: %w", err, certificate.InnerError)
	case errors.As(err, &store) && store.Msg != "" && store.InnerError != nil:
		return fmt.Errorf("%w: %w", err, store.InnerError)
	}
	return err
}

// storeFolder returns the directory to find a policy's stores in. That a store
// is not there is for later; that trust_store is no trust store at all is said
// now.
func storeFolder(o TrustOptions, policy *trustpolicy.Document) (dir.SysFS, error) {
	named := slices.ContainsFunc(policy.TrustPolicies, func(s trustpolicy.TrustPolicy) bool { return len(s.TrustStores) > 0 })
	if o.Store == "" {
		if named && o.NotationDir == "" {
			return nil, fmt.Errorf("trust_store is not set: %w", ErrNoNotationDir)
		}
		return dir.NewSysFS(o.NotationDir), nil
	}
	info, err := os.Stat(filepath.Join(o.Store, "x509"))
	if named && (err != nil || !info.IsDir()) {
		return nil, fmt.Errorf("trust_store %s: there is no directory x509 in it; its certificates are files such as %s",
			o.Store, filepath.Join(o.Store, "x509", "ca", "STORE", "root.pem"))
	}
	return storeDirectory{dir.NewSysFS(o.Store), o.Store}, nil
}

// storeDirectory is a trust store's directory of any name, where notation's own
// is always called truststore.
type storeDirectory struct {
	fs.FS
	path string
}

// SysPath implements dir.SysFS.
func (d storeDirectory) SysPath(items ...string) (string, error) {
	path := filepath.Join(items...)
	return filepath.Join(d.path, strings.TrimPrefix(path, dir.TrustStoreDir)), nil
}

// Bounds of the certificates in inputs.
const (
	maxCertificateFile = 1 << 20
	maxCertificates    = 1000
)

// ReadCertificates returns the certificates of an input, which is PEM itself or
// the paths of files with PEM or DER, one a line. They must be what a trust
// store of that type may hold.
func ReadCertificates(input, value string, kind truststore.Type) ([]*x509.Certificate, error) {
	contents := map[string][]byte{input: []byte(value)}
	if !IsPEM(value) {
		contents = map[string][]byte{}
		for line := range strings.Lines(value) {
			path := strings.TrimSpace(line)
			if path == "" {
				continue
			}
			content, err := trustedfile.ReadNamed(path, trustedfile.Public, maxCertificateFile)
			if err != nil {
				return nil, fmt.Errorf("%s is neither PEM nor paths of files: %w", input, err)
			}
			contents[input+" "+path] = content
		}
	}
	var all []*x509.Certificate
	for _, source := range slices.Sorted(maps.Keys(contents)) {
		certs, err := parseCertificates(contents[source])
		if err == nil {
			err = checkAnchors(certs, kind)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", source, err)
		}
		all = append(all, certs...)
	}
	switch {
	case len(all) == 0:
		return nil, fmt.Errorf("%s has no certificate", input)
	case len(all) > maxCertificates:
		return nil, fmt.Errorf("%s has %d certificates, more than %d", input, len(all), maxCertificates)
	}
	return all, nil
}

// parseCertificates parses PEM or DER.
func parseCertificates(content []byte) ([]*x509.Certificate, error) {
	block, rest := pem.Decode(content)
	if block == nil {
		certs, err := x509.ParseCertificates(content)
		if err != nil || len(certs) == 0 {
			return nil, errors.New("it is neither a PEM nor a DER certificate")
		}
		return certs, nil
	}
	var certs []*x509.Certificate
	for ; block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("it contains a PEM block of the type %s; use a file with certificates alone", block.Type)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %w", len(certs)+1, err)
		}
		certs = append(certs, cert)
	}
	// pem.Decode passes over what it can't read.
	if blocks := bytes.Count(content, []byte("-----BEGIN ")); blocks != len(certs) {
		return nil, fmt.Errorf("it has %d blocks of PEM, of which %d can be read", blocks, len(certs))
	}
	return certs, nil
}

// checkAnchors refuses certificates that no trust store of that type may hold:
// notation wants authorities or self-signed certificates, and self-signed
// authorities for timestamps.
func checkAnchors(certs []*x509.Certificate, kind truststore.Type) error {
	if err := truststore.ValidateCertificates(certs); err != nil {
		return fmt.Errorf("%w; use the certificate of the CA that issued it", err)
	}
	if kind != truststore.TypeTSA {
		return nil
	}
	for _, cert := range certs {
		if !bytes.Equal(cert.RawSubject, cert.RawIssuer) || cert.CheckSignatureFrom(cert) != nil {
			return fmt.Errorf("certificate %q is not a root certificate; use the self-signed root of the TSA", cert.Subject)
		}
	}
	return nil
}

// IsPEM says whether a value that can be a path or PEM is PEM.
func IsPEM(value string) bool { return strings.Contains(value, "-----BEGIN ") }
