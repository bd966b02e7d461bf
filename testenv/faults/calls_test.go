// SPDX-License-Identifier: Apache-2.0

package faults_test

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/pkcs11"
)

func TestReturnValueInsteadOfCall(t *testing.T) {
	c := start(t, "C_Login rv 0xa0")
	session := c.open()
	wantRV(t, "C_Login", c.Login(session, pkcs11.CKU_USER, c.token.PIN), pkcs11.CKR_PIN_INCORRECT)
	if len(c.search(session, ofClass(pkcs11.CKO_PRIVATE_KEY))) != 0 {
		t.Error("the user is logged in: the call went behind")
	}
}

func TestReturnValueAfterCall(t *testing.T) {
	c := start(t, "C_Login after rv 0x30")
	session := c.open()
	wantRV(t, "C_Login", c.Login(session, pkcs11.CKU_USER, c.token.PIN), pkcs11.CKR_DEVICE_ERROR)
	if len(c.search(session, ofClass(pkcs11.CKO_PRIVATE_KEY))) == 0 {
		t.Error("the user is not logged in: the call did not go behind")
	}
}

func TestOnlyTheNthCall(t *testing.T) {
	c := start(t, "C_GetInfo#2 rv 0x30", "C_GetInfo#3 rv 0x31")
	for i, want := range []pkcs11.Error{pkcs11.CKR_OK, pkcs11.CKR_DEVICE_ERROR, pkcs11.CKR_DEVICE_MEMORY, pkcs11.CKR_OK} {
		_, err := c.GetInfo()
		if want == pkcs11.CKR_OK {
			wantOK(t, "C_GetInfo", err)
		} else {
			wantRV(t, "C_GetInfo", err, want)
		}
		if t.Failed() {
			t.Fatalf("at call %d", i+1)
		}
	}
}

func TestDelay(t *testing.T) {
	c := start(t, "C_GetInfo#1 delay 1100", "C_GetInfo#2 after delay 200")
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	stop := interrupt(syscall.Gettid())
	defer stop()
	for _, want := range []time.Duration{1100 * time.Millisecond, 200 * time.Millisecond} {
		begin := time.Now()
		_, err := c.GetInfo()
		wantOK(t, "C_GetInfo", err)
		if took := time.Since(begin); took < want {
			t.Errorf("C_GetInfo took %v, want %v", took, want)
		}
	}
}

// interrupt sends a thread the signal by which Go preempts its threads, again
// and again until it is stopped.
func interrupt(tid int) (stop func()) {
	ended := make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() {
		for {
			select {
			case <-ended:
				return
			case <-time.After(20 * time.Millisecond):
				_, _, _ = syscall.Syscall(syscall.SYS_TGKILL, uintptr(os.Getpid()), uintptr(tid), uintptr(syscall.SIGURG))
			}
		}
	})
	return func() {
		close(ended)
		group.Wait()
	}
}

func TestSignatureGarbledShortOrEmpty(t *testing.T) {
	c := start(t, "C_Sign#2 garble", "C_Sign#4 short", "C_Sign#6 empty") // odd ones ask for the length
	session := c.openLoggedIn()
	key := c.privateKey(session, "EC-256")
	for _, test := range []struct {
		what   string
		length int
		valid  bool
	}{{"garbled", 64, false}, {"short", 63, false}, {"empty", 0, false}, {"good", 64, true}} {
		signature, err := c.sign(session, key, ecdsaDigest, digest)
		wantOK(t, "C_Sign", err)
		if len(signature) != test.length || validECDSA(c.token.Key("EC-256"), digest, signature) != test.valid {
			t.Errorf("%s signature is %x", test.what, signature)
		}
	}
}

func TestListsEmptyOrShort(t *testing.T) {
	c := start(t, "C_FindObjects#1 empty", "C_FindObjects#2 short", "C_GetMechanismList empty")
	session := c.open()
	var found []int
	for range 3 {
		found = append(found, len(c.search(session, ofClass(pkcs11.CKO_PUBLIC_KEY))))
	}
	if all := len(c.token.Keys); found[0] != 0 || found[1] != all-1 || found[2] != all {
		t.Errorf("searches find %v objects, want 0, %d and %d", found, all-1, all)
	}
	mechanisms, err := c.GetMechanismList(c.token.Slot)
	wantOK(t, "C_GetMechanismList", err)
	if len(mechanisms) != 0 {
		t.Errorf("%d mechanisms, want none", len(mechanisms))
	}
}

