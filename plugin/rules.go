// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"slices"
	"time"

	corex509 "github.com/notaryproject/notation-core-go/x509"

	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
)

const issueAgain = "Have the certificate issued again"

// checkChain checks a chain, complete and in order from the leaf to the root,
// by the signature specification's section "Certificate Requirements". The
// judge is notation's own validation. Before it come the rules that it lacks,
// or that it doesn't say in one sentence.
func checkChain(chain []*x509.Certificate, now time.Time) error {
	for i, cert := range chain {
		for _, broken := range []func(*x509.Certificate) string{unusable, weakSignature, shortKey} {
			if why := broken(cert); why != "" {
				return advise(issueAgain, "certificate %s: %s", nameOf(cert), why)
			}
		}
		if err := checkValidity(cert, now); err != nil {
			return err
		}
		if i == 0 && slices.Contains(cert.ExtKeyUsage, x509.ExtKeyUsageAny) {
			return advise(issueAgain+" with codeSigning alone", "certificate %s: its extended key usage must not have anyExtendedKeyUsage", nameOf(cert))
		}
	}
	if err := corex509.ValidateCodeSigningCertChain(chain, &now); err != nil {
		return advise(issueAgain, "the chain of certificate %s is not one that notation accepts: %s", nameOf(chain[0]), cut(err.Error(), 500))
	}
	return nil
}

// checkValidity says in fewer words than notation when a certificate is valid.
func checkValidity(cert *x509.Certificate, now time.Time) error {
	switch {
	case now.After(cert.NotAfter):
		return advise("Renew the certificate", "certificate %s: it expired on %s", nameOf(cert), day(cert.NotAfter))
	case now.Before(cert.NotBefore):
		return advise("Check this machine's clock, or wait until the certificate is valid", "certificate %s: it is not valid before %s", nameOf(cert), day(cert.NotBefore))
	}
	return nil
}

// unusable finds certificates that Go, and so notation, can't parse or whose key
// it can't use.
func unusable(cert *x509.Certificate) string {
	if err := pkcs11.CheckParsed(cert); err != nil {
		return "notation can't parse it (" + cut(err.Error(), 200) + ")"
	}
	if cert.PublicKeyAlgorithm != x509.UnknownPublicKeyAlgorithm {
		return ""
	}
	if cert.PublicKey != nil { // of pkcs11.ParseCertificate
		return "its public key is of the type id-RSASSA-PSS, which notation can't use; RSA keys need the type rsaEncryption in it"
	}
	return "its public key is of a type that notation can't use; RSA keys (rsaEncryption) and EC keys can be used"
}

// weakSignature finds signatures that Go doesn't check. Notation's validation
// takes such a certificate for one of another issuer.
func weakSignature(cert *x509.Certificate) string {
	switch cert.SignatureAlgorithm {
	case x509.SHA1WithRSA, x509.ECDSAWithSHA1, x509.DSAWithSHA1, x509.MD5WithRSA, x509.MD2WithRSA:
		return "it is signed with " + cert.SignatureAlgorithm.String() + ", which is too weak; SHA-256 is the least"
	case x509.UnknownSignatureAlgorithm:
		return "it is signed with an algorithm that can't be checked; RSA and ECDSA can"
	}
	return ""
}

// shortKey finds short keys in the whole chain. The specification and notation
// ask for the leaf's length, but whoever breaks a key above it issues leaves.
func shortKey(cert *x509.Certificate) string {
	switch key := cert.PublicKey.(type) {
	case *rsa.PublicKey:
		if bits := rsaBits(key); bits < 2048 {
			return fmt.Sprintf("its RSA key has %d bits, fewer than 2048", bits)
		}
	case *ecdsa.PublicKey:
		if bits := key.Curve.Params().BitSize; bits < 256 {
			return fmt.Sprintf("its EC key has %d bits, fewer than 256", bits)
		}
	}
	return ""
}
