// SPDX-License-Identifier: Apache-2.0

package pkcs11

import (
	"errors"
	"slices"
	"sync"

	"github.com/miekg/pkcs11"
)

// binding is the part of *pkcs11.Ctx that is in use: all that this project
// ever asks of a module. Some of it is checkedContext's.
type binding interface {
	Initialize(...pkcs11.InitializeOption) error
	Finalize() error
	Destroy()
	GetInfo() (pkcs11.Info, error)
	GetSlotList(tokenPresent bool) ([]uint, error)
	GetSlotInfo(slot uint) (pkcs11.SlotInfo, error)
	GetTokenInfo(slot uint) (pkcs11.TokenInfo, error)
	GetMechanismList(slot uint) ([]*pkcs11.Mechanism, error)
	OpenSession(slot, flags uint) (pkcs11.SessionHandle, error)
	CloseSession(pkcs11.SessionHandle) error
	Login(s pkcs11.SessionHandle, user uint, pin []byte) error
	Logout(pkcs11.SessionHandle) error
	FindObjectsInit(pkcs11.SessionHandle, []*pkcs11.Attribute) error
	FindObjects(s pkcs11.SessionHandle, most int) ([]pkcs11.ObjectHandle, bool, error)
	FindObjectsFinal(pkcs11.SessionHandle) error
	GetAttributeValue(s pkcs11.SessionHandle, o pkcs11.ObjectHandle, attribute uint) ([]byte, error)
	GetAttributeValues(s pkcs11.SessionHandle, o pkcs11.ObjectHandle, attributes, rooms []uint) ([]answered, error)
	SignInit(s pkcs11.SessionHandle, mechanism uint, parameters []byte, key pkcs11.ObjectHandle) error
	Sign(s pkcs11.SessionHandle, data []byte, room uint) ([]byte, error)
	GenerateKeyPair(s pkcs11.SessionHandle, m []*pkcs11.Mechanism, public, private []*pkcs11.Attribute) (publicKey, privateKey pkcs11.ObjectHandle, err error)
	CreateObject(pkcs11.SessionHandle, []*pkcs11.Attribute) (pkcs11.ObjectHandle, error)
	DestroyObject(pkcs11.SessionHandle, pkcs11.ObjectHandle) error
}

// Trace is told of every PKCS#11 call before it is made, and then, by the
// function it returned, of the CKR that came back, and of what can't be about
// the answer that came with it. The loading and unloading of the library count as
// the calls "dlopen" and "dlclose". It is called from every goroutine that uses
// the module and must not call the module itself.
type Trace func(call string) (done func(rv uint, wrong error))

// traced are the calls that a Trace is told of.
var traced = []string{
	"dlopen", "dlclose",
	"C_Initialize", "C_Finalize", "C_GetInfo", "C_GetSlotList", "C_GetSlotInfo", "C_GetTokenInfo", "C_GetMechanismList",
	"C_OpenSession", "C_CloseSession", "C_Login", "C_Logout",
	"C_FindObjectsInit", "C_FindObjects", "C_FindObjectsFinal", "C_GetAttributeValue", "C_SignInit", "C_Sign",
	"C_GenerateKeyPair", "C_CreateObject", "C_DestroyObject",
}

// IsCall reports whether a Trace is told of calls of this name, such as "C_Sign".
func IsCall(name string) bool { return slices.Contains(traced, name) }

// callError is the failure of one PKCS#11 function.
type callError struct {
	call string
	rv   uint
	why  error // where it isn't the return value; that is CKR_GENERAL_ERROR then
}

func (e *callError) Error() string {
	if e.why != nil {
		return e.call + ": " + e.why.Error()
	}
	return e.call + ": " + RVName(e.rv)
}

// calls makes the calls: each is traced, gives an error that names it, and
// waits its turn where the module can't lock.
type calls struct {
	module binding
	trace  Trace
	// serial is held for the length of each call, if the module can't be called
	// from several threads at once (CKR_CANT_LOCK).
	serial *sync.Mutex

	mu    sync.Mutex
	later []func() error // what Module.Close does first
}

// postpone leaves a cleanup to Module.Close. A module that hangs or dies in it
// must not take the place of an answer, or of an error, that is known already.
func (c *calls) postpone(cleanup func() error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.later = append(c.later, cleanup)
}

func (c *calls) do(call string, f func() error) error {
	if c.serial != nil {
		c.serial.Lock()
		defer c.serial.Unlock()
	}
	done := c.begin(call)
	err := wrapCall(call, f())
	if c := (*callError)(nil); errors.As(err, &c) && c.why != nil {
		done(pkcs11.CKR_OK, c.why)
		return err
	}
	_, rv := returned(err)
	done(rv, nil)
	return err
}

// begin tells the trace of a call.
func (c *calls) begin(call string) (done func(rv uint, wrong error)) {
	if c.trace == nil {
		return func(uint, error) {}
	}
	return c.trace(call)
}

// destroy unloads the library.
func (c *calls) destroy() {
	done := c.begin("dlclose")
	c.module.Destroy()
	done(pkcs11.CKR_OK, nil)
}

func wrapCall(call string, err error) error {
	if err == nil {
		return nil
	}
	var rv pkcs11.Error
	if errors.As(err, &rv) {
		return &callError{call: call, rv: uint(rv)}
	}
	return &callError{call, pkcs11.CKR_GENERAL_ERROR, err}
}