func TestAttributesGarbledShortOrEmpty(t *testing.T) {
	// The first call for each value asks for its length.
	c := start(t, "C_GetAttributeValue#4 garble", "C_GetAttributeValue#6 short", "C_GetAttributeValue#8 empty")
	session := c.open()
	key := c.key(session, pkcs11.CKO_PUBLIC_KEY, "EC-256")
	read := func() []byte { return c.value(session, key, pkcs11.CKA_EC_POINT) }
	good, garbled, short, empty := read(), read(), read(), read()
	for i := range garbled {
		garbled[i] = ^garbled[i]
	}
	if !bytes.Equal(garbled, good) {
		t.Errorf("garbled value is %x when flipped, want %x", garbled, good)
	}
	if !bytes.Equal(short, good[:len(good)-1]) {
		t.Errorf("short value is %x, want one byte less than %x", short, good)
	}
	if len(empty) != 0 {
		t.Errorf("empty value is %x", empty)
	}
}

// A length that is a lie is told with the question for it (odd calls), or only
// with the answer, when the caller's buffer is made.
func TestLengthsThatAreTooLarge(t *testing.T) {
	c := start(t, "C_Sign#1 long 1000", "C_Sign#4 long 8", "C_Sign#5 unavailable", "C_GetAttributeValue#2 unavailable",
		"C_GetMechanismList#1 long 5", "C_FindObjects#2 long 70")
	session := c.openLoggedIn()
	key := c.privateKey(session, "EC-256")
	c.search(session, ofClass(pkcs11.CKO_PUBLIC_KEY))
	wantGave(t, c, "C_FindObjects", uint(len(c.token.Keys)+70))
	for _, want := range []uint{64, 72, ^uint(0)} {
		wantOK(t, "C_SignInit", c.SignInit(session, []*pkcs11.Mechanism{ecdsaDigest}, key))
		if signature, err := c.Sign(session, digest); want == 64 && (err != nil || len(signature) != 64) {
			t.Errorf("signature is %x: %v", signature, err)
		}
		wantGave(t, c, "C_Sign", want)
	}
	if value := c.value(session, key, pkcs11.CKA_EC_PARAMS); len(value) != 0 {
		t.Errorf("value is %x", value)
	}
	mechanisms, err := c.GetMechanismList(c.token.Slot)
	wantOK(t, "C_GetMechanismList", err)
	if len(mechanisms) == 0 {
		t.Error("no mechanisms")
	}
}

// wantGave fails the test unless the journal has this length for the last call
// of a function. The binding can't be asked: it believes the length.
func wantGave(t *testing.T, c *client, name string, want uint) {
	t.Helper()
	calls, err := c.module.Journal()
	if err != nil {
		t.Fatal(err)
	}
	last := ""
	for _, call := range calls {
		if call.Name == name {
			last = call.Detail
		}
	}
	if suffix := fmt.Sprintf(" gave=%d", want); !strings.HasSuffix(last, suffix) {
		t.Errorf("%s: %s, want%s", name, last, suffix)
	}
}

func TestHandlesAndStructuresGarbled(t *testing.T) {
	c := start(t, "C_GetTokenInfo#2 garble", "C_OpenSession#2 garble")
	good, err := c.GetTokenInfo(c.token.Slot)
	wantOK(t, "C_GetTokenInfo", err)
	garbled, err := c.GetTokenInfo(c.token.Slot)
	wantOK(t, "C_GetTokenInfo", err)
	if garbled.Flags != ^good.Flags {
		t.Errorf("flags are 0x%x, want 0x%x", garbled.Flags, ^good.Flags)
	}
	c.open()
	_, err = c.GetSessionInfo(c.open())
	wantRV(t, "C_GetSessionInfo", err, pkcs11.CKR_SESSION_HANDLE_INVALID)
}

