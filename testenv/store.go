// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// Store is a temporary directory with tokens, and the PKCS#11 library that shows
// them.
type Store struct {
	// Module is the path of the PKCS#11 library.
	Module string

	dir string
	env []string
}

// newStore makes an empty store for the library that matches one of the
// patterns. Its maker adds the variables.
func newStore(name string, modules []string) (Store, error) {
	module, err := installed(modules)
	if err != nil {
		return Store{}, err
	}
	dir, err := os.MkdirTemp("", name+"-")
	return Store{Module: module, dir: dir}, err
}

// installed returns the first file that matches a pattern.
func installed(patterns []string) (string, error) {
	for _, pattern := range patterns {
		if found, _ := filepath.Glob(pattern); len(found) > 0 {
			return found[0], nil
		}
	}
	return "", fmt.Errorf("none of %s is installed: run \"make setup\"", strings.Join(patterns, ", "))
}

// Env returns the variables, as NAME=value, with which a process that loads
// Module sees the tokens of this store. No PIN is among them.
func (s *Store) Env() []string { return s.env }

// Close deletes the store with all its tokens.
func (s *Store) Close() error {
	if err := os.RemoveAll(s.dir); err != nil {
		return fmt.Errorf("delete token store: %w", err)
	}
	return nil
}

// tokenSlot is a slot with an initialised token, as pkcs11-tool lists it.
var tokenSlot = regexp.MustCompile(`(?m)^Slot \d+ \(0x([0-9a-f]+)\): .*\n(?:  .*\n)*?  serial num +: (.*)$`)

// serials returns the serial numbers of the tokens by slot.
func (s *Store) serials() (map[uint]string, error) {
	out, err := runFor(tokenTimeout, append(baseEnv(), s.env...), "pkcs11-tool", "--module", s.Module, "--list-token-slots")
	if err != nil {
		return nil, fmt.Errorf("list slots: %w", err)
	}
	serials := map[uint]string{}
	for _, match := range tokenSlot.FindAllStringSubmatch(string(out), -1) {
		slot, err := strconv.ParseUint(match[1], 16, 0)
		if err != nil {
			return nil, fmt.Errorf("list slots: %w", err)
		}
		serials[uint(slot)] = match[2]
	}
	return serials, nil
}

// serial returns the serial number of the token in a slot.
func (s *Store) serial(slot uint) (string, error) {
	serials, err := s.serials()
	if err != nil {
		return "", err
	}
	serial, present := serials[slot]
	if !present {
		return "", fmt.Errorf("list slots: no token in slot %d", slot)
	}
	return serial, nil
}

// only returns the slot and serial number of the store's only token.
func (s *Store) only() (slot uint, serial string, err error) {
	serials, err := s.serials()
	if err != nil {
		return 0, "", err
	}
	if len(serials) != 1 {
		return 0, "", fmt.Errorf("%d tokens are there, not one", len(serials))
	}
	for slot, serial = range serials {
	}
	return slot, serial, nil
}
