// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// StandardLabel is the label of the token that [SoftHSM.AddStandardToken] adds.
const StandardLabel = "testenv"

// The files of the cached token: the token as SoftHSM stores it, and what
// SoftHSM would have to be asked for.
const (
	standardStore = "tokens"
	standardIndex = "token.json"
)

// standardToken is the index of the cached token.
type standardToken struct {
	Serial string
	Slot   uint
	Keys   []standardKey
}

type standardKey struct {
	ID     []byte
	Public []byte // SubjectPublicKeyInfo, DER
}

// AddStandardToken adds a token with one key of each of [KeyTypes], each
// labelled with the name of its type.
//
// Large RSA keys take seconds to generate, so the token is made once in a
// checkout and copied: its keys and serial number are the same in every store,
// and a store can have only one.
func (s *SoftHSM) AddStandardToken() (*Token, error) {
	made, err := cached(standardCacheName(), makeStandardToken)
	if err != nil {
		return nil, fmt.Errorf("make standard token: %w", err)
	}
	index, err := os.ReadFile(filepath.Join(made, standardIndex))
	if err != nil {
		return nil, fmt.Errorf("read standard token: %w", err)
	}
	var cached standardToken
	if err := json.Unmarshal(index, &cached); err != nil {
		return nil, fmt.Errorf("read standard token %s: %w", made, err)
	}
	t := &Token{Store: &s.Store, Label: StandardLabel, Serial: cached.Serial, Slot: cached.Slot, PIN: UserPIN, SOPIN: SOPIN}
	for i, key := range cached.Keys {
		public, err := x509.ParsePKIXPublicKey(key.Public)
		if err != nil {
			return nil, fmt.Errorf("read standard token %s: %w", made, err)
		}
		t.Keys = append(t.Keys, &Key{Token: t, Type: KeyTypes[i], Label: KeyTypes[i].Name, ID: key.ID, Public: public})
	}
	if err := os.CopyFS(s.tokens(), os.DirFS(filepath.Join(made, standardStore))); err != nil {
		return nil, fmt.Errorf("copy standard token: %w", err)
	}
	return t, nil
}

// standardCacheName changes with what the token is made of.
func standardCacheName() string {
	sum := sha256.Sum256(fmt.Append(nil, StandardLabel, UserPIN, SOPIN, KeyTypes))
	return "softhsm/standard-" + hex.EncodeToString(sum[:4])
}

func makeStandardToken(dir string) (err error) {
	s, err := NewSoftHSM()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	t, err := s.AddToken(StandardLabel)
	if err != nil {
		return err
	}
	index := standardToken{Serial: t.Serial, Slot: t.Slot}
	for _, kind := range KeyTypes {
		key, err := t.Generate(kind, kind.Name)
		if err != nil {
			return err
		}
		public, err := x509.MarshalPKIXPublicKey(key.Public)
		if err != nil {
			return fmt.Errorf("marshal public key %q: %w", key.Label, err)
		}
		index.Keys = append(index.Keys, standardKey{ID: key.ID, Public: public})
	}
	data, err := json.Marshal(index)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, standardIndex), data, 0o600); err != nil {
		return err
	}
	return os.CopyFS(filepath.Join(dir, standardStore), os.DirFS(s.tokens()))
}