// Output buffers are altered wherever there are some: a signature in parts and a
// digest stand for the others.
func TestOtherOutputsGarbled(t *testing.T) {
	c := start(t, "C_Digest garble", "C_SignFinal garble")
	session := c.openLoggedIn()
	wantOK(t, "C_DigestInit", c.DigestInit(session, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_SHA256, nil)}))
	got, err := c.Digest(session, message)
	wantOK(t, "C_Digest", err)
	if len(got) != len(digest) || got[0] != ^digest[0] {
		t.Errorf("digest is %x, want %x flipped", got, digest)
	}

	sign := pss(pkcs11.CKM_SHA256_RSA_PKCS_PSS, pkcs11.CKM_SHA256, pkcs11.CKG_MGF1_SHA256, 32)
	wantOK(t, "C_SignInit", c.SignInit(session, []*pkcs11.Mechanism{sign}, c.privateKey(session, "RSA-2048")))
	wantOK(t, "C_SignUpdate", c.SignUpdate(session, message))
	signature, err := c.SignFinal(session)
	wantOK(t, "C_SignFinal", err)
	if validPSS(c.token.Key("RSA-2048"), message, signature) {
		t.Error("the signature is valid")
	}
}

func TestRulesOnOneCallActInTheirOrder(t *testing.T) {
	c := start(t, "C_GetInfo delay 300", "C_GetInfo rv 0x30", "C_GetInfo rv 0x31", "C_GetInfo after rv 0x32",
		"C_GetInfo after rv 0x33")
	begin := time.Now()
	_, err := c.GetInfo()
	wantRV(t, "C_GetInfo", err, 0x33)
	if took := time.Since(begin); took < 300*time.Millisecond {
		t.Errorf("C_GetInfo took %v", took)
	}
}

func TestCallsBeforeInitialize(t *testing.T) {
	c := load(t)
	_, err := c.GetSlotList(true)
	wantRV(t, "C_GetSlotList", err, pkcs11.CKR_CRYPTOKI_NOT_INITIALIZED)
	_, err = c.GenerateRandom(1, 1)
	wantRV(t, "C_GenerateRandom", err, pkcs11.CKR_CRYPTOKI_NOT_INITIALIZED)
}

func TestModuleStartsAnew(t *testing.T) {
	c := start(t, "C_GetInfo#2 rv 0x30", "max-sessions 1", "slot-list-first")
	c.openLoggedIn()
	wantOK(t, "C_Finalize", c.Finalize())
	wantOK(t, "C_Initialize", c.Initialize())
	_, err := c.OpenSession(c.token.Slot, pkcs11.CKF_SERIAL_SESSION)
	wantRV(t, "C_OpenSession before C_GetSlotList", err, pkcs11.CKR_SLOT_ID_INVALID)
	_, err = c.GetSlotList(true)
	wantOK(t, "C_GetSlotList", err)
	c.openLoggedIn()
}

func TestTwoModulesInOneProcess(t *testing.T) {
	for _, want := range []pkcs11.Error{pkcs11.CKR_DEVICE_ERROR, pkcs11.CKR_DEVICE_MEMORY} {
		c := start(t, "C_GetInfo rv "+map[pkcs11.Error]string{
			pkcs11.CKR_DEVICE_ERROR: "0x30", pkcs11.CKR_DEVICE_MEMORY: "0x31",
		}[want])
		_, err := c.GetInfo()
		wantRV(t, "C_GetInfo", err, want)
		wantOK(t, "C_Finalize", c.Finalize())
		if n := c.module.Calls("C_GetInfo"); n != 1 {
			t.Errorf("the journal has %d calls, want 1", n)
		}
	}
}

func TestLongInputs(t *testing.T) {
	c := start(t, "hide-attribute public 0x3", "message-ecdsa")
	session := c.openLoggedIn()
	long := make([]byte, 1<<20)
	_, _ = rand.Read(long)

	// More attributes, and longer ones, than the module keeps of a search.
	var template []*pkcs11.Attribute
	for range 100 {
		template = append(template, pkcs11.NewAttribute(pkcs11.CKA_LABEL, "x"))
	}
	wantRV(t, "C_FindObjectsInit", c.FindObjectsInit(session, template), pkcs11.CKR_TEMPLATE_INCONSISTENT)
	err := c.FindObjectsInit(session, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_LABEL, long)})
	wantRV(t, "C_FindObjectsInit", err, pkcs11.CKR_TEMPLATE_INCONSISTENT)

	sum := sha256.Sum256(long)
	signature, err := c.sign(session, c.privateKey(session, "EC-256"),
		pkcs11.NewMechanism(pkcs11.CKM_ECDSA_SHA256, nil), long)
	wantOK(t, "C_Sign", err)
	if !validECDSA(c.token.Key("EC-256"), sum[:], signature) {
		t.Errorf("signature is %x", signature)
	}
}
