// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"crypto"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	contract "github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/wording"
)

// ruleOf is what errors say of a broken bundle: mostly what notation says.
func ruleOf(variant testenv.Variant) string {
	if variant.Name == "expired" {
		return "it expired on"
	}
	return variant.Rule
}

func TestBrokenChainsAreRefusedByCertificateAndRule(t *testing.T) {
	public := testKeys[contract.KeySpecEC256]().Public()
	for _, variant := range testenv.Broken {
		t.Run(variant.Name, func(t *testing.T) {
			bundle, err := variant.Bundle(testPKI(), public)
			if err != nil {
				t.Fatal(err)
			}
			_, err = findChain(public, nil, bundle, time.Now())
			checkError(t, err, contract.ErrorCodeValidation, `"CN=`+variant.Subject, ruleOf(variant))
			if flaws := wording.Pair(Explain(err, Settings{})); len(flaws) > 0 {
				t.Errorf("%v: %s", err, strings.Join(flaws, "; "))
			}
		})
	}
}

func TestHarmlessBundlesGiveTheChainInOrder(t *testing.T) {
	public := testKeys[contract.KeySpecEC256]().Public()
	for _, variant := range testenv.Harmless {
		t.Run(variant.Name, func(t *testing.T) {
			bundle, err := variant.Bundle(testPKI(), public)
			if err != nil {
				t.Fatal(err)
			}
			chain, err := findChain(public, nil, bundle, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			checkNames(t, chain, testenv.LeafName, testenv.IntermediateName, testenv.RootName)
		})
	}
}

func checkNames(t *testing.T, chain []*x509.Certificate, want ...string) {
	t.Helper()
	if got := names(chain); !slices.Equal(got, want) {
		t.Errorf("got the chain %q, want %q", got, want)
	}
}

func names(chain []*x509.Certificate) []string {
	var names []string
	for _, cert := range chain {
		names = append(names, cert.Subject.CommonName)
	}
	return names
}

// entity is a key, and certificates for it.
type entity struct {
	t    *testing.T
	name string
	key  crypto.Signer
}

func newEntity(t *testing.T, name string) entity {
	return entity{t, name, newEC(elliptic.P256())()}
}

// certify has an issuer certify the entity: as an authority, unless the changes
// say otherwise. Its validity begins an hour ago.
func (e entity) certify(issuer entity, changes ...func(*x509.Certificate)) *x509.Certificate {
	e.t.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		e.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: e.name},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(24 * time.Hour),
		BasicConstraintsValid: true,
		IsCA:                  true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	for _, change := range changes {
		change(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, &x509.Certificate{Subject: pkix.Name{CommonName: issuer.name}}, e.key.Public(), issuer.key)
	if err != nil {
		e.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		e.t.Fatal(err)
	}
	return cert
}

func (e entity) public() crypto.PublicKey { return e.key.Public() }

func asLeaf(c *x509.Certificate) {
	c.IsCA, c.KeyUsage = false, x509.KeyUsageDigitalSignature
}

func validFor(d time.Duration) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.NotAfter = c.NotBefore.Add(d) }
}

func validFrom(ago time.Duration) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.NotBefore = time.Now().Add(-ago) }
}

func named(name string) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.Subject.CommonName = name }
}

func TestLeafIsChosenAmongSeveralOfTheKey(t *testing.T) {
	root, key := newEntity(t, "root"), newEntity(t, "signer")
	rootCert := root.certify(root)
	stranger := newEntity(t, "stranger")
	good := func(name string, changes ...func(*x509.Certificate)) *x509.Certificate {
		return key.certify(root, append([]func(*x509.Certificate){asLeaf, named(name)}, changes...)...)
	}
	for _, test := range []struct {
		name   string
		others []*x509.Certificate
	}{
		{"an expired one", []*x509.Certificate{good("expired", validFor(time.Minute))}},
		{"one that ends earlier", []*x509.Certificate{good("old", validFor(2*time.Hour))}},
		{"one without an issuer, that ends later", []*x509.Certificate{key.certify(stranger, asLeaf, named("orphan"), validFor(48*time.Hour))}},
		{"one that breaks a rule and ends later", []*x509.Certificate{good("CA", validFor(48*time.Hour), func(c *x509.Certificate) { c.IsCA = true })}},
		{"a self-signed one that ends later", []*x509.Certificate{entity{t, "placeholder", key.key}.certify(entity{t, "placeholder", key.key}, asLeaf, validFor(1000*time.Hour))}},
	} {
		t.Run(test.name, func(t *testing.T) {
			certs := append(slices.Clone(test.others), rootCert, good("wanted"))
			for range 2 { // in any order
				slices.Reverse(certs)
				chain, err := findChain(key.public(), certs, nil, time.Now())
				if err != nil {
					t.Fatal(err)
				}
				checkNames(t, chain, "wanted", "root")
			}
		})
	}
}

