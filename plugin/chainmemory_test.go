// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"crypto/x509"
	"slices"
	"testing"
	"time"
)

// What is remembered is what a new search would find, whatever the clock and the
// token do in between.
func TestRememberedChainIsTheOneThatASearchFinds(t *testing.T) {
	root, key, other := newEntity(t, "root"), newEntity(t, "signer"), newEntity(t, "other")
	start := time.Now().Truncate(time.Second)
	lasts := func(from, until time.Duration) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.NotBefore, c.NotAfter = start.Add(from), start.Add(until) }
	}
	const hour = time.Hour
	rootCert := root.certify(root, lasts(-9*hour, 9*hour))
	now := key.certify(root, asLeaf, named("now"), lasts(-hour, 2*hour))
	next := key.certify(root, asLeaf, named("next"), lasts(hour, 3*hour)) // the better one, once it is valid
	last := key.certify(root, asLeaf, named("last"), lasts(-hour, hour-1))
	theirs := other.certify(root, asLeaf, lasts(-9*hour, 9*hour))

	var memory chainMemory
	for i, step := range []struct {
		key        entity
		certs      []*x509.Certificate
		configured []*x509.Certificate
		at         time.Duration
	}{
		{key: key, certs: []*x509.Certificate{now, next, rootCert}},
		{key: key, certs: []*x509.Certificate{now, next, rootCert}, at: hour - 1},
		{key: key, certs: []*x509.Certificate{now, next, rootCert}, at: hour},
		{key: key, certs: []*x509.Certificate{now, next, rootCert}, at: 3 * hour},
		{key: key, certs: []*x509.Certificate{now, next, rootCert}, at: 3*hour + 1},
		{key: key, certs: []*x509.Certificate{now, next, rootCert}}, // the clock was set back
		{key: key, certs: []*x509.Certificate{now, next, rootCert}, at: -hour},
		{key: key, certs: []*x509.Certificate{now, next, rootCert}, at: -hour - 1},
		{key: key, certs: []*x509.Certificate{now}, configured: []*x509.Certificate{rootCert}},
		{key: key, certs: []*x509.Certificate{now}},
		{key: key, certs: []*x509.Certificate{last, rootCert}},
		{key: key, certs: []*x509.Certificate{last, rootCert, theirs}},
		{key: other, certs: []*x509.Certificate{last, rootCert, theirs}},
		{key: other, certs: []*x509.Certificate{last, rootCert}},
	} {
		at := start.Add(step.at)
		want, wantErr := findChain(step.key.public(), step.certs, step.configured, at)
		for range 2 { // the second time from memory
			got, err := memory.find(step.key.public(), step.certs, step.configured, at)
			if !slices.Equal(got, want) || (err == nil) != (wantErr == nil) {
				t.Errorf("step %d: got the chain %q, %v, want %q, %v", i, names(got), err, names(want), wantErr)
			}
		}
	}
}

func TestChainIsSearchedOnce(t *testing.T) {
	root, key := newEntity(t, "root"), newEntity(t, "signer")
	certs := []*x509.Certificate{key.certify(root, asLeaf), root.certify(root)}
	var memory chainMemory
	first, err := memory.find(key.public(), certs, nil, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	second, err := memory.find(key.public(), slices.Clone(certs), nil, time.Now())
	if err != nil || &first[0] != &second[0] {
		t.Errorf("got %p, %v after %p", second, err, first)
	}
}
