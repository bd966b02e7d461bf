// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
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
	// Module is the path of the PKCS#11 library.
	Module string

	dir string
}

// NewSoftHSM makes an empty store.
func NewSoftHSM() (*SoftHSM, error) {
	module, err := softHSMModule()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "softhsm-")
	if err != nil {
		return nil, fmt.Errorf("make token store: %w", err)
	}
	s := &SoftHSM{Module: module, dir: dir}
	if err := s.configure(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func softHSMModule() (string, error) {
	for _, path := range softHSMModules {
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("SoftHSM is not installed: none of %s: run \"make setup\"", strings.Join(softHSMModules, ", "))
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

func (s *SoftHSM) conf() string   { return filepath.Join(s.dir, "softhsm2.conf") }
func (s *SoftHSM) tokens() string { return filepath.Join(s.dir, "tokens") }

// Env returns the variables, as NAME=value, with which a process that loads
// Module sees the tokens of this store.
func (s *SoftHSM) Env() []string {
	return []string{"SOFTHSM2_CONF=" + s.conf()}
}

// Close deletes the store with all its tokens.
func (s *SoftHSM) Close() error {
	if err := os.RemoveAll(s.dir); err != nil {
		return fmt.Errorf("delete token store: %w", err)
	}
	return nil
}
