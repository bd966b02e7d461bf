// SPDX-License-Identifier: Apache-2.0

package faults_test

import (
	"testing"

	"github.com/miekg/pkcs11"
)

func TestTokenFlags(t *testing.T) {
	c := start(t, "token-flags +0x40000 -0x4", "token-flags +0x20000")
	info, err := c.GetTokenInfo(c.token.Slot)
	wantOK(t, "C_GetTokenInfo", err)
	if want := uint(pkcs11.CKF_USER_PIN_LOCKED | pkcs11.CKF_USER_PIN_FINAL_TRY); info.Flags&want != want {
		t.Errorf("flags are 0x%x, want 0x%x in them", info.Flags, want)
	}
	if info.Flags&pkcs11.CKF_LOGIN_REQUIRED != 0 {
		t.Errorf("flags are 0x%x, want no CKF_LOGIN_REQUIRED", info.Flags)
	}
	if info.Flags&pkcs11.CKF_TOKEN_INITIALIZED == 0 {
		t.Errorf("flags are 0x%x, want those of the token behind too", info.Flags)
	}
}

func TestSlotListFirst(t *testing.T) {
	c := load(t, "slot-list-first")
	wantOK(t, "C_Initialize", c.Initialize())
	defer c.Finalize()
	_, err := c.GetTokenInfo(c.token.Slot)
	wantRV(t, "C_GetTokenInfo", err, pkcs11.CKR_SLOT_ID_INVALID)
	_, err = c.GetMechanismList(c.token.Slot)
	wantRV(t, "C_GetMechanismList", err, pkcs11.CKR_SLOT_ID_INVALID)
	_, err = c.GetSlotList(true)
	wantOK(t, "C_GetSlotList", err)
	_, err = c.GetTokenInfo(c.token.Slot)
	wantOK(t, "C_GetTokenInfo", err)
}

func TestMechanisms(t *testing.T) {
	c := start(t, "mechanisms 0x1044,0xd")
	list, err := c.GetMechanismList(c.token.Slot)
	wantOK(t, "C_GetMechanismList", err)
	if len(list) != 2 || list[0].Mechanism != 0x1044 || list[1].Mechanism != 0xd {
		t.Errorf("mechanisms are %v", list)
	}
	session := c.openLoggedIn()
	_, err = c.sign(session, c.privateKey(session, "EC-256"), ecdsaDigest, digest)
	wantOK(t, "C_Sign with a mechanism that is not in the list", err)
}
