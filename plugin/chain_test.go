// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
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

	corex509 "github.com/notaryproject/notation-core-go/x509"
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

// FuzzChain makes certificates of four names and keys that issue each other in
// any way, also forged and expired ones; half of them are cert_chain's. A chain is
// found if and only if some order of them, without a name and key twice, is one
// that notation takes and begins with a certificate of cert_chain, if that has any
// of the key's.
func FuzzChain(f *testing.F) {
	var entities []fuzzedEntity
	for i := range 4 {
		entities = append(entities, fuzzedEntity{fmt.Sprintf("entity %d", i), newEC(elliptic.P256())()})
	}
	made := map[[3]byte]*x509.Certificate{} // by the three bytes that say what to make
	for _, seed := range []string{
		"\x00\x01\x01\x01\x01\x00",                                 // a leaf, its root
		"\x01\x01\x00\x00\x02\x01\x02\x01\x00",                     // the root first, an intermediate
		"\x00\x00\x01",                                             // self-signed
		"\x00\x01\x01\x01\x02\x00\x02\x01\x00\x01\x01\x00",         // two that signed each other, one has a root
		"\x00\x01\x01\x01\x01\x02\x01\x01\x00",                     // an expired root, renewed
		"\x00\x01\x05\x00\x01\x01\x01\x01\x00\x03\x03\x00",         // a forged leaf
		"\x00\x01\x01\x01\x02\x00\x02\x03\x00\x03\x03\x00",         // four
		"\x00\x01\x01\x01\x02\x00\x02\x03\x00\x03\x01\x00",         // a circle
		"\x00\x01\x03\x00\x01\x01\x01\x01\x00\x00\x02\x01\x02\x02", // an expired leaf
	} {
		f.Add([]byte(seed))
	}
	now := time.Now()
	f.Fuzz(func(t *testing.T, plan []byte) {
		var certs []*x509.Certificate
		for step := range slices.Chunk(plan[:min(len(plan), 6*3)], 3) {
			if len(step) < 3 {
				break
			}
			what := [3]byte{step[0] % 4, step[1] % 4, step[2] % 8}
			if made[what] == nil {
				made[what] = entities[what[0]].certify(t, entities, what[1], what[2], now)
			}
			certs = append(certs, made[what])
		}
		public := entities[0].key.Public()
		onToken, configured := certs[:len(certs)/2], certs[len(certs)/2:]
		chain, err := findChain(public, onToken, configured, now)
		leaves := certs
		if slices.ContainsFunc(configured, func(c *x509.Certificate) bool { return c.PublicKey.(*ecdsa.PublicKey).Equal(public) }) {
			leaves = configured
		}
		possible := slices.ContainsFunc(leaves, func(leaf *x509.Certificate) bool {
			return leaf.PublicKey.(*ecdsa.PublicKey).Equal(public) &&
				(corex509.ValidateCodeSigningCertChain([]*x509.Certificate{leaf}, &now) == nil || anyChain([]*x509.Certificate{leaf}, certs, now))
		})
		if (err == nil) != possible {
			t.Fatalf("possible: %v; found: %v, error %v", possible, names(chain), err)
		}
		if err != nil {
			return
		}
		checkPath(t, chain, certs)
		if err := corex509.ValidateCodeSigningCertChain(chain, &now); err != nil {
			t.Errorf("notation refuses the chain %v: %v", names(chain), err)
		}
	})
}

// fuzzedEntity is a name and its key.
type fuzzedEntity struct {
	name string
	key  crypto.Signer
}

// certify has entity number issuer certify this one. The bits of how: a leaf,
// expired, signed with the key of another than the issuer.
func (e fuzzedEntity) certify(t *testing.T, all []fuzzedEntity, issuer, how byte, now time.Time) *x509.Certificate {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(int64(issuer)<<8 + int64(how) + 1), Subject: pkix.Name{CommonName: e.name},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		BasicConstraintsValid: true, IsCA: true, KeyUsage: x509.KeyUsageCertSign,
	}
	if how&1 != 0 {
		asLeaf(template)
	}
	if how&2 != 0 {
		template.NotAfter = now.Add(-time.Minute)
	}
	signer := all[issuer].key
	if how&4 != 0 {
		signer = all[(issuer+1)%4].key
	}
	parent := &x509.Certificate{Subject: pkix.Name{CommonName: all[issuer].name}}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, e.key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// anyChain tries all orders of certificates above those given in which each names
// the next as its issuer, and has notation judge them.
func anyChain(below, rest []*x509.Certificate, now time.Time) bool {
	for _, cert := range rest {
		switch {
		case slices.ContainsFunc(below, func(b *x509.Certificate) bool { return isSameEntity(b, cert) }):
			continue
		case !bytes.Equal(below[len(below)-1].RawIssuer, cert.RawSubject):
			continue
		}
		chain := append(slices.Clone(below), cert)
		if corex509.ValidateCodeSigningCertChain(chain, &now) == nil || anyChain(chain, rest, now) {
			return true
		}
	}
	return false
}
