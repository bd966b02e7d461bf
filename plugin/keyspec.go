// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"strings"

	contract "github.com/notaryproject/notation-plugin-framework-go/plugin"
)

// keySpec is a type and size of key that notation signs with, and how.
type keySpec struct {
	name      contract.KeySpec
	bits      int            // of an RSA modulus
	curve     elliptic.Curve // of an EC key; nil for RSA
	hash      crypto.Hash
	hashName  contract.HashAlgorithm
	algorithm contract.SignatureAlgorithm
	x509      x509.SignatureAlgorithm // of certificates and requests that it signs
}

// keySpecs is the one table of them: signature specification, section
// "Algorithm Selection".
var keySpecs = []keySpec{
	{contract.KeySpecRSA2048, 2048, nil, crypto.SHA256, contract.HashAlgorithmSHA256, contract.SignatureAlgorithmRSASSA_PSS_SHA256, x509.SHA256WithRSAPSS},
	{contract.KeySpecRSA3072, 3072, nil, crypto.SHA384, contract.HashAlgorithmSHA384, contract.SignatureAlgorithmRSASSA_PSS_SHA384, x509.SHA384WithRSAPSS},
	{contract.KeySpecRSA4096, 4096, nil, crypto.SHA512, contract.HashAlgorithmSHA512, contract.SignatureAlgorithmRSASSA_PSS_SHA512, x509.SHA512WithRSAPSS},
	{contract.KeySpecEC256, 0, elliptic.P256(), crypto.SHA256, contract.HashAlgorithmSHA256, contract.SignatureAlgorithmECDSA_SHA256, x509.ECDSAWithSHA256},
	{contract.KeySpecEC384, 0, elliptic.P384(), crypto.SHA384, contract.HashAlgorithmSHA384, contract.SignatureAlgorithmECDSA_SHA384, x509.ECDSAWithSHA384},
	{contract.KeySpecEC521, 0, elliptic.P521(), crypto.SHA512, contract.HashAlgorithmSHA512, contract.SignatureAlgorithmECDSA_SHA512, x509.ECDSAWithSHA512},
}

// specOf returns the spec of a key.
func specOf(public crypto.PublicKey) (keySpec, error) {
	for _, spec := range keySpecs {
		if spec.describes(public) {
			return spec, nil
		}
	}
	return keySpec{}, contract.NewValidationErrorf("the key is %s, which notation can't sign with; it signs with %s", describe(public), keySpecNames())
}

// specNamed returns the spec that a request names.
func specNamed(name contract.KeySpec) (keySpec, error) {
	for _, spec := range keySpecs {
		if spec.name == name {
			return spec, nil
		}
	}
	return keySpec{}, contract.NewValidationErrorf("keySpec %s is unknown; notation signs with %s", quote(string(name)), keySpecNames())
}

func keySpecNames() string {
	names := make([]string, len(keySpecs))
	for i, spec := range keySpecs {
		names[i] = string(spec.name)
	}
	return strings.Join(names, ", ")
}

func (s keySpec) describes(public crypto.PublicKey) bool {
	switch key := public.(type) {
	case *rsa.PublicKey:
		return s.curve == nil && s.bits == rsaBits(key)
	case *ecdsa.PublicKey:
		return s.curve != nil && s.curve == key.Curve
	}
	return false
}

// rsaBits is the size as notation counts it, in whole bytes: a modulus of 2047
// bits, as some tokens make it, is RSA-2048.
func rsaBits(key *rsa.PublicKey) int { return key.Size() * 8 }

// describe names a key for an error.
func describe(public crypto.PublicKey) string {
	switch key := public.(type) {
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA-%d", rsaBits(key))
	case *ecdsa.PublicKey:
		return fmt.Sprintf("EC-%d", key.Curve.Params().BitSize)
	case ed25519.PublicKey:
		return "Ed25519"
	}
	return fmt.Sprintf("of the type %T", public)
}

// checkHash compares the hash that a request wants with the spec's only one.
func (s keySpec) checkHash(name contract.HashAlgorithm) error {
	if name != s.hashName {
		return contract.NewValidationErrorf("hashAlgorithm %s doesn't fit keySpec %s, which goes with %s", quote(string(name)), s.name, s.hashName)
	}
	return nil
}

// options are those of crypto.MessageSigner. The salt is as long as the hash:
// RFC 7518, section 3.5, and RFC 8230, section 2.
func (s keySpec) options() crypto.SignerOpts {
	if s.curve == nil {
		return &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: s.hash}
	}
	return s.hash
}

// SignerOpts returns the options with which notation has a key sign messages, such
// as those of a Key.SignMessage. The hash is the one that a request names; another
// than the key's is an error, of the framework's type.
func SignerOpts(public crypto.PublicKey, hash contract.HashAlgorithm) (crypto.SignerOpts, error) {
	spec, err := specOf(public)
	if err == nil {
		err = spec.checkHash(hash)
	}
	if err != nil {
		return nil, err
	}
	return spec.options(), nil
}

// HashOf names the hash with which notation has a key sign.
func HashOf(public crypto.PublicKey) (contract.HashAlgorithm, error) {
	spec, err := specOf(public)
	return spec.hashName, err
}
