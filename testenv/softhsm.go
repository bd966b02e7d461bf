// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
)

// softHSMModules are the places where distributions put SoftHSM's library.
var softHSMModules = []string{
	"/usr/lib/softhsm/libsofthsm2.so",           // Debian, Ubuntu
	"/usr/lib64/pkcs11/libsofthsm2.so",          // Fedora
	"/usr/lib64/softhsm/libsofthsm.so",          // RHEL, openSUSE
	"/usr/lib/pkcs11/libsofthsm2.so",            // Arch
	"/usr/local/lib/softhsm/libsofthsm2.so",     // built from source
	"/opt/homebrew/lib/softhsm/libsofthsm2.so",  // macOS, arm64
	"/usr/local/opt/softhsm/lib/libsofthsm2.so", // macOS, amd64
}

// SoftHSM is a store of software tokens in a temporary directory, with a
// configuration file of its own. It starts empty. Its methods, and those of its
// tokens, are not safe for concurrent use.
//
// Processes must take turns on a store: SoftHSM 2.6 writes the token's file at
// each login, and another process that reads it then finds no token or fails to
// log in. With four at once that was one call in nine.
type SoftHSM struct {
	Store
}

// NewSoftHSM makes an empty store.
func NewSoftHSM() (*SoftHSM, error) {
	store, err := newStore("softhsm", softHSMModules)
	if err != nil {
		return nil, fmt.Errorf("make SoftHSM's token store: %w", err)
	}
	s := &SoftHSM{Store: store}
	s.env = []string{"SOFTHSM2_CONF=" + s.conf()}
	if err := s.configure(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *SoftHSM) configure() error {
	if err := os.Mkdir(s.tokens(), 0o700); err != nil {
		return fmt.Errorf("make token store: %w", err)
	}
	conf := fmt.Sprintf("directories.tokendir = %s\nobjectstore.backend = file\nlog.level = ERROR\n", s.tokens())
	if err := os.WriteFile(s.conf(), []byte(conf), 0o600); err != nil {
		return fmt.Errorf("write SoftHSM configuration: %w", err)
	}
	return nil
}

// tokensDir is where a store keeps its tokens.
const tokensDir = "tokens"

func (s *SoftHSM) conf() string   { return filepath.Join(s.dir, "softhsm2.conf") }
func (s *SoftHSM) tokens() string { return filepath.Join(s.dir, tokensDir) }

var initialisedSlot = regexp.MustCompile(`reassigned to slot (\d+)`)

// AddToken initialises one more token, without keys. Several tokens of a store
// may have the same label; they differ in Serial and Slot.
func (s *SoftHSM) AddToken(label string) (*Token, error) {
	out, err := runFor(tokenTimeout, append(baseEnv(), s.Env()...), "softhsm2-util", "--init-token", "--free",
		"--label", label, "--pin", UserPIN, "--so-pin", SOPIN)
	if err != nil {
		return nil, fmt.Errorf("initialise token %q: %w", label, err)
	}
	match := initialisedSlot.FindSubmatch(out)
	if match == nil {
		return nil, fmt.Errorf("initialise token %q: softhsm2-util names no slot: %q", label, out)
	}
	slot, err := strconv.ParseUint(string(match[1]), 10, 0)
	if err != nil {
		return nil, fmt.Errorf("initialise token %q: slot id: %w", label, err)
	}
	t := &Token{Store: &s.Store, Label: label, Slot: uint(slot), PIN: UserPIN, SOPIN: SOPIN}
	if t.Serial, err = s.serial(t.Slot); err != nil {
		return nil, fmt.Errorf("initialise token %q: %w", label, err)
	}
	return t, nil
}

// AddCopy adds a copy of a token of another store, which has no other one: its
// keys, certificates and serial number are the same. A copy takes milliseconds,
// where a token and its keys take a second; a store can have only one.
func (s *SoftHSM) AddCopy(original *Token) (*Token, error) {
	if err := os.CopyFS(s.tokens(), os.DirFS(filepath.Join(original.Store.dir, tokensDir))); err != nil {
		return nil, fmt.Errorf("copy token %q: %w", original.Label, err)
	}
	t := *original
	t.Store, t.Keys = &s.Store, nil
	for _, key := range original.Keys {
		k := *key
		k.Token = &t
		t.Keys = append(t.Keys, &k)
	}
	return &t, nil
}
