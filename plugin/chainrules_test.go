// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"crypto/elliptic"
	"crypto/x509"
	"strings"
	"testing"
	"time"

	contract "github.com/notaryproject/notation-plugin-framework-go/plugin"
)

// RSA keys of 1024 bits are made by the PKI of testenv; this is what else its
// variants don't have.
func TestRulesOfAuthorities(t *testing.T) {
	root, issuing, key := newEntity(t, "root"), newEntity(t, "issuing"), newEntity(t, "signer")
	short := entity{t, "root", newEC(elliptic.P224())()}
	for _, test := range []struct {
		name          string
		root, issuing *x509.Certificate
		phrases       []string
	}{
		{
			"not a CA", root.certify(root), issuing.certify(root, func(c *x509.Certificate) { c.IsCA = false }),
			[]string{`"CN=issuing"`, "invalid signature: parent certificate cannot sign"},
		},
		{
			"no key usage", root.certify(root), issuing.certify(root, func(c *x509.Certificate) { c.KeyUsage = 0 }),
			[]string{`"CN=issuing"`, "key usage extension must be present"},
		},
		{
			"may not sign certificates", root.certify(root), issuing.certify(root, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCRLSign }),
			[]string{`"CN=issuing"`, "parent certificate cannot sign"},
		},
		{
			"root signed with SHA-1", root.certify(root, func(c *x509.Certificate) { c.SignatureAlgorithm = x509.ECDSAWithSHA1 }), issuing.certify(root),
			[]string{`certificate "CN=root"`, "ECDSA-SHA1"},
		},
		{
			"root expired", root.certify(root, validFor(time.Minute)), issuing.certify(root),
			[]string{`"CN=root"`, "it expired on", "Renew"},
		},
		{
			"root with a short key", short.certify(short), issuing.certify(short),
			[]string{`certificate "CN=root"`, "224 bits"},
		},
		{
			"issuer of the right name and the wrong key", newEntity(t, "root").certify(newEntity(t, "root")), issuing.certify(root),
			[]string{`certificate "CN=issuing"`, `"CN=root"`, "missing", "didn't sign it"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			certs := []*x509.Certificate{key.certify(issuing, asLeaf), test.issuing, test.root}
			_, err := findChain(key.public(), nil, certs, time.Now())
			checkError(t, err, contract.ErrorCodeValidation, test.phrases...)
		})
	}
}

// The standard library neither makes such certificates nor verifies them. The
// rule must be blamed all the same, and not a missing issuer.
func TestSignaturesThatCannotBeVerifiedAreBlamedOnTheirAlgorithm(t *testing.T) {
	root, key := newEntity(t, "root"), newEntity(t, "signer")
	for algorithm, phrase := range map[x509.SignatureAlgorithm]string{
		x509.MD5WithRSA:                "MD5-RSA",
		x509.UnknownSignatureAlgorithm: "an algorithm that can't be checked",
	} {
		leaf := key.certify(root, asLeaf)
		leaf.SignatureAlgorithm = algorithm
		_, err := findChain(key.public(), nil, []*x509.Certificate{leaf, root.certify(root)}, time.Now())
		checkError(t, err, contract.ErrorCodeValidation, `certificate "CN=signer"`, "it is signed with", phrase)
	}
}

func TestRulesOfLeaves(t *testing.T) {
	root, key := newEntity(t, "root"), newEntity(t, "signer")
	eku := func(usages ...x509.ExtKeyUsage) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.ExtKeyUsage = usages }
	}
	usage := func(usage x509.KeyUsage) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.KeyUsage = usage }
	}
	const signing = x509.KeyUsageDigitalSignature
	for phrase, change := range map[string]func(*x509.Certificate){
		"ClientAuth":                          eku(x509.ExtKeyUsageCodeSigning, x509.ExtKeyUsageClientAuth),
		"EmailProtection":                     eku(x509.ExtKeyUsageEmailProtection),
		"Timestamping":                        eku(x509.ExtKeyUsageTimeStamping),
		"OCSPSigning":                         eku(x509.ExtKeyUsageOCSPSigning),
		"key usage extension must be present": usage(0),
		`"KeyEncipherment", "CertSign"`:       usage(signing | x509.KeyUsageCertSign | x509.KeyUsageKeyEncipherment),
		"DataEncipherment":                    usage(signing | x509.KeyUsageDataEncipherment),
		`"KeyAgreement", "EncipherOnly"`:      usage(signing | x509.KeyUsageKeyAgreement | x509.KeyUsageEncipherOnly),
		"CRLSign":                             usage(signing | x509.KeyUsageCRLSign),
		"DecipherOnly":                        usage(signing | x509.KeyUsageDecipherOnly),
	} {
		t.Run(phrase, func(t *testing.T) {
			certs := []*x509.Certificate{key.certify(root, asLeaf, change), root.certify(root)}
			_, err := findChain(key.public(), nil, certs, time.Now())
			checkError(t, err, contract.ErrorCodeValidation, `certificate with subject "CN=signer"`, phrase)
		})
	}
}

// Names come from certificates that anybody can make.
func TestNamesAreEscapedAndBounded(t *testing.T) {
	key := newEntity(t, "signer\n::set-output name=x::\x1b[31m\u202e"+strings.Repeat("x", 10000))
	_, err := findChain(key.public(), []*x509.Certificate{key.certify(key)}, nil, time.Now())
	checkError(t, err, contract.ErrorCodeValidation, `\n::set-output`, `\x1b[31m`, `\u202e`, "…")
	if text := Translate(err, Settings{}).(*contract.Error).Message; strings.ContainsAny(text, "\n\x1b\u202e") || len(text) > 1000 {
		t.Errorf("got %q", err)
	}
}

func TestNoCertificateOfTheKey(t *testing.T) {
	key, other := newEntity(t, "signer"), newEntity(t, "other")
	_, err := findChain(key.public(), nil, nil, time.Now())
	checkError(t, err, contract.ErrorCodeValidation, "there is no certificate for this key", "none is on the token", "cert_chain", "import-cert")

	onToken := []*x509.Certificate{other.certify(other), other.certify(other, named("leaf"), asLeaf)}
	_, err = findChain(key.public(), onToken, []*x509.Certificate{other.certify(other)}, time.Now())
	checkError(t, err, contract.ErrorCodeValidation, `of the 3 seen (2 on the token, 1 in cert_chain)`, `"CN=leaf", "CN=other"`, "import-cert")
}

func TestCertificatesOfOtherKeysAreListedInPart(t *testing.T) {
	key, other := newEntity(t, "signer"), newEntity(t, "other")
	var seen []*x509.Certificate
	for range 7 {
		seen = append(seen, other.certify(other))
	}
	_, err := findChain(key.public(), seen, nil, time.Now())
	checkError(t, err, contract.ErrorCodeValidation, "of the 7 seen", "and 3 more")
}
