// SPDX-License-Identifier: Apache-2.0

package faults_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/miekg/pkcs11"
)

func TestReadOnlyToken(t *testing.T) {
	c := start(t, "read-only")
	_, err := c.OpenSession(c.token.Slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
	wantRV(t, "C_OpenSession", err, pkcs11.CKR_TOKEN_WRITE_PROTECTED)
	c.open()
	info, err := c.GetTokenInfo(c.token.Slot)
	wantOK(t, "C_GetTokenInfo", err)
	if info.Flags&pkcs11.CKF_WRITE_PROTECTED == 0 {
		t.Errorf("flags are 0x%x", info.Flags)
	}
}

func TestReadWriteOnlyToken(t *testing.T) {
	for rule, want := range map[string]pkcs11.Error{
		"read-write-only":     pkcs11.CKR_FUNCTION_FAILED,
		"read-write-only 0x7": pkcs11.CKR_ARGUMENTS_BAD,
	} {
		c := start(t, rule)
		_, err := c.OpenSession(c.token.Slot, pkcs11.CKF_SERIAL_SESSION)
		wantRV(t, "C_OpenSession", err, want)
		_, err = c.OpenSession(c.token.Slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
		wantOK(t, "C_OpenSession", err)
		wantOK(t, "C_Finalize", c.Finalize())
	}
}

func TestMaxSessions(t *testing.T) {
	c := start(t, "max-sessions 2")
	first := c.open()
	c.open()
	_, err := c.OpenSession(c.token.Slot, pkcs11.CKF_SERIAL_SESSION)
	wantRV(t, "third C_OpenSession", err, pkcs11.CKR_SESSION_COUNT)
	wantOK(t, "C_CloseSession", c.CloseSession(first))
	c.open()
	wantOK(t, "C_CloseAllSessions", c.CloseAllSessions(c.token.Slot))
	c.open()
	c.open()
}

func TestStatesSessions(t *testing.T) {
	c := start(t, "states-sessions 2")
	info, err := c.GetTokenInfo(c.token.Slot)
	wantOK(t, "C_GetTokenInfo", err)
	if info.MaxSessionCount != 2 {
		t.Errorf("%d sessions are stated", info.MaxSessionCount)
	}
	for range 3 { // which it only says
		c.open()
	}
}

func TestDelayCalls(t *testing.T) {
	c := start(t, "delay-calls 50")
	begun := time.Now()
	for range 3 {
		_, err := c.GetInfo()
		wantOK(t, "C_GetInfo", err)
	}
	if took := time.Since(begun); took < 150*time.Millisecond {
		t.Errorf("three calls took %v", took)
	}
}

func TestSessionsDie(t *testing.T) {
	c := start(t, "sessions-die 2")
	for round := range 2 {
		first, second := c.openLoggedIn(), c.open()
		key := c.privateKey(first, "EC-256")
		for _, session := range []pkcs11.SessionHandle{first, second} {
			signature, err := c.sign(session, key, ecdsaDigest, digest)
			wantOK(t, "C_Sign", err)
			if !validECDSA(c.token.Key("EC-256"), digest, signature) {
				t.Errorf("signature is %x", signature)
			}
		}
		for _, session := range []pkcs11.SessionHandle{first, second} {
			_, err := c.sign(session, key, ecdsaDigest, digest)
			wantRV(t, fmt.Sprintf("round %d: C_SignInit in a dead session", round), err, pkcs11.CKR_SESSION_HANDLE_INVALID)
			_, err = c.GetSessionInfo(session)
			wantRV(t, "C_GetSessionInfo of a dead session", err, pkcs11.CKR_SESSION_HANDLE_INVALID)
		}
		_, err := c.sign(c.open(), key, ecdsaDigest, digest)
		wantRV(t, "C_SignInit before the new login", err, pkcs11.CKR_USER_NOT_LOGGED_IN)
		wantOK(t, "C_CloseAllSessions", c.CloseAllSessions(c.token.Slot))
	}
}

func TestSessionsDieUnderConcurrentUse(t *testing.T) {
	c := start(t, "sessions-die 50")
	first := c.openLoggedIn()
	key := c.privateKey(first, "EC-256")
	sessions := []pkcs11.SessionHandle{first, c.open(), c.open(), c.open()}
	signed := make([]int, len(sessions))
	var group sync.WaitGroup
	for i, session := range sessions {
		group.Go(func() {
			for {
				if _, err := c.sign(session, key, ecdsaDigest, digest); err != nil {
					wantRV(t, "C_Sign", err, pkcs11.CKR_SESSION_HANDLE_INVALID)
					return
				}
				signed[i]++
			}
		})
	}
	group.Wait()
	total := 0
	for _, n := range signed {
		total += n
	}
	if total != 50 {
		t.Errorf("%d signatures %v, want 50", total, signed)
	}
}