// value makes a call that has a result.
func value[T any](c *calls, call string, f func() (T, error)) (result T, err error) {
	err = c.do(call, func() (err error) {
		result, err = f()
		return err
	})
	return result, err
}

func (c *calls) initialize(options ...pkcs11.InitializeOption) error {
	return c.do("C_Initialize", func() error { return c.module.Initialize(options...) })
}

func (c *calls) finalize() error {
	return c.do("C_Finalize", c.module.Finalize)
}

func (c *calls) info() (pkcs11.Info, error) {
	return value(c, "C_GetInfo", c.module.GetInfo)
}

// slots lists the slots with a token in them.
func (c *calls) slots() ([]uint, error) {
	return value(c, "C_GetSlotList", func() ([]uint, error) { return c.module.GetSlotList(true) })
}

// allSlots lists the empty ones, too.
func (c *calls) allSlots() ([]uint, error) {
	return value(c, "C_GetSlotList", func() ([]uint, error) { return c.module.GetSlotList(false) })
}

func (c *calls) slotInfo(slot uint) (pkcs11.SlotInfo, error) {
	return value(c, "C_GetSlotInfo", func() (pkcs11.SlotInfo, error) { return c.module.GetSlotInfo(slot) })
}

func (c *calls) tokenInfo(slot uint) (pkcs11.TokenInfo, error) {
	return value(c, "C_GetTokenInfo", func() (pkcs11.TokenInfo, error) { return c.module.GetTokenInfo(slot) })
}

func (c *calls) mechanisms(slot uint) ([]*pkcs11.Mechanism, error) {
	return value(c, "C_GetMechanismList", func() ([]*pkcs11.Mechanism, error) { return c.module.GetMechanismList(slot) })
}

func (c *calls) openSession(slot, flags uint) (pkcs11.SessionHandle, error) {
	return value(c, "C_OpenSession", func() (pkcs11.SessionHandle, error) { return c.module.OpenSession(slot, flags) })
}

func (c *calls) closeSession(s pkcs11.SessionHandle) error {
	return c.do("C_CloseSession", func() error { return c.module.CloseSession(s) })
}

func (c *calls) login(s pkcs11.SessionHandle, user uint, pin []byte) error {
	return c.do("C_Login", func() error { return c.module.Login(s, user, pin) })
}

func (c *calls) logout(s pkcs11.SessionHandle) error {
	return c.do("C_Logout", func() error { return c.module.Logout(s) })
}

func (c *calls) findObjectsInit(s pkcs11.SessionHandle, template []*pkcs11.Attribute) error {
	return c.do("C_FindObjectsInit", func() error { return c.module.FindObjectsInit(s, template) })
}

func (c *calls) findObjects(s pkcs11.SessionHandle, most int) ([]pkcs11.ObjectHandle, error) {
	return value(c, "C_FindObjects", func() ([]pkcs11.ObjectHandle, error) {
		objects, _, err := c.module.FindObjects(s, most)
		return objects, err
	})
}

func (c *calls) findObjectsFinal(s pkcs11.SessionHandle) error {
	return c.do("C_FindObjectsFinal", func() error { return c.module.FindObjectsFinal(s) })
}

func (c *calls) attribute(s pkcs11.SessionHandle, o pkcs11.ObjectHandle, attribute uint) ([]byte, error) {
	return value(c, "C_GetAttributeValue", func() ([]byte, error) { return c.module.GetAttributeValue(s, o, attribute) })
}

func (c *calls) attributes(s pkcs11.SessionHandle, o pkcs11.ObjectHandle, attributes, rooms []uint) ([]answered, error) {
	return value(c, "C_GetAttributeValue", func() ([]answered, error) {
		return c.module.GetAttributeValues(s, o, attributes, rooms)
	})
}

// signInit begins a signature. The mechanism's parameters must be pinned until it is made.
func (c *calls) signInit(s pkcs11.SessionHandle, m mechanism, key pkcs11.ObjectHandle) error {
	return c.do("C_SignInit", func() error { return c.module.SignInit(s, m.id, m.pss, key) })
}

// sign makes one call, if the signature has no more bytes than room.
func (c *calls) sign(s pkcs11.SessionHandle, data []byte, room uint) ([]byte, error) {
	return value(c, "C_Sign", func() ([]byte, error) { return c.module.Sign(s, data, room) })
}

// keyPair is what C_GenerateKeyPair makes.
type keyPair struct{ public, private pkcs11.ObjectHandle }

func (c *calls) generateKeyPair(s pkcs11.SessionHandle, m *pkcs11.Mechanism, public, private []*pkcs11.Attribute) (keyPair, error) {
	return value(c, "C_GenerateKeyPair", func() (pair keyPair, err error) {
		pair.public, pair.private, err = c.module.GenerateKeyPair(s, []*pkcs11.Mechanism{m}, public, private)
		return pair, err
	})
}

func (c *calls) createObject(s pkcs11.SessionHandle, template []*pkcs11.Attribute) error {
	return c.do("C_CreateObject", func() error {
		_, err := c.module.CreateObject(s, template)
		return err
	})
}

func (c *calls) destroyObject(s pkcs11.SessionHandle, o pkcs11.ObjectHandle) error {
	return c.do("C_DestroyObject", func() error { return c.module.DestroyObject(s, o) })
}