// A YubiKey's certificate of attestation has the slot's key, too, and no issuer here.
func TestCertificateThatIsNotForSigningIsNotBlamedWhereAnotherIs(t *testing.T) {
	key, vendor, authority := newEntity(t, "signer"), newEntity(t, "vendor"), newEntity(t, "authority")
	certs := []*x509.Certificate{
		key.certify(vendor, asLeaf, named("attestation"), validFor(9000*time.Hour), func(c *x509.Certificate) { c.KeyUsage = 0 }),
		key.certify(authority, asLeaf, named("issued")),
	}
	for range 2 {
		slices.Reverse(certs)
		_, err := findChain(key.public(), certs, nil, time.Now())
		checkError(t, err, contract.ErrorCodeValidation, `certificate "CN=issued"`, `its issuer "CN=authority" is missing`)
	}
}

func TestLeafWithTheSameEndIsTheOneThatBeganLast(t *testing.T) {
	root, key := newEntity(t, "root"), newEntity(t, "signer")
	end := func(c *x509.Certificate) { c.NotAfter = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC) }
	certs := []*x509.Certificate{
		root.certify(root),
		key.certify(root, asLeaf, named("newer"), validFrom(time.Minute), end),
		key.certify(root, asLeaf, named("older"), validFrom(time.Hour), end),
	}
	for range 2 {
		slices.Reverse(certs)
		chain, err := findChain(key.public(), certs, nil, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		checkNames(t, chain, "newer", "root")
	}
}

