// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"

	"github.com/notation-pkcs11/notation-pkcs11/internal/trustedfile"
)

// A certificate has some two kilobytes: these bounds are far from any chain.
const (
	maxBundle             = 1 << 20 // bytes
	maxBundleCertificates = 100
)

// ReadBundle reads a PEM file of certificates in any order. What stands between
// the blocks is ignored, as openssl and others write it. The errors name the
// file.
func ReadBundle(path string) ([]*x509.Certificate, error) {
	data, err := readBounded(path)
	var certs []*x509.Certificate
	if err == nil {
		certs, err = parseBundle(data)
	}
	if err != nil {
		var failed *fs.PathError // whose text repeats the name
		if errors.As(err, &failed) {
			err = failed.Err
		}
		return nil, fmt.Errorf("the file %s can't be used: %w", quote(path), err)
	}
	return certs, nil
}

// readBounded reads a file that not every user can change.
func readBounded(path string) ([]byte, error) {
	data, err := trustedfile.Read(path, trustedfile.Public, maxBundle)
	var refused *trustedfile.Error
	if errors.As(err, &refused) {
		return nil, fmt.Errorf("it %w", err)
	}
	return data, err
}

func parseBundle(data []byte) ([]*x509.Certificate, error) {
	const mark = "-----BEGIN "
	// The decoder passes over a damaged block without a word; a chain that then
	// lacks a certificate would be blamed on the wrong thing.
	damaged := bytes.Count(data, []byte(mark))
	if bytes.Contains(data, []byte("PRIVATE KEY-----")) { // be its block whole or not
		return nil, errors.New("it holds a private key, which doesn't belong beside certificates; take it out, and consider whether others could have read it")
	}
	var certs []*x509.Certificate
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		damaged--
		switch {
		case block.Type != "CERTIFICATE":
			return nil, fmt.Errorf("it holds a PEM block of the type %s; only CERTIFICATE is expected", quote(block.Type))
		case len(certs) == maxBundleCertificates:
			return nil, fmt.Errorf("it holds more than %d certificates; it should hold those of this key alone", maxBundleCertificates)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("its certificate number %d is damaged: %w", len(certs)+1, err)
		}
		certs = append(certs, cert)
	}
	switch {
	case damaged > 0:
		return nil, errors.New("one of its PEM blocks is damaged")
	case len(certs) == 0:
		return nil, errors.New("it holds no certificate in PEM; from DER, type: openssl x509 -inform der -in FILE -out FILE.pem")
	}
	return certs, nil
}
