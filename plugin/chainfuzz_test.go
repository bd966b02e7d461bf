// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"slices"
	"testing"
	"time"

	corex509 "github.com/notaryproject/notation-core-go/x509"
)

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
