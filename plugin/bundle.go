// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"unicode/utf16"

	"github.com/smallstep/pkcs7"

	"github.com/notation-pkcs11/notation-pkcs11/internal/lazyregexp"
	"github.com/notation-pkcs11/notation-pkcs11/internal/trustedfile"
	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
)

// A certificate has some two kilobytes: these bounds are far from any chain.
const (
	maxBundle             = 1 << 20 // bytes
	maxBundleCertificates = 100
)

// ReadBundle reads a file of certificates in any order, in the forms in which
// authorities send them: PEM, with anything between the blocks, PKCS#7 (.p7b), in
// PEM or DER, or certificates in DER. A certificate that can't be parsed is
// among them as pkcs11.ParseCertificate returns it, since it may not be needed.
// The errors name the file, and a command that turns it into one that is read,
// where there is one.
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
		if text := strings.ReplaceAll(err.Error(), "FILE", shellWord(path)); text != err.Error() { // a command
			err = errors.New(text)
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
	if len(data) > 1 && data[0] == 0x30 && data[1] >= 0x80 { // a long SEQUENCE, and no text
		return parseBinary(data)
	}
	text, err := plainText(data)
	if err != nil {
		return nil, err
	}
	return parsePEM(text)
}

// plainText returns a text in UTF-8 with line feeds, as the decoder of PEM wants
// it: without a byte order mark, and out of UTF-16, which PowerShell writes.
func plainText(data []byte) ([]byte, error) {
	var order binary.ByteOrder
	switch {
	case len(data) < 2:
	case data[0] == 0xff && data[1] == 0xfe, data[0] != 0 && data[1] == 0: // with the mark, or a Latin letter
		order = binary.LittleEndian
	case data[0] == 0xfe && data[1] == 0xff, data[0] == 0 && data[1] != 0:
		order = binary.BigEndian
	}
	text := string(data)
	if order != nil {
		if len(data)%2 != 0 {
			return nil, errors.New("it is a text in UTF-16 that ends within a character; write it again, in UTF-8")
		}
		units := make([]uint16, len(data)/2)
		for i := range units {
			units[i] = order.Uint16(data[2*i:])
		}
		text = string(utf16.Decode(units))
	}
	text = strings.TrimPrefix(text, "\ufeff")
	return []byte(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(text)), nil
}

// pemEdge is where a line of a PEM block begins or ends. The decoder takes these
// only for whole lines; in files that were put together they are glued to each
// other, and in copied ones indented.
var pemEdge = lazyregexp.New(`[ \t]*(-----(?:BEGIN|END) [^\n-]*-----)[ \t]*`)

var indentation = lazyregexp.New(`(?m)^[ \t]+|[ \t]+$`)

func parsePEM(text []byte) ([]*x509.Certificate, error) {
	text = indentation().ReplaceAll(pemEdge().ReplaceAll(text, []byte("\n$1\n")), nil)
	if bytes.Contains(text, []byte("PRIVATE KEY-----")) { // be its block whole or not
		return nil, errors.New("it holds a private key, which doesn't belong beside certificates; take it out, and consider whether others could have read it")
	}
	// The decoder passes over a damaged block without a word; a chain that then
	// lacks a certificate would be blamed on the wrong thing.
	blocks := bytes.Count(text, []byte("-----BEGIN "))
	var certs []*x509.Certificate
	read := 0
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		read++
		if !slices.Contains([]string{"CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE", "PKCS7", "PKCS #7 SIGNED DATA", "CMS"}, block.Type) {
			return nil, fmt.Errorf("it holds a PEM block of the type %s; certificates and PKCS#7 are expected", quote(block.Type))
		}
		found, err := parseDER(block.Bytes) // some authorities write PKCS#7 as CERTIFICATE
		if err != nil {
			return nil, fmt.Errorf("its certificate number %d is damaged: %w", read, err)
		}
		if certs = append(certs, found...); len(certs) > maxBundleCertificates {
			return nil, errTooManyCertificates
		}
	}
	switch {
	case read < blocks:
		return nil, errors.New("one of its PEM blocks is damaged: look for a line that is missing or was changed, from -----BEGIN to -----END")
	case len(certs) == 0:
		return nil, noCertificate(text)
	}
	return certs, nil
}

// noCertificate says what a text without PEM may be.
func noCertificate(text []byte) error {
	der, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(string(text)), ""))
	if _, wrong := parseDER(der); err == nil && wrong == nil {
		return errors.New("it is base64 without the lines -----BEGIN and -----END; run: base64 -di FILE > FILE.der")
	}
	return errors.New("it holds no certificate in PEM, and is neither DER nor PKCS#7")
}

