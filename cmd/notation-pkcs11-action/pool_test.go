// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/x509"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
	"github.com/notation-pkcs11/notation-pkcs11/plugin"
)

// mortal opens keys that die after some signatures.
type mortal struct {
	lives  []int // signatures of the first key, of the second…; 0: it can't be opened
	opened atomic.Int64
	closed atomic.Int64
	read   atomic.Int64 // looks at the certificates
}

type mortalKey struct {
	*mortal
	left atomic.Int64
}

func (m *mortal) Open(context.Context, plugin.Settings) (plugin.Key, error) {
	n := int(m.opened.Add(1))
	if n > len(m.lives) || m.lives[n-1] == 0 {
		return nil, &pkcs11.Error{Kind: pkcs11.KindCall, Message: "no"}
	}
	key := &mortalKey{mortal: m}
	key.left.Store(int64(m.lives[n-1]))
	return key, nil
}

func (k *mortalKey) Public() crypto.PublicKey { return (*ecdsa.PublicKey)(nil) }

func (k *mortalKey) SignMessage(_ context.Context, message []byte, _ crypto.SignerOpts) ([]byte, error) {
	if k.left.Add(-1) < 0 {
		return nil, &pkcs11.Error{Kind: pkcs11.KindCrash, Message: "dead"}
	}
	time.Sleep(time.Millisecond)
	return message, nil
}

func (k *mortalKey) Certificates(context.Context) ([]*x509.Certificate, error) {
	k.read.Add(1)
	return nil, nil
}

func (k *mortalKey) OwnCertificates(ctx context.Context) ([]*x509.Certificate, error) {
	return k.Certificates(ctx)
}

func (k *mortalKey) Close() error {
	k.closed.Add(1)
	return errors.New("close")
}

// signAll makes n signatures at once, each with a share of its own.
func signAll(t *testing.T, p *pool, n int) (good int) {
	t.Helper()
	var count atomic.Int64
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			key, err := p.Open(t.Context(), plugin.Settings{})
			if err != nil {
				return
			}
			defer key.Close()
			if _, err := key.Certificates(t.Context()); err != nil {
				t.Error(err)
			}
			if _, err := key.SignMessage(t.Context(), []byte("x"), nil); err == nil {
				count.Add(1)
			}
		})
	}
	all.Wait()
	return int(count.Load())
}

func TestPoolReplacesOnce(t *testing.T) {
	for _, test := range []struct {
		name         string
		lives        []int
		good, opened int
	}{
		{"a good key", []int{100}, 20, 1},
		{"one that dies", []int{5, 100}, 20, 2},
		{"two that die", []int{5, 5, 100}, 10, 2},
		{"one that dies and can't be opened again", []int{5}, 5, 2},
		{"one that can't be opened", []int{0, 100}, 0, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := &mortal{lives: test.lives}
			p := newPool(m)
			good := signAll(t, p, 20)
			if opened := int(m.opened.Load()); good != test.good || opened != test.opened {
				t.Errorf("%d signatures, opened %d times", good, opened)
			}
			if test.good > 0 && m.read.Load() > 2 {
				t.Errorf("the certificates were read %d times", m.read.Load())
			}
		})
	}
}

func TestPoolClosesItsKeys(t *testing.T) {
	m := &mortal{lives: []int{100}}
	p := newPool(m)
	signAll(t, p, 3)
	if m.closed.Load() != 0 {
		t.Error("a share closed the key")
	}
	if err := p.Close(); err == nil || m.closed.Load() != 1 {
		t.Errorf("closed %d times: %v", m.closed.Load(), err)
	}
}

// That a key died was said with the signature that it cost.
func TestPoolIsQuietAboutDeadKeys(t *testing.T) {
	m := &mortal{lives: []int{1, 1}}
	p := newPool(m)
	signAll(t, p, 4)
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}
