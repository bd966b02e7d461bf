// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// tpmModules are the places where distributions put tpm2-pkcs11's library.
var tpmModules = []string{
	"/usr/lib/*-linux-gnu/pkcs11/libtpm2_pkcs11.so", // Debian, Ubuntu
	"/usr/lib64/pkcs11/libtpm2_pkcs11.so",           // Fedora, RHEL, openSUSE
	"/usr/lib/pkcs11/libtpm2_pkcs11.so",             // Arch
	"/usr/local/lib/pkcs11/libtpm2_pkcs11.so",       // built from source
}

// TPMKeyTypes are those of [KeyTypes] that the TPM has: most have no more.
var TPMKeyTypes = []KeyType{RSA2048, RSA3072, EC256, EC384}

// TPM is a TPM 2.0 in software, and a store of tpm2-pkcs11 whose keys it holds.
// The store starts empty.
//
// It has no resource manager, so processes must take turns, and one that is
// killed while it is logged in leaves its TPM session behind.
type TPM struct {
	Store

	server *daemon
}

// NewTPM starts a TPM with nothing in it.
func NewTPM() (*TPM, error) {
	store, err := newStore("tpm", tpmModules)
	if err != nil {
		return nil, fmt.Errorf("make TPM: %w", err)
	}
	t := &TPM{Store: store}
	if err := t.start(); err != nil {
		return nil, errors.Join(fmt.Errorf("make TPM: %w", err), t.Store.Close())
	}
	return t, nil
}

func (t *TPM) start() (err error) {
	state, keys, socket := filepath.Join(t.dir, "state"), filepath.Join(t.dir, "keys"), filepath.Join(t.dir, "socket")
	for _, dir := range []string{state, keys} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
	}
	address := "swtpm:path=" + socket
	t.env = []string{"TPM2_PKCS11_TCTI=" + address, "TPM2_PKCS11_STORE=" + keys, "TPM2TOOLS_TCTI=" + address}
	// Sockets in the directory, not ports: the name of the control socket is
	// fixed for those who connect, as the port after the first would be.
	t.server, _, err = startDaemon(baseEnv(), nil, "swtpm", "socket", "--tpm2",
		"--tpmstate", "dir="+state, "--flags", "not-need-init,startup-clear",
		"--server", "type=unixio,path="+socket, "--ctrl", "type=unixio,path="+socket+".ctrl")
	if err != nil {
		return err
	}
	if err := t.server.dial(socket + ".ctrl"); err != nil {
		return errors.Join(fmt.Errorf("start swtpm: %w", err), t.server.stop())
	}
	return nil
}

// AddToken initialises one more token, without keys.
func (t *TPM) AddToken(label string) (*Token, error) {
	before, err := t.serials()
	if err != nil {
		return nil, fmt.Errorf("initialise token %q: %w", label, err)
	}
	// tpm2-pkcs11 numbers tokens from 1; the slot after the last is the free one.
	token := &Token{Store: &t.Store, Label: label, Slot: uint(len(before) + 1), PIN: UserPIN, SOPIN: SOPIN}
	for _, args := range [][]string{
		{"--init-token", "--label", label, "--so-pin", SOPIN},
		{"--login", "--login-type", "so", "--so-pin", SOPIN, "--init-pin", "--pin", UserPIN},
	} {
		if _, err := token.tool(args...); err != nil {
			return nil, fmt.Errorf("initialise token %q: %w", label, err)
		}
	}
	if token.Serial, err = t.serial(token.Slot); err != nil {
		return nil, fmt.Errorf("initialise token %q: %w", label, err)
	}
	// The first C_InitToken leaves its primary key in the TPM's memory.
	if _, err := t.tool("tpm2_flushcontext", "--transient-object"); err != nil {
		return nil, fmt.Errorf("initialise token %q: %w", label, err)
	}
	return token, nil
}

// AddStandardToken adds a token labelled [StandardLabel] with one key of each of
// [TPMKeyTypes], each labelled with the name of its type.
func (t *TPM) AddStandardToken() (*Token, error) {
	token, err := t.AddToken(StandardLabel)
	if err != nil {
		return nil, err
	}
	for _, kind := range TPMKeyTypes {
		if _, err := token.Generate(kind, kind.Name); err != nil {
			return nil, err
		}
	}
	return token, nil
}

var lockoutCounter = regexp.MustCompile(`TPM2_PT_LOCKOUT_COUNTER: 0x([0-9A-Fa-f]+)`)

// WrongPINs returns how many wrong PINs the TPM has counted. After three it is
// locked.
func (t *TPM) WrongPINs() (int, error) {
	out, err := t.tool("tpm2_getcap", "properties-variable")
	if err != nil {
		return 0, err
	}
	match := lockoutCounter.FindSubmatch(out)
	if match == nil {
		return 0, fmt.Errorf("tpm2_getcap shows no counter: %q", out)
	}
	count, err := strconv.ParseUint(string(match[1]), 16, 31)
	return int(count), err
}

// ResetWrongPINs sets the TPM's count of wrong PINs to zero, as its owner can.
func (t *TPM) ResetWrongPINs() error {
	_, err := t.tool("tpm2_dictionarylockout", "--clear-lockout")
	return err
}

// Leftovers returns the handles of the objects and sessions in the TPM's memory.
// There is room for three of each, and nothing should be there when no process
// uses the TPM.
func (t *TPM) Leftovers() ([]string, error) {
	var handles []string
	for _, kind := range []string{"handles-transient", "handles-loaded-session", "handles-saved-session"} {
		out, err := t.tool("tpm2_getcap", kind)
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(out)) {
			handles = append(handles, strings.TrimSpace(strings.TrimPrefix(line, "-")))
		}
	}
	return handles, nil
}

// tool runs one of tpm2-tools.
func (t *TPM) tool(name string, args ...string) ([]byte, error) {
	return runFor(tokenTimeout, append(baseEnv(), t.env...), name, args...)
}

// Close ends the TPM in order, as a machine does that is switched off.
func (t *TPM) Close() error {
	_, err := t.tool("tpm2_shutdown", "--clear")
	return errors.Join(err, t.server.stop(), t.Store.Close())
}
