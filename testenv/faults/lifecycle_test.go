// SPDX-License-Identifier: Apache-2.0

package faults_test

import (
	"testing"
	"unsafe"

	"github.com/miekg/pkcs11"
)

func TestCantLock(t *testing.T) {
	c := load(t, "cant-lock")
	wantRV(t, "C_Initialize", c.Initialize(), pkcs11.CKR_CANT_LOCK)
	wantOK(t, "C_Initialize", c.Initialize(pkcs11.InitializeWithFlags(0)))
	defer c.Finalize()
	c.openLoggedIn()
}

func TestNeedInitArgs(t *testing.T) {
	c := load(t, "need-init-args configdir='sql:/etc/pki' flags=readOnly")
	with := func(text string) pkcs11.InitializeOption {
		return pkcs11.InitializeWithReserved(unsafe.Pointer(unsafe.StringData(text + "\x00")))
	}
	wantRV(t, "C_Initialize without", c.Initialize(), pkcs11.CKR_ARGUMENTS_BAD)
	wantRV(t, "C_Initialize with another", c.Initialize(with("configdir=")), pkcs11.CKR_ARGUMENTS_BAD)
	wantOK(t, "C_Initialize", c.Initialize(with("configdir='sql:/etc/pki' flags=readOnly")))
	defer c.Finalize()
}
