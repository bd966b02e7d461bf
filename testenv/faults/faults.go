// SPDX-License-Identifier: Apache-2.0

// Package faults is a PKCS#11 module that does what no software token does: it
// prints, hangs, crashes, wants a login for each signature, loses its sessions,
// hides objects, refuses mechanisms. It stands in front of a real module, such
// as SoftHSM's, and passes each call on unless a rule says otherwise. It keeps a
// journal of the calls.
//
// Start with [New]:
//
//	m, err := faults.New(t.TempDir(), hsm.Module, "C_Login#2 hang", "token-flags +0x40000")
//	cmd.Env = append(cmd.Env, m.Env()...)   // and those of the module behind
//	... a process that loads m.Path ...
//	if m.Calls("C_Login") != 1 { ... }
//
// The rules are documented in module/rules.c, beside their parser. The module is
// written in C, for Linux, and is compiled with gcc when it is first needed. It
// takes its rules from the environment of the process that loads it, so one that
// loads it itself must set that first, and can have one Module at a time.
//
// It is for tests alone: a journal has the lengths of PINs, and rules have PINs.
package faults

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Module is a copy of the module with rules and a journal of its own.
type Module struct {
	// Path is that of the shared library, to be used as a PKCS#11 module.
	Path string

	behind  string // path of the module behind
	rules   string // path of the rules
	journal string // path of the journal
}

// New makes a module in front of the one at the path behind. Its files are in a
// new directory in dir, which the caller deletes. A rule that the module does
// not understand is an error.
func New(dir, behind string, rules ...string) (*Module, error) {
	built, err := build()
	if err != nil {
		return nil, fmt.Errorf("build the module: %w", err)
	}
	dir, err = os.MkdirTemp(dir, "faults-")
	if err != nil {
		return nil, fmt.Errorf("make module: %w", err)
	}
	m := &Module{
		Path:    filepath.Join(dir, libraryFile),
		behind:  behind,
		rules:   filepath.Join(dir, "rules"),
		journal: filepath.Join(dir, "journal"),
	}
	// The system loads a library once for a file: a process that loads two
	// modules, one after the other, needs two files.
	library, err := os.ReadFile(filepath.Join(built, libraryFile))
	if err != nil {
		return nil, fmt.Errorf("make module: %w", err)
	}
	for path, content := range map[string][]byte{
		m.Path:    library,
		m.rules:   []byte(strings.Join(rules, "\n") + "\n"),
		m.journal: nil,
	} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			return nil, fmt.Errorf("make module: %w", err)
		}
	}
	if out, err := exec.Command(filepath.Join(built, checkFile), m.rules).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("check rules: %w: %s", err, bytes.TrimSpace(out))
	}
	return m, nil
}

// Env returns the variables, as NAME=value, that a process must have when it
// loads Path, besides those that the module behind needs.
func (m *Module) Env() []string {
	return []string{
		"FAULTS_MODULE=" + m.behind,
		"FAULTS_RULES=" + m.rules,
		"FAULTS_JOURNAL=" + m.journal,
	}
}
