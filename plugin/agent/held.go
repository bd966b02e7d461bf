// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"crypto"
	"crypto/x509"

	"github.com/notation-pkcs11/notation-pkcs11/internal/auditlog"
	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
	"github.com/notation-pkcs11/notation-pkcs11/plugin"
)

// held is a key of a token as it showed itself first.
type held struct {
	token  *Token
	number int // in the token
	public crypto.PublicKey
	shown  pkcs11.URI
	// Of the certificates on the token those that go with the key, and all; nil: not read
	// since they were forgotten. These are guarded by the token's mu.
	own, all  []*x509.Certificate
	mechanism string // that made signatures
}

// uri names a key in logs and errors: by its token and its own names.
func (h *held) uri() string {
	return h.shown.Without(pkcs11.AttrManufacturer, pkcs11.AttrModel, pkcs11.AttrSlotID, pkcs11.AttrSlotDescription, pkcs11.AttrSlotManufacturer,
		pkcs11.AttrLibraryManufacturer, pkcs11.AttrLibraryDescription, pkcs11.AttrLibraryVersion, pkcs11.AttrType).String()
}

func (h *held) serial() string {
	serial, _ := h.shown.Value(pkcs11.AttrSerial)
	return serial
}

// thumbprint is that of the key's certificate on the token that signatures carry
// first of all; empty where none is there, and the client has it from cert_chain.
func (h *held) thumbprint() string {
	related := plugin.Related(h.public, append(h.known(ownCertificates), h.known(allCertificates)...))
	if len(related) == 0 {
		return ""
	}
	return auditlog.Thumbprint(related[0])
}

// sign has the token sign a message.
func (h *held) sign(j job, message []byte, opts crypto.SignerOpts) (signature []byte, err error) {
	j.do = func(ctx context.Context, key Key) (err error) {
		if signature, err = key.SignInTurn(ctx, message, opts); err == nil && h.lastMechanism() == "" {
			h.note(key.Mechanisms(ctx, opts)) // a module that died after the signature can't say it
		}
		return err
	}
	err = h.token.use(h.number, j)
	return signature, err
}

// note takes note of the mechanism that made a signature, which comes first.
func (h *held) note(mechanisms []string, err error) {
	h.token.mu.Lock()
	defer h.token.mu.Unlock()
	if err == nil && len(mechanisms) > 0 {
		h.mechanism = mechanisms[0]
	}
}

// lastMechanism is the mechanism that makes signatures; empty before the first one.
func (h *held) lastMechanism() string {
	h.token.mu.Lock()
	defer h.token.mu.Unlock()
	return h.mechanism
}

// certificates are what a request wants of the token.
type certificates struct {
	of   func(*held) *[]*x509.Certificate
	read func(Key, context.Context) ([]*x509.Certificate, error)
}

var (
	ownCertificates = certificates{func(h *held) *[]*x509.Certificate { return &h.own }, Key.OwnCertificates}
	allCertificates = certificates{func(h *held) *[]*x509.Certificate { return &h.all }, Key.Certificates}
)

// known returns certificates on the token; nil where they are to be read.
func (h *held) known(c certificates) []*x509.Certificate {
	h.token.mu.Lock()
	defer h.token.mu.Unlock()
	return *c.of(h)
}

// read reads certificates.
func (h *held) read(j job, c certificates) ([]*x509.Certificate, error) {
	var list []*x509.Certificate
	j.do = func(ctx context.Context, key Key) (err error) {
		list, err = c.read(key, ctx)
		return err
	}
	if err := h.token.use(h.number, j); err != nil {
		return nil, err
	}
	h.token.mu.Lock()
	defer h.token.mu.Unlock()
	*c.of(h) = nonNil(list)
	return *c.of(h), nil
}

func nonNil(certificates []*x509.Certificate) []*x509.Certificate {
	return append([]*x509.Certificate{}, certificates...)
}