func TestSelfSignedCertificateIsAChain(t *testing.T) {
	key := newEntity(t, "alone")
	chain, err := findChain(key.public(), []*x509.Certificate{key.certify(key, asLeaf)}, nil, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	checkNames(t, chain, "alone")
}

// With such a key a verification takes hours, and so would this test.
func TestSignatureOfAKeyOfAnySizeIsNotVerified(t *testing.T) {
	const bytes = 4 << 20
	n := new(big.Int).Lsh(big.NewInt(1), 8*bytes)
	issuer := &x509.Certificate{PublicKey: &rsa.PublicKey{N: n.Sub(n, big.NewInt(1)), E: 1<<31 - 1}}
	signature := make([]byte, bytes)
	signature[1] = 1
	if isSignedBy(&x509.Certificate{SignatureAlgorithm: x509.SHA256WithRSA, Signature: signature}, issuer) {
		t.Error("it counts as good")
	}
}

func TestRenewedAndCrossSignedAuthorities(t *testing.T) {
	oldRoot, newRoot := newEntity(t, "old root"), newEntity(t, "new root")
	issuing, key := newEntity(t, "issuing"), newEntity(t, "signer")
	impostor := newEntity(t, "issuing")
	leaf := key.certify(issuing, asLeaf)
	for _, test := range []struct {
		name  string
		certs []*x509.Certificate
		want  []string
	}{
		{
			"renewed intermediate, the old one expired",
			[]*x509.Certificate{leaf, issuing.certify(newRoot, validFor(time.Minute)), issuing.certify(newRoot), newRoot.certify(newRoot)},
			[]string{"signer", "issuing", "new root"},
		},
		{
			"intermediate of the same name with another key",
			[]*x509.Certificate{leaf, impostor.certify(newRoot, validFor(100*time.Hour)), issuing.certify(newRoot), newRoot.certify(newRoot)},
			[]string{"signer", "issuing", "new root"},
		},
		{
			"new root cross-signed by the old one: the short way",
			[]*x509.Certificate{leaf, issuing.certify(newRoot), newRoot.certify(oldRoot, validFor(100*time.Hour)), oldRoot.certify(oldRoot), newRoot.certify(newRoot)},
			[]string{"signer", "issuing", "new root"},
		},
		{
			"new root expired, cross-signed by the old one: the long way",
			[]*x509.Certificate{leaf, issuing.certify(newRoot), newRoot.certify(newRoot, validFor(time.Minute)), newRoot.certify(oldRoot), oldRoot.certify(oldRoot)},
			[]string{"signer", "issuing", "new root", "old root"},
		},
		{
			"two authorities that signed each other",
			[]*x509.Certificate{leaf, issuing.certify(newRoot, validFor(2*time.Hour)), newRoot.certify(issuing, validFor(100*time.Hour)), newRoot.certify(oldRoot), oldRoot.certify(oldRoot)},
			[]string{"signer", "issuing", "new root", "old root"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			for range 2 {
				slices.Reverse(test.certs)
				chain, err := findChain(key.public(), nil, test.certs, time.Now())
				if err != nil {
					t.Fatal(err)
				}
				checkNames(t, chain, test.want...)
			}
		})
	}
}

func TestLoopWithoutRootEnds(t *testing.T) {
	a, b, key := newEntity(t, "a"), newEntity(t, "b"), newEntity(t, "signer")
	certs := []*x509.Certificate{key.certify(a, asLeaf), a.certify(b), b.certify(a)}
	_, err := findChain(key.public(), nil, certs, time.Now())
	checkError(t, err, contract.ErrorCodeValidation, `certificate "CN=b"`, `its issuer "CN=a" leads back`, "self-signed root")
}

// Every authority has signed every other: more ways upwards than can be walked.
func TestTangledBundleEndsSoon(t *testing.T) {
	var all []entity
	for i := range 8 {
		all = append(all, newEntity(t, fmt.Sprint("authority ", i)))
	}
	key := newEntity(t, "signer")
	certs := []*x509.Certificate{key.certify(all[0], asLeaf)}
	for i, a := range all {
		for j, b := range all {
			if i != j {
				certs = append(certs, a.certify(b))
			}
		}
	}
	start := time.Now()
	_, err := findChain(key.public(), nil, certs, time.Now())
	checkError(t, err, contract.ErrorCodeValidation, "leads back")
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
}

func TestChainWithoutEndIsRefused(t *testing.T) {
	root, key := newEntity(t, "root"), newEntity(t, "signer")
	certs := []*x509.Certificate{root.certify(root)}
	issuer := root
	for i := range maxChain {
		next := newEntity(t, fmt.Sprint("authority ", i))
		certs = append(certs, next.certify(issuer))
		issuer = next
	}
	certs = append(certs, key.certify(issuer, asLeaf))
	_, err := findChain(key.public(), nil, certs, time.Now())
	checkError(t, err, contract.ErrorCodeValidation, fmt.Sprintf("no root after %d certificates", maxChain))
}

// A chain out of order shows that notation's own validation is asked.
func TestNotationsValidationIsTheJudge(t *testing.T) {
	root, other, key := newEntity(t, "root"), newEntity(t, "other"), newEntity(t, "signer")
	err := checkChain([]*x509.Certificate{key.certify(root, asLeaf), other.certify(other)}, time.Now())
	if err == nil || !strings.Contains(err.Error(), "not one that notation accepts") {
		t.Errorf("got %v", err)
	}
}

func TestErrorSaysThatOtherCertificatesAreNoBetter(t *testing.T) {
	root, key := newEntity(t, "root"), newEntity(t, "signer")
	certs := []*x509.Certificate{
		root.certify(root),
		key.certify(root, asLeaf, named("newest"), validFor(30*time.Minute)),
		key.certify(root, asLeaf, named("oldest"), validFor(10*time.Minute)),
	}
	_, err := findChain(key.public(), nil, certs, time.Now())
	checkError(t, err, contract.ErrorCodeValidation, `certificate "CN=newest"`, "of 2 certificates for this key, none is better")
}

func TestLeafWithoutNameIsNamedByItsNumber(t *testing.T) {
	key := newEntity(t, "")
	cert := key.certify(key, func(c *x509.Certificate) { c.SerialNumber = big.NewInt(0xabc) })
	_, err := findChain(key.public(), []*x509.Certificate{cert}, nil, time.Now())
	checkError(t, err, contract.ErrorCodeValidation, `certificate "serial number abc"`)
}