var errTooManyCertificates = fmt.Errorf("it holds more than %d certificates; use a file with those of this key alone", maxBundleCertificates)

// parseBinary reads what files in DER hold: one value, mostly, or several that were
// put one behind the other. Padding after the last is passed over.
func parseBinary(data []byte) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate
	for {
		found, err := parseDER(data)
		if err != nil {
			if len(certs) > 0 {
				err = fmt.Errorf("its certificate number %d is damaged: %w", len(certs)+1, err)
			}
			return nil, err
		}
		if certs = append(certs, found...); len(certs) > maxBundleCertificates {
			return nil, errTooManyCertificates
		}
		var first asn1.RawValue
		rest, err := asn1.Unmarshal(data, &first)
		if err != nil || len(rest) == 0 || rest[0] != 0x30 { // PKCS#7 in BER is no value here, and all of the file
			return certs, nil
		}
		data = rest
	}
}

// parseDER reads one certificate, or the certificates of a PKCS#7.
func parseDER(der []byte) ([]*x509.Certificate, error) {
	var outer, first asn1.RawValue
	if _, err := asn1.Unmarshal(der, &outer); err == nil {
		asn1.Unmarshal(outer.Bytes, &first) // nothing, if there is nothing in it
	}
	if first.Class == asn1.ClassUniversal {
		switch first.Tag {
		case asn1.TagOID:
			return parsePKCS7(der)
		case asn1.TagInteger: // a version
			if slices.Equal(first.Bytes, []byte{3}) {
				return nil, errors.New("it is a PKCS#12 file, which may hold a private key; run: openssl pkcs12 -in FILE -nokeys -out FILE.pem")
			}
			return nil, errors.New("it is a private key or a key store, not a certificate")
		}
	}
	if isIndefinite(der) {
		return parsePKCS7(der)
	}
	certificate, err := pkcs11.ParseCertificate(der)
	if err != nil && len(certificate.RawSubject) == 0 { // not even in part
		return nil, fmt.Errorf("it is no certificate: %w", err)
	}
	return []*x509.Certificate{certificate}, nil
}

// isIndefinite reports whether a value is in BER, with its length left open: a
// certificate never is.
func isIndefinite(ber []byte) bool { return len(ber) > 1 && ber[1] == 0x80 }

// maxBER bounds PKCS#7 in BER: what its decoder does grows with the square.
const maxBER = 256 << 10

// parsePKCS7 reads the certificates of a SignedData (RFC 2315, section 9.1). In DER
// each stands for itself. BER, as Bouncy Castle writes it, is the library's matter,
// which takes them all or none.
func parsePKCS7(der []byte) ([]*x509.Certificate, error) {
	if isIndefinite(der) {
		if len(der) > maxBER {
			return nil, fmt.Errorf("it is PKCS#7 in BER of more than %d bytes", maxBER)
		}
		parsed, err := pkcs7.Parse(der)
		if err != nil {
			return nil, fmt.Errorf("it is PKCS#7 in BER that can't be read (%w); run: openssl pkcs7 -inform der -in FILE -print_certs -out FILE.pem", err)
		}
		for i, certificate := range parsed.Certificates {
			parsed.Certificates[i], _ = pkcs11.ParseCertificate(certificate.Raw)
		}
		return bounded(parsed.Certificates)
	}
	var content struct {
		Type asn1.ObjectIdentifier
		Data struct {
			Version      int
			Digests      asn1.RawValue
			Content      asn1.RawValue
			Certificates asn1.RawValue `asn1:"optional,tag:0"`
		} `asn1:"explicit,optional,tag:0"`
	}
	signedData := asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}
	if _, err := asn1.Unmarshal(der, &content); err != nil || !content.Type.Equal(signedData) {
		return nil, errors.New("it is a PKCS#7 or another container without certificates; one with certificates is SignedData, as openssl crl2pkcs7 makes it")
	}
	var certs []*x509.Certificate
	for rest := content.Data.Certificates.Bytes; len(rest) > 0; {
		var one asn1.RawValue
		var err error
		if rest, err = asn1.Unmarshal(rest, &one); err != nil {
			return nil, fmt.Errorf("its certificate number %d is damaged: %w", len(certs)+1, err)
		}
		if len(certs) > maxBundleCertificates {
			return nil, errTooManyCertificates
		}
		certificate, _ := pkcs11.ParseCertificate(one.FullBytes)
		certs = append(certs, certificate)
	}
	return bounded(certs)
}

func bounded(certs []*x509.Certificate) ([]*x509.Certificate, error) {
	switch {
	case len(certs) == 0:
		return nil, errors.New("it is a PKCS#7 without certificates")
	case len(certs) > maxBundleCertificates:
		return nil, errTooManyCertificates
	}
	return certs, nil
}
