// SPDX-License-Identifier: Apache-2.0

package testenv

import "errors"

// TokenKind is a kind of token that one suite of tests can run on.
type TokenKind struct {
	Name string
	// New makes a token in a store of its own, labelled [StandardLabel], with
	// one key of each of [KeyTypes] that such a token can make.
	New func() (*OwnToken, error)
}

// TokenKinds are all the kinds of tokens that run here.
var TokenKinds = []TokenKind{
	{"SoftHSM", newSoftHSMToken},
	{"TPM", newTPMToken},
	{"p11-kit", newP11KitToken},
}

// OwnToken is a token that is alone in its store.
type OwnToken struct {
	*Token
	// TPM is what the token is in, if that is a TPM.
	TPM *TPM

	closers []func() error // in the order in which they are called
}

// Close deletes the token and its store.
func (t *OwnToken) Close() error {
	var errs []error
	for _, closer := range t.closers {
		errs = append(errs, closer())
	}
	return errors.Join(errs...)
}

func newSoftHSMToken() (*OwnToken, error) {
	hsm, err := NewSoftHSM()
	if err != nil {
		return nil, err
	}
	token, err := hsm.AddStandardToken()
	if err != nil {
		return nil, errors.Join(err, hsm.Close())
	}
	return &OwnToken{Token: token, closers: []func() error{hsm.Close}}, nil
}

func newTPMToken() (*OwnToken, error) {
	tpm, err := NewTPM()
	if err != nil {
		return nil, err
	}
	token, err := tpm.AddStandardToken()
	if err != nil {
		return nil, errors.Join(err, tpm.Close())
	}
	return &OwnToken{Token: token, TPM: tpm, closers: []func() error{tpm.Close}}, nil
}

func newP11KitToken() (*OwnToken, error) {
	served, err := newSoftHSMToken()
	if err != nil {
		return nil, err
	}
	server, err := NewP11Kit(served.Token)
	if err != nil {
		return nil, errors.Join(err, served.Close())
	}
	return &OwnToken{Token: server.Token(), closers: []func() error{server.Close, served.Close}}, nil
}
